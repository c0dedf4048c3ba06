import { parquetWriteBuffer } from 'hyparquet-writer';
import { expect, test } from 'vitest';
import { type Entry, FileFault } from './entries.ts';
import { entriesOf } from './files/file.ts';
import { parquetEntries } from './files/parquet.ts';
import type { Mapping } from './mapping.ts';
import { stretchesOf } from './packs.ts';

const MAPPING: Mapping = {
  format: 'parquet',
  time: null,
  name: null,
  value: null,
  unit: null,
  publisher: null,
  subtopic: null,
  columns: null,
  timeFormat: 'auto',
  timeZone: 'UTC',
  delimiter: null,
  template: '',
};
const T = 1_767_225_600_000_000;

/** @param reads counts the bytes that were asked for */
async function read(
  bytes: Uint8Array,
  mapping: Partial<Mapping> = {},
  reads = { count: 0 },
  entriesOf: typeof parquetEntries = parquetEntries,
): Promise<Entry[]> {
  const file = {
    size: bytes.length,
    read: async (from: number, to: number) => {
      reads.count += to - from;
      return bytes.slice(from, to);
    },
  };
  const entries: Entry[] = [];
  for await (const some of entriesOf(file, { ...MAPPING, ...mapping })) entries.push(...some);
  return entries;
}

/** One level is said to be repeated two thousand million times, in the place of those of a thousand rows. */
function endless(): Uint8Array {
  const bytes = Buffer.from(
    parquetWriteBuffer({
      columnData: [
        { name: 'time', data: Array.from({ length: 1_000 }, (_, row) => new Date(T / 1_000 + row)), type: 'TIMESTAMP' },
        {
          name: 'note',
          data: Array.from({ length: 1_000 }, (_, row) => (row % 2 === 0 ? 1.5 : null)),
          type: 'DOUBLE',
          nullable: true,
        },
      ],
      codec: 'UNCOMPRESSED',
    }),
  );
  const levels = bytes.indexOf(Buffer.alloc(64, 0x55));
  expect(levels).toBeGreaterThan(0);
  // Before them stands the length of their run, in two bytes.
  Buffer.from([0xfe, 0xff, 0xff, 0xff, 0x0f, 0x01]).copy(bytes, levels - 2);
  return new Uint8Array(bytes);
}

const rows = 2_500;
const written = (codec: 'UNCOMPRESSED' | 'SNAPPY' = 'SNAPPY'): Uint8Array =>
  new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        { name: 'time', data: Array.from({ length: rows }, (_, row) => new Date(T / 1_000 + row)), type: 'TIMESTAMP' },
        { name: 'temperature[Cel]', data: Array.from({ length: rows }, (_, row) => row / 10), type: 'DOUBLE' },
        { name: 'count', data: Array.from({ length: rows }, (_, row) => BigInt(row)), type: 'INT64' },
        {
          name: 'note',
          data: Array.from({ length: rows }, (_, row) => (row === 1 ? 'x' : null)),
          type: 'STRING',
          nullable: true,
        },
        { name: 'open', data: Array.from({ length: rows }, (_, row) => row % 2 === 0), type: 'BOOLEAN' },
        { name: 'publisher', data: Array.from({ length: rows }, (_, row) => `p${row % 2}`), type: 'STRING' },
      ],
      rowGroupSize: 1_000,
      codec,
    }),
  );

test.each(['UNCOMPRESSED', 'SNAPPY'] as const)(
  'rows of all row groups, with the types of their columns (%s)',
  async (codec) => {
    const entries = await read(written(codec));
    expect(entries).toHaveLength(rows);
    expect(entries[1]).toEqual({
      kind: 'row',
      line: 2,
      publisher: 'p1',
      subtopic: null,
      timeUs: T + 1_000,
      readings: [
        { name: 'temperature', unit: 'Cel', value: 0.1 },
        { name: 'count', unit: '', value: 1 },
        { name: 'note', unit: '', value: 'x' },
        { name: 'open', unit: '', value: false },
      ],
    });
    expect(entries.at(-1)).toMatchObject({ line: rows, timeUs: T + (rows - 1) * 1_000 });
  },
);

test('only columns that are asked for are read', async () => {
  const all = { count: 0 };
  await read(written('UNCOMPRESSED'), {}, all);
  const one = { count: 0 };
  const entries = await read(written('UNCOMPRESSED'), { columns: [['open', 'open']], publisher: 'publisher' }, one);
  expect(entries).toHaveLength(rows);
  expect(entries[0]).toMatchObject({ readings: [{ name: 'open', value: true }] });
  expect(one.count).toBeLessThan(all.count);
});

test('a file with a byte that is wrong gives rows or is refused, and nothing else', async () => {
  const bytes = written();
  const end = bytes.length;
  // The metadata, where each byte means something, and some of the pages.
  const places = [
    ...Array.from({ length: 300 }, (_, index) => end - 1 - index),
    ...Array.from({ length: 100 }, (_, index) => index * 7 + 4),
  ];
  for (const [index, place] of places.entries()) {
    const broken = bytes.slice();
    broken[place] = ((broken[place] ?? 0) + 1 + (index % 250)) & 255;
    try {
      expect((await read(broken)).every(({ kind }) => kind === 'row' || kind === 'rejected')).toBe(true);
    } catch (error) {
      expect((error as Error).constructor.name, `byte ${place}: ${(error as Error).stack}`).toBe('FileFault');
    }
  }
});

const apart: typeof parquetEntries = (file, mapping) => entriesOf(file, mapping, 1_048_576);

test('a process of its own reads the same', { timeout: 60_000 }, async () => {
  const bytes = written();
  expect(await read(bytes, {}, undefined, apart)).toEqual(await read(bytes));
  await expect(read(bytes.slice(1), {}, undefined, apart)).rejects.toThrow(FileFault);
});

test('a file that tells of arrays without end is refused, and costs nobody else', { timeout: 120_000 }, async () => {
  await expect(read(endless(), {}, undefined, apart)).rejects.toThrow('can not be read with');
});

test('one long value in every row comes a few rows at a time', async () => {
  const long = 'x'.repeat(500_000);
  const bytes = new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        { name: 'time', data: Array.from({ length: 100 }, (_, row) => new Date(T / 1_000 + row)), type: 'TIMESTAMP' },
        { name: 'note', data: Array.from({ length: 100 }, () => long), type: 'STRING' },
      ],
    }),
  );
  const file = { size: bytes.length, read: async (from: number, to: number) => bytes.slice(from, to) };
  const sizes: number[] = [];
  for await (const { entries } of stretchesOf(parquetEntries(file, MAPPING))) sizes.push(entries.length);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(100);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(5);
});
