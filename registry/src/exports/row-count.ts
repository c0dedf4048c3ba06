import type { ExportFormat } from './schemas.ts';

/** Counts the rows of an answer while its bytes pass. */
export interface RowCount {
  /** The bytes to write in the place of these. */
  pass(bytes: Uint8Array): Uint8Array;
  readonly rows: number;
}

const LF = 10;
const QUOTE = 34;
const COMMA = 44;
const APOSTROPHE = 39;
/** What makes a spreadsheet take a text for a formula.  @source OWASP, CSV Injection */
const FORMULA = new Set([...'=+-@\t\r'].map((character) => character.charCodeAt(0)));

/** @param spreadsheet puts an apostrophe before text that a spreadsheet would take for a formula */
export function rowCount(format: ExportFormat, spreadsheet: boolean): RowCount {
  if (format === 'csv') return new CsvRows(spreadsheet);
  if (format === 'ndjson') return new Lines();
  // Their rows are told by the file itself, when it is whole (part-rows.ts).
  return { pass: (bytes) => bytes, rows: 0 };
}

class Lines implements RowCount {
  rows = 0;
  pass(bytes: Uint8Array): Uint8Array {
    for (let at = bytes.indexOf(LF); at !== -1; at = bytes.indexOf(LF, at + 1)) this.rows++;
    return bytes;
  }
}

/** The engine quotes all text and no number: a field that begins with a quote is text.
 *  @holds the header is no row  @source RFC 4180 */
class CsvRows implements RowCount {
  readonly #spreadsheet: boolean;
  #lines = 0;
  #quoted = false;
  /** The byte before began a field; it was its quote. */
  #begins = true;
  #opened = false;

  constructor(spreadsheet: boolean) {
    this.#spreadsheet = spreadsheet;
  }

  get rows(): number {
    return Math.max(0, this.#lines - 1);
  }

  pass(bytes: Uint8Array): Uint8Array {
    const places: number[] = [];
    let quoted = this.#quoted;
    let begins = this.#begins;
    let opened = this.#opened;
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at] as number;
      if (opened && FORMULA.has(byte)) places.push(at);
      opened = begins && byte === QUOTE;
      begins = false;
      if (byte === QUOTE) quoted = !quoted;
      else if (!quoted && byte === LF) {
        this.#lines++;
        begins = true;
      } else if (!quoted && byte === COMMA) begins = true;
    }
    this.#quoted = quoted;
    this.#begins = begins;
    this.#opened = opened;
    return this.#spreadsheet && places.length > 0 ? withApostrophes(bytes, places) : bytes;
  }
}

function withApostrophes(bytes: Uint8Array, places: readonly number[]): Uint8Array {
  const result = new Uint8Array(bytes.length + places.length);
  let from = 0;
  for (const [index, place] of places.entries()) {
    result.set(bytes.subarray(from, place), from + index);
    result[place + index] = APOSTROPHE;
    from = place;
  }
  result.set(bytes.subarray(from), from + places.length);
  return result;
}
