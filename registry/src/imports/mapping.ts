import type { ImportTimeFormat } from './time.ts';

export const fileFormats = ['csv', 'ndjson', 'parquet', 'lineprotocol', 'senml'] as const;
export type FileFormat = (typeof fileFormats)[number];

/** What the columns of a file mean. What is null is told by the names of the columns, or is not there. */
export interface Mapping {
  readonly format: FileFormat;
  /** Names of columns; of line protocol those of tags. */
  readonly time: string | null;
  readonly name: string | null;
  readonly value: string | null;
  readonly unit: string | null;
  readonly publisher: string | null;
  readonly subtopic: string | null;
  /** Columns that are readings, and what those are called; null: all that mean nothing else. */
  readonly columns: readonly (readonly [column: string, name: string])[] | null;
  readonly timeFormat: ImportTimeFormat;
  readonly timeZone: string;
  /** Of CSV; null: told by its first line. */
  readonly delimiter: string | null;
  /** Of line protocol: how a field's name is made of `{measurement}`, `{field}` and `{<tag>}`. */
  readonly template: string;
}

/** Columns that are known by what they are called, the likeliest first. */
export const KNOWN = {
  time: ['time', 'timestamp', '_time', 'ts', 'datetime', 'date'],
  name: ['name'],
  value: ['value'],
  unit: ['unit'],
  publisher: ['publisher'],
  subtopic: ['subtopic'],
} as const;

/** Where our own exports keep what is no number, and what of them says nothing of a reading. */
export const TYPED_VALUES = ['string_value', 'bool_value', 'data_value'] as const;
export const NO_READINGS = ['channel', 'protocol', 'org', 'message', 'sum', 'update_time'] as const;
