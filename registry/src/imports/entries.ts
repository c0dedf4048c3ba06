/** What files become, whatever their format: readings of one publisher at one time, packs as they are, or lines that are
 *  neither. */
export interface EntryReading {
  readonly name: string;
  /** "" if none. */
  readonly unit: string;
  readonly value: number | boolean | string;
  /** The value is bytes, as base64url. */
  readonly data?: true;
}
export interface RowEntry {
  readonly kind: 'row';
  /** In the file, from 1; of Parquet the row. */
  readonly line: number;
  /** As the file names it; null: the import's own. */
  readonly publisher: string | null;
  readonly subtopic: string | null;
  /** @units µs since 1970 */
  readonly timeUs: number;
  readonly readings: readonly EntryReading[];
}
export interface PackEntry {
  readonly kind: 'pack';
  readonly line: number;
  readonly contentType: 'application/senml+json' | 'application/senml+cbor';
  readonly payload: Uint8Array;
  readonly readings: number;
}
export interface RejectedEntry {
  readonly kind: 'rejected';
  readonly line: number;
  /** For people: what is wrong, and what to do. */
  readonly reason: string;
  /** The line, or its beginning. */
  readonly text: string;
}
export type Entry = RowEntry | PackEntry | RejectedEntry;

/** The whole file is not what it should be: nothing after this can be read. */
export class FileFault extends Error {
  readonly line: number | null;

  constructor(detail: string, line: number | null = null) {
    super(line === null ? detail : `Line ${line}: ${detail}`);
    this.line = line;
  }
}

const TEXT_KEPT = 200;

export const rejected = (line: number, reason: string, text = ''): RejectedEntry => ({
  kind: 'rejected',
  line,
  reason,
  // PostgreSQL keeps no NUL in text, and half a surrogate pair is no text at all.
  text: Buffer.from(text.slice(0, TEXT_KEPT).replaceAll('\0', '\u2400')).toString(),
});

/** Whether the normaliser would take a name.  @source RFC 8428 §4.5.1 */
export const isName = (name: string): boolean => name.length <= 255 && /^[A-Za-z0-9][A-Za-z0-9\-:./_]*$/.test(name);
