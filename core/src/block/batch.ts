import type { Block } from './block.ts';
import { TABLES, type TableName } from './tables.ts';

/** What a worker gives back for a batch of the log: one Native block a table, in one buffer that is transferred.
 *  @shape blocks: a view of the buffer for each table, rowCount 0 where it has none */
export interface NormalisedBatch {
  readonly partition: number;
  readonly first: number;
  readonly last: number;
  readonly blocks: Readonly<Record<TableName, { readonly rowCount: number; readonly bytes: Uint8Array<ArrayBuffer> }>>;
  /** What to count: messages in = stored + dropped + dead. */
  readonly tally: BatchTally;
}

export interface BatchTally {
  readonly messages: number;
  readonly readings: number;
  /** Messages that were kept, as readings or raw. */
  readonly stored: number;
  readonly dropped: Readonly<Record<string, number>>;
  /** Whole messages, by reason. */
  readonly dead: Readonly<Record<string, number>>;
  /** Single records of messages that live, by reason. */
  readonly deadRecords: Readonly<Record<string, number>>;
  /** Readings that their channels do not keep. */
  readonly filteredReadings: number;
}

const HEAD_SIZE = 4 + TABLES.length * 8;

/** Packs blocks and tally into one buffer.
 *  @shape u32 tally size; for each table u32 rows, u32 size; tally as JSON; the blocks */
export function packBatch(blocks: Readonly<Record<TableName, Block>>, tally: BatchTally): ArrayBuffer {
  const tallyBytes = Buffer.from(JSON.stringify(tally));
  let sizeMax = HEAD_SIZE + tallyBytes.length;
  for (const table of TABLES) if (blocks[table].rowCount > 0) sizeMax += blocks[table].sizeMax;
  const out = Buffer.from(new ArrayBuffer(sizeMax));
  out.writeUInt32LE(tallyBytes.length, 0);
  let at = HEAD_SIZE + tallyBytes.copy(out, HEAD_SIZE);
  TABLES.forEach((table, index) => {
    const rowCount = blocks[table].rowCount;
    const start = at;
    if (rowCount > 0) at = blocks[table].write(out, at);
    out.writeUInt32LE(rowCount, 4 + index * 8);
    out.writeUInt32LE(at - start, 8 + index * 8);
  });
  return out.buffer as ArrayBuffer;
}

export function unpackBatch(buffer: ArrayBuffer, partition: number, first: number, last: number): NormalisedBatch {
  const view = Buffer.from(buffer);
  const tallySize = view.readUInt32LE(0);
  let at = HEAD_SIZE + tallySize;
  const blocks = {} as Record<TableName, { rowCount: number; bytes: Uint8Array<ArrayBuffer> }>;
  TABLES.forEach((table, index) => {
    const size = view.readUInt32LE(8 + index * 8);
    blocks[table] = { rowCount: view.readUInt32LE(4 + index * 8), bytes: new Uint8Array(buffer, at, size) };
    at += size;
  });
  return { partition, first, last, blocks, tally: JSON.parse(view.toString('utf8', HEAD_SIZE, HEAD_SIZE + tallySize)) };
}
