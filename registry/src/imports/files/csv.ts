import { type Entry, FileFault, rejected } from '../entries.ts';
import type { Mapping } from '../mapping.ts';
import { TableRows } from '../table-rows.ts';
import { LINE_CHARACTERS_MAX, unreadable } from './text.ts';

const COLUMNS_MAX = 10_000;
/** Quotes that are opened and never closed, each of which costs a look through as much as a record may be. */
const UNCLOSED_MAX = 100;

export interface CsvRecord {
  readonly line: number;
  readonly cells: string[];
  /** Why it is none; then the cells hold how it begins. */
  readonly fault: string | null;
}

/** Splits text into records as they come.  @source RFC 4180, with any of LF, CRLF and a delimiter of choice
 *  @holds keeps at most one record that is not complete */
export class CsvSplitter {
  readonly #delimiter: string;
  #text = '';
  #at = 0;
  #line = 1;
  #unclosed = 0;
  /** Within a line that is too long: what follows is left out up to its end. */
  #skipping = false;

  constructor(delimiter: string) {
    this.#delimiter = delimiter;
  }

  /** @param last nothing follows  @throws FileFault */
  push(part: string, last = false): CsvRecord[] {
    this.#text = this.#text.slice(this.#at) + part;
    this.#at = 0;
    const records: CsvRecord[] = [];
    while (this.#at < this.#text.length) {
      if (this.#skipping && !this.#skip()) break;
      if (this.#at >= this.#text.length) break;
      const found = this.#record(last);
      if (found !== null) {
        if (found.cells.length > 1 || found.cells[0] !== '' || found.fault !== null) records.push(found);
        continue;
      }
      if (!last && this.#text.length - this.#at <= LINE_CHARACTERS_MAX) break;
      records.push(this.#giveUp());
    }
    return records;
  }

  /** @returns false if the line goes on beyond what is there */
  #skip(): boolean {
    const end = this.#text.indexOf('\n', this.#at);
    this.#at = end < 0 ? this.#text.length : end + 1;
    if (end < 0) return false;
    this.#line++;
    this.#skipping = false;
    return true;
  }

  /** The record begins with a quote that is never closed, or is too long: its first line is lost, not the rest. */
  #giveUp(): CsvRecord {
    const text = this.#text.slice(this.#at, this.#at + 200);
    const line = this.#line;
    const end = this.#text.indexOf('\n', this.#at);
    const isUnclosed = end >= 0 || this.#text.length - this.#at <= LINE_CHARACTERS_MAX;
    if (isUnclosed && ++this.#unclosed > UNCLOSED_MAX)
      throw new FileFault(`more than ${UNCLOSED_MAX} quotes are opened and never closed: is the file CSV?`, line);
    this.#skipping = true;
    this.#skip();
    const fault = isUnclosed ? 'a quote is opened and never closed' : 'the line is too long';
    return { line, cells: [text], fault };
  }

  /** The record at `#at`, which moves on; null if it is not complete. */
  #record(last: boolean): CsvRecord | null {
    const text = this.#text;
    const delimiter = this.#delimiter;
    const cells: string[] = [];
    let at = this.#at;
    let lines = 0;
    for (;;) {
      let cell: string;
      if (text.charCodeAt(at) === 34) {
        let from = at + 1;
        cell = '';
        for (;;) {
          const quote = text.indexOf('"', from);
          if (quote < 0 || (quote + 1 === text.length && !last)) return null;
          cell += text.slice(from, quote);
          from = quote + 1;
          if (text.charCodeAt(from) !== 34) break;
          cell += '"';
          from++;
        }
        for (let line = cell.indexOf('\n'); line >= 0; line = cell.indexOf('\n', line + 1)) lines++;
        at = from;
      } else cell = '';
      let end = at;
      while (end < text.length && text.charCodeAt(end) !== 10 && text[end] !== delimiter) end++;
      // What follows a closing quote belongs to the cell, as spreadsheets have it.
      cell += text.slice(at, end);
      if (end === text.length && !last) return null;
      const isEnd = end === text.length || text.charCodeAt(end) === 10;
      if (isEnd && cell.endsWith('\r')) cell = cell.slice(0, -1);
      cells.push(cell);
      at = end + 1;
      if (!isEnd) {
        if (cells.length < COLUMNS_MAX) continue;
        throw new FileFault(`there are more than ${COLUMNS_MAX} columns`, this.#line);
      }
      const { line } = { line: this.#line };
      this.#line += lines + 1;
      this.#at = Math.min(at, text.length);
      return { line, cells, fault: null };
    }
  }
}

/** @throws FileFault */
export async function* csvEntries(parts: AsyncIterable<string>, mapping: Mapping): AsyncGenerator<Entry[]> {
  const rows = new TableRows(mapping, true);
  let splitter: CsvSplitter | null = null;
  let width = 0;
  let held = '';
  const take = (records: readonly CsvRecord[]): Entry[] => {
    const entries: Entry[] = [];
    for (const { line, cells, fault } of records) {
      if (width === 0) {
        if (fault !== null) throw new FileFault(fault, line);
        rows.columns(checkedHeader(cells, line));
        width = cells.length;
        continue;
      }
      const shown = (): string => cells.join(splitterOf(mapping, '')).slice(0, 400);
      const wrong =
        fault ??
        (cells.length === width ? null : `there are ${cells.length} cells, the header has ${width}`) ??
        (cells.some((cell) => unreadable(cell) !== null) ? unreadable(cells.join('')) : null);
      const entry = wrong === null ? rows.entry(line, cells, shown) : rejected(line, wrong, shown());
      if (entry !== null) entries.push(entry);
    }
    return entries;
  };
  for await (const part of parts) {
    if (splitter === null) {
      held += part;
      if (!held.includes('\n') && held.length <= LINE_CHARACTERS_MAX) continue;
      splitter = new CsvSplitter(splitterOf(mapping, held));
      yield take(splitter.push(held));
      held = '';
    } else yield take(splitter.push(part));
  }
  splitter ??= new CsvSplitter(splitterOf(mapping, held));
  yield take(splitter.push(held, true));
  if (width === 0) throw new FileFault('the file is empty: its first line must name the columns');
}

function checkedHeader(cells: readonly string[], line: number): readonly string[] {
  const wrong = unreadable(cells.join(''));
  if (wrong !== null) throw new FileFault(wrong, line);
  const seen = new Set<string>();
  const double = cells.find((cell) => seen.size === seen.add(cell).size);
  if (double !== undefined) throw new FileFault(`two columns are called "${double.slice(0, 80)}"`, line);
  return cells;
}

/** The delimiter: as told, else the likeliest of the first line. */
function splitterOf({ delimiter }: Mapping, text: string): string {
  if (delimiter !== null) return delimiter;
  const [first = ''] = text.replaceAll(/"[^"]*"/g, '').split('\n', 1);
  const counts = [',', ';', '\t', '|'].map((each) => ({ each, count: first.split(each).length }));
  return counts.reduce((best, one) => (one.count > best.count ? one : best)).each;
}
