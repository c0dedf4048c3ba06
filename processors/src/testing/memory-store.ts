import {
  type NormalisedBatch,
  type ReadingsStore,
  StoreError,
  TABLES,
  type TableName,
  type WriteOptions,
} from '@millrace/core';
import { readNative } from './native.ts';

type Row = Record<string, unknown>;
const refuse = async (): Promise<never> => {
  throw new StoreError('STORE_QUERY_INVALID', 'never', { reason: 'the memory store only takes writes' });
};

/** A store in memory, for tests: recognises repeated ranges by their token, and verifies row by row when asked to. */
export class MemoryStore implements ReadingsStore {
  readonly tables: Readonly<Record<TableName, Row[]>> = {
    readings: [],
    messages: [],
    message_log: [],
    dead_letters: [],
  };
  readonly writes: { readonly first: number; readonly last: number; readonly verify: boolean }[] = [];
  readonly #tokens = new Set<string>();
  /** Called before a write is done: throws (or waits for) what the write is to fail with. */
  before: (batch: NormalisedBatch) => void | Promise<void> = () => {};
  /** Called when a write is done, before it is told: throws to lose the answer. */
  after: (batch: NormalisedBatch) => void = () => {};

  async write(topic: string, batch: NormalisedBatch, options: WriteOptions): Promise<void> {
    this.writes.push({ first: batch.first, last: batch.last, verify: options.verify });
    await this.before(batch);
    for (const table of TABLES) {
      const block = batch.blocks[table];
      const token = `${topic}-${batch.partition}-${batch.first}-${batch.last}-${table}`;
      if (block.rowCount === 0 || this.#tokens.has(token)) continue;
      await options.fence?.().catch((cause: unknown) => {
        // A store does not know what it means.
        throw new StoreError('STORE_UNREACHABLE', 'later', {}, { cause });
      });
      this.#tokens.add(token);
      const known = new Set(this.tables[table].map((row) => row.log_offset));
      const rows = readNative(block.bytes);
      this.tables[table].push(...(options.verify ? rows.filter((row) => !known.has(row.log_offset)) : rows));
    }
    this.after(batch);
  }

  readings = refuse;
  payloads = refuse;
  payload = refuse;
  deadLetters = refuse;
  fate = refuse;
  lastMessage = refuse;
  activity = refuse;
  async health(): Promise<string | null> {
    return null;
  }
}
