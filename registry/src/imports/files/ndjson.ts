import { type Entry, FileFault, rejected } from '../entries.ts';
import type { Mapping } from '../mapping.ts';
import { type Cell, TableRows } from '../table-rows.ts';
import { linesOf, unreadable } from './text.ts';

const DEPTH_MAX = 8;
const KEYS_MAX = 10_000;
/** Lists of columns that are remembered: lines with the same keys share one. */
const SHAPES_MAX = 1_000;

/** Objects, one a line; the members of objects within are `outer/inner`.  @throws FileFault */
export async function* ndjsonEntries(parts: AsyncIterable<string>, mapping: Mapping): AsyncGenerator<Entry[]> {
  const shapes = new Map<string, TableRows>();
  for await (const lines of linesOf(parts)) {
    const entries: Entry[] = [];
    for (const { line, text, tooLong } of lines) {
      const wrong = tooLong ? 'the line is too long' : unreadable(text);
      const entry = wrong === null ? entryOf(line, text) : rejected(line, wrong, text);
      if (entry !== null) entries.push(entry);
    }
    yield entries;
  }

  function entryOf(line: number, text: string): Entry | null {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return rejected(line, 'it is no JSON', text);
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return rejected(line, 'it is no JSON object (SenML packs: format=senml)', text);
    const columns: string[] = [];
    const cells: Cell[] = [];
    const wrong = flatten(value as Record<string, unknown>, '', 0, columns, cells);
    if (wrong !== null) return rejected(line, wrong, text);
    try {
      return shapeOf(columns).entry(line, cells, () => text);
    } catch (error) {
      if (error instanceof FileFault) return rejected(line, error.message, text);
      throw error;
    }
  }

  function shapeOf(columns: readonly string[]): TableRows {
    const key = columns.join('\0');
    const known = shapes.get(key);
    if (known !== undefined) return known;
    const rows = new TableRows(mapping, false);
    rows.columns(columns);
    if (shapes.size >= SHAPES_MAX) shapes.clear();
    shapes.set(key, rows);
    return rows;
  }
}

/** @returns why it can not be a row */
function flatten(
  object: Record<string, unknown>,
  path: string,
  depth: number,
  columns: string[],
  cells: Cell[],
): string | null {
  for (const [key, value] of Object.entries(object)) {
    const name = `${path}${key}`;
    if (Array.isArray(value)) return `"${name.slice(0, 80)}" is a list, which can not be a reading`;
    if (typeof value === 'object' && value !== null) {
      if (depth === DEPTH_MAX) return `it is nested deeper than ${DEPTH_MAX} levels`;
      const wrong = flatten(value as Record<string, unknown>, `${name}/`, depth + 1, columns, cells);
      if (wrong !== null) return wrong;
    } else {
      if (columns.push(name) > KEYS_MAX) return `it has more than ${KEYS_MAX} members`;
      cells.push(value as Cell);
    }
  }
  return null;
}
