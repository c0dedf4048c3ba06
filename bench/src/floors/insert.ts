import { unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { Block, Int64Column, LowCardinalityColumn, NumberColumn, StringColumn } from '@millrace/core';
import { type FloorRow, floorRows } from '../pack.ts';
import { childOptions, tell } from './options.ts';
import { type Client, openFloorTable } from './table.ts';

/** Floor: what the engine alone takes. One prepared block of rows, inserted again and again with new tokens, one
 *  insert at a time; as TabSeparated text, or as a Native block through a file (the writing of the file included). */
interface Options {
  readonly format: 'TabSeparated' | 'Native';
  readonly seconds: number;
  readonly rowCount: number;
  /** Empty; whoever started this removes it. */
  readonly directory: string;
}

export interface InsertFigures {
  readonly rowsPerSecond: number;
  readonly bytesPerRow: number;
  readonly inserts: number;
}

function textBlock(rows: readonly FloorRow[]): Buffer {
  return Buffer.from(
    rows
      .map((row) => {
        const seconds = (row.receivedUs / 1e6).toFixed(6);
        return `acme\t${row.channel}\t${row.publisher}\thttp\t\t${row.name}\t${row.unit}\t${seconds}\t${row.value}\t\t${seconds}\n`;
      })
      .join(''),
  );
}

function nativeBlock(rows: readonly FloorRow[]): Buffer {
  const org = new LowCardinalityColumn('org');
  const channel = new StringColumn('channel');
  const publisher = new LowCardinalityColumn('publisher');
  const protocol = new LowCardinalityColumn('protocol');
  const name = new LowCardinalityColumn('name');
  const unit = new LowCardinalityColumn('unit');
  const time = new Int64Column('time', 'DateTime64(6)');
  const value = new NumberColumn('value', 'Float64', Float64Array);
  const received = new Int64Column('received', 'DateTime64(6)');
  for (const row of rows) {
    org.addText('acme');
    channel.addText(row.channel);
    publisher.addText(row.publisher);
    protocol.addText('http');
    name.addText(row.name);
    unit.addText(row.unit);
    time.add(row.receivedUs);
    value.add(row.value);
    received.add(row.receivedUs);
  }
  const block = new Block([org, channel, publisher, protocol, name, unit, time, value, received]);
  const out = Buffer.alloc(block.sizeMax);
  return out.subarray(0, block.write(out, 0));
}

async function insertText(client: Client, bytes: Buffer, token: string): Promise<void> {
  const query = `INSERT INTO readings SETTINGS insert_deduplication_token='${token}' FORMAT TabSeparated`;
  const { stream } = await client.exec({ query, values: Readable.from([bytes]) });
  for await (const _ of stream);
}

async function insertNative(client: Client, bytes: Buffer, token: string, directory: string): Promise<void> {
  const file = join(directory, `${token}.native`);
  await writeFile(file, bytes);
  const query = `INSERT INTO readings FROM INFILE '${file}' SETTINGS insert_deduplication_token='${token}' FORMAT Native`;
  await client.command({ query });
  await unlink(file);
}

const { format, seconds, rowCount, directory } = childOptions<Options>();
const client = await openFloorTable(join(directory, 'engine'));
const rows = floorRows(rowCount, 32, Date.now() * 1_000);
const bytes = format === 'Native' ? nativeBlock(rows) : textBlock(rows);
const insert = (token: string): Promise<void> =>
  format === 'Native' ? insertNative(client, bytes, token, directory) : insertText(client, bytes, token);
await insert('warm-up');
let inserts = 0;
const start = performance.now();
let elapsed = 0;
while (elapsed < seconds * 1_000) {
  await insert(`t${inserts++}`);
  elapsed = performance.now() - start;
}
const found = await client.query({ query: 'SELECT count() AS n FROM readings', format: 'JSONEachRow' });
const [{ n } = { n: '0' }] = (await found.json()) as { n: string }[];
if (Number(n) !== rowCount * (inserts + 1)) throw new Error(`${n} rows stored of ${rowCount * (inserts + 1)}`);
await client.close();
const figures: InsertFigures = {
  rowsPerSecond: (inserts * rowCount * 1_000) / elapsed,
  bytesPerRow: bytes.length / rowCount,
  inserts,
};
tell(figures);
process.disconnect?.();
