import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import {
  type AsyncBuffer,
  type Compressors,
  type DecodedArray,
  type ParquetParsers,
  parquetMetadataAsync,
  parquetScan,
  parquetSchema,
} from 'hyparquet';
import { compressors as known } from 'hyparquet-compressors';
import { type Entry, FileFault, rejected } from '../entries.ts';
import type { Mapping } from '../mapping.ts';
import { type Cell, TableRows } from '../table-rows.ts';
import { Instant } from '../time.ts';
import { LINE_CHARACTERS_MAX, unreadable } from './text.ts';

/** Row groups are decoded whole, column by column. */
const GROUP_CELLS_MAX = 16_000_000;
const GROUP_BYTES_MAX = 512 * 1_048_576;
const PAGE_BYTES_MAX = 64 * 1_048_576;
const METADATA_BYTES_MAX = 64 * 1_048_576;
const COLUMNS_MAX = 10_000;
const ROWS_AT_ONCE = 1_000;
/** One value of a dictionary may stand in every row. */
const CHARACTERS_AT_ONCE = 2 * LINE_CHARACTERS_MAX;
/** Of each cell of a row that is rejected. */
const SHOWN_CHARACTERS = 200;

/** A file whose parts can be read in any order. */
export interface FileSlices {
  readonly size: number;
  read(from: number, to: number): Promise<Uint8Array>;
}

/** Rows of a table in Parquet, a row group at a time.  @throws FileFault */
export async function* parquetEntries(file: FileSlices, mapping: Mapping): AsyncGenerator<Entry[]> {
  const slice = async (from: number, to: number): Promise<ArrayBuffer> => {
    if (!(from >= 0 && to <= file.size && from <= to)) throw new FileFault('the Parquet names bytes beyond its end');
    if (to - from > GROUP_BYTES_MAX) throw new FileFault('a row group of the Parquet is larger than 512 MiB');
    const bytes = await file.read(from, to);
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
  };
  const buffer: AsyncBuffer = {
    byteLength: file.size,
    slice(from, to = file.size) {
      const bytes = slice(from, to);
      // The library asks for several at once and waits for one: what fails meanwhile must not be a rejection unheard.
      bytes.catch(() => undefined);
      return bytes;
    },
  };
  const options = { parsers: PARSERS, compressors: COMPRESSORS };
  await checkTail(file);
  const metadata = await readable(() => parquetMetadataAsync(buffer, { ...options, geoparquet: false }));
  const columns = await readable(async () =>
    parquetSchema(metadata).children.flatMap(({ element, children }) =>
      children.length === 0 && element.repetition_type !== 'REPEATED' ? [element.name] : [],
    ),
  );
  if (columns.length > COLUMNS_MAX) throw new FileFault(`there are more than ${COLUMNS_MAX} columns`);
  if (new Set(columns).size !== columns.length) throw new FileFault('two columns have one name');
  const rows = new TableRows(mapping, false);
  rows.columns(columns);
  const { used } = rows;
  const scan = await readable(() =>
    parquetScan({ file: buffer, metadata, ...options, columns: columns.filter((_, index) => used.has(index)) }),
  );
  for (const { rowStart, rowEnd } of scan.ranges) {
    const count = rowEnd - rowStart;
    if (!(count >= 0 && count * used.size <= GROUP_CELLS_MAX))
      throw new FileFault(`a row group of ${count} rows is too large: write row groups of at most 1 million rows`);
    const data = new Map<number, DecodedArray>();
    for (const index of used) {
      const column = columns[index] as string;
      const cells = await readable(() => scan.readColumn({ column, rowStart, rowEnd }));
      if (cells.length !== count)
        throw new FileFault(`the Parquet is broken: "${column}" has ${cells.length} of ${count} rows`);
      data.set(index, cells);
    }
    const cells: Cell[] = new Array(columns.length);
    let entries: Entry[] = [];
    let characters = 0;
    for (let row = 0; row < count; row++) {
      let wrong: string | null = null;
      for (const [index, each] of data) {
        const cell = cellOf(each[row]);
        cells[index] = cell;
        if (typeof cell !== 'string' && !(cell instanceof Uint8Array)) continue;
        characters += cell.length;
        if (cell.length > LINE_CHARACTERS_MAX) wrong ??= 'a value is too long';
        else if (typeof cell === 'string') wrong ??= unreadable(cell);
      }
      const line = rowStart + row + 1;
      const shown = (): string =>
        [...data.keys()].map((index) => `${columns[index]}=${shownCell(cells[index])}`).join(' ');
      const entry = wrong === null ? rows.entry(line, cells, shown) : rejected(line, wrong, shown());
      if (entry !== null) entries.push(entry);
      if (entries.length < ROWS_AT_ONCE && characters < CHARACTERS_AT_ONCE) continue;
      yield entries;
      entries = [];
      characters = 0;
    }
    if (entries.length > 0) yield entries;
  }
}

const shownCell = (cell: Cell): string =>
  String(cell instanceof Uint8Array ? cell.subarray(0, SHOWN_CHARACTERS) : cell).slice(0, SHOWN_CHARACTERS);

/** Before the library reads as much as the file says it must. */
async function checkTail(file: FileSlices): Promise<void> {
  const tail = file.size < 12 ? new Uint8Array() : await file.read(file.size - 8, file.size);
  if (Buffer.from(tail).toString('latin1', 4) !== 'PAR1') throw new FileFault('it is no Parquet file');
  const size = Buffer.from(tail).readUInt32LE(0);
  if (size > METADATA_BYTES_MAX || size + 8 > file.size)
    throw new FileFault('the Parquet is broken: its metadata does not fit');
}

/** The library meets broken files with errors of any kind; those of the disk or database below are not its. */
async function readable<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof FileFault || (error instanceof Error && 'code' in error && !isZlib(error))) throw error;
    throw new FileFault(`the Parquet can not be read: ${String((error as Error).message).slice(0, 200)}`);
  }
}

const isZlib = (error: Error): boolean => /^(Z_|ERR_)/.test(String((error as NodeJS.ErrnoException).code));

function cellOf(value: unknown): Cell {
  if (value === null || value === undefined) return null;
  if (value instanceof Date) return new Instant(value.getTime() * 1_000);
  if (typeof value === 'object' && !(value instanceof Instant) && !(value instanceof Uint8Array))
    return JSON.stringify(value);
  return value as Cell;
}

const PARSERS: Partial<ParquetParsers> = {
  timestampFromMilliseconds: (ms) => new Instant(Number(ms) * 1_000),
  timestampFromMicroseconds: (us) => new Instant(Number(us)),
  timestampFromNanoseconds: (ns) => new Instant(Number(ns / 1_000n)),
};

/** Each with a limit on what it may unfold to. */
const COMPRESSORS: Compressors = Object.fromEntries(
  Object.entries({
    ...known,
    GZIP: (input: Uint8Array, size: number) => gunzipSync(input, { maxOutputLength: Math.max(1, size) }),
    BROTLI: (input: Uint8Array, size: number) => brotliDecompressSync(input, { maxOutputLength: Math.max(1, size) }),
  }).map(([name, decompress]) => [
    name,
    (input: Uint8Array, size: number): Uint8Array => {
      if (!(size >= 0 && size <= PAGE_BYTES_MAX)) throw new FileFault('a page of the Parquet is larger than 64 MiB');
      return (decompress as (input: Uint8Array, size: number) => Uint8Array)(input, size);
    },
  ]),
);
