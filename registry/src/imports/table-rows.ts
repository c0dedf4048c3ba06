import { type Entry, type EntryReading, FileFault, isName, rejected } from './entries.ts';
import { KNOWN, type Mapping, NO_READINGS, TYPED_VALUES } from './mapping.ts';
import { Instant, readTime } from './time.ts';

/** What stands in a cell, as the file's format has it; text may still be a number. */
export type Cell = string | number | bigint | boolean | Instant | Uint8Array | null | undefined;

/** Which column is what, of one list of columns. */
interface Plan {
  readonly time: number;
  readonly name: number;
  readonly value: number;
  readonly unit: number;
  readonly publisher: number;
  readonly subtopic: number;
  /** Of rows with one reading: where its value may stand too. */
  readonly typed: readonly { readonly index: number; readonly data: boolean; readonly text: boolean }[];
  /** Of rows with a reading a column. */
  readonly readings: readonly { readonly index: number; readonly name: string; readonly unit: string }[];
}

/** Text that programs write where there is no value. */
const NOTHING = new Set(['', 'NaN', 'nan', '\\N', 'null', 'NULL']);
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

/** Makes entries of rows under named columns, by a mapping.
 *  @shape text: the cells are text (CSV), where numbers and truth values must be told by how they look */
export class TableRows {
  readonly #mapping: Mapping;
  readonly #text: boolean;
  #columns: readonly string[] | null = null;
  #plan: Plan | null = null;

  constructor(mapping: Mapping, text: boolean) {
    this.#mapping = mapping;
    this.#text = text;
  }

  /** The columns of the rows that follow.  @throws FileFault when they can not be what the mapping says */
  columns(columns: readonly string[]): void {
    if (columns === this.#columns) return;
    this.#plan = planOf(columns, this.#mapping);
    this.#columns = columns;
  }

  /** Columns that the mapping has a use for.  @holds after `columns` */
  get used(): ReadonlySet<number> {
    const plan = this.#plan as Plan;
    const places = [plan.time, plan.name, plan.value, plan.unit, plan.publisher, plan.subtopic];
    return new Set([...places, ...[...plan.typed, ...plan.readings].map(({ index }) => index)].filter((at) => at >= 0));
  }

  /** @returns null where the row says nothing: all its values are empty */
  entry(line: number, cells: readonly Cell[], shown: () => string): Entry | null {
    const plan = this.#plan as Plan;
    const readings: EntryReading[] = [];
    if (plan.value >= 0) {
      const found = this.#one(plan, cells);
      if (typeof found === 'string') return rejected(line, found, shown());
      if (found !== null) readings.push(found);
    } else {
      for (const { index, name, unit } of plan.readings) {
        const value = this.#valueOf(cells[index]);
        if (value === null) continue;
        if (typeof value === 'number' && !Number.isFinite(value))
          return rejected(line, `"${name}" is no finite number`, shown());
        readings.push({ name, unit, value });
      }
    }
    if (readings.length === 0) return null;
    const time = cells[plan.time];
    if (time === undefined || time === null || time === '') return rejected(line, 'there is no time', shown());
    const { timeFormat, timeZone } = this.#mapping;
    const timeUs = readTime(time, timeFormat, timeZone);
    if (typeof timeUs === 'string') return rejected(line, timeUs, shown());
    const publisher = textOf(cells[plan.publisher]);
    const subtopic = textOf(cells[plan.subtopic]);
    return { kind: 'row', line, publisher, subtopic, timeUs, readings };
  }

  /** @returns why it is none, or null where there is no value */
  #one(plan: Plan, cells: readonly Cell[]): EntryReading | string | null {
    let value = this.#valueOf(cells[plan.value]);
    let data = false;
    for (const typed of plan.typed) {
      if (value !== null) break;
      const cell = cells[typed.index];
      value = typed.text ? textOf(cell) : this.#valueOf(cell);
      data = typed.data;
    }
    if (value === null) return null;
    const name = textOf(cells[plan.name]);
    if (name === null) return 'there is no name';
    if (!isName(name)) return NO_NAME(name);
    if (typeof value === 'number' && !Number.isFinite(value)) return 'the value is no finite number';
    const unit = textOf(cells[plan.unit]) ?? '';
    return { name, unit, value, ...(data ? { data } : {}) };
  }

  /** @returns null for an empty cell */
  #valueOf(cell: Cell): number | boolean | string | null {
    if (cell === null || cell === undefined) return null;
    if (typeof cell === 'string') {
      if (!this.#text) return cell;
      if (NUMBER.test(cell)) return Number(cell);
      if (NOTHING.has(cell)) return null;
      if (/^true$/i.test(cell)) return true;
      return /^false$/i.test(cell) ? false : cell;
    }
    if (typeof cell === 'bigint') return Number(cell);
    if (cell instanceof Instant) return cell.us / 1e6;
    if (cell instanceof Uint8Array) return Buffer.from(cell).toString('base64url');
    return Number.isNaN(cell) ? null : cell;
  }
}

const textOf = (cell: Cell): string | null =>
  cell === undefined || cell === null || cell === '' ? null : cell instanceof Instant ? cell.toString() : String(cell);

const NO_NAME = (name: string): string =>
  `${JSON.stringify(name.slice(0, 80))} can not be the name of a reading: letters, digits and - : . / _, a letter or digit first`;

function planOf(columns: readonly string[], mapping: Mapping): Plan {
  const lower = columns.map((column) => column.trim().toLowerCase());
  const taken = new Set<number>();
  const find = (what: keyof typeof KNOWN): number => {
    const asked = mapping[what];
    let at = -1;
    if (asked !== null) {
      at = columns.indexOf(asked);
      if (at < 0) throw new FileFault(`there is no column "${asked}" for the ${what}; there are: ${listed(columns)}`);
    } else {
      for (const known of KNOWN[what]) if (at < 0) at = lower.indexOf(known);
    }
    if (at >= 0) taken.add(at);
    return at;
  };
  const time = find('time');
  if (time < 0)
    throw new FileFault(`no column is known to be the time; name it (map=time=<column>) of: ${listed(columns)}`);
  const publisher = find('publisher');
  const subtopic = find('subtopic');
  const isLong =
    mapping.columns === null &&
    (mapping.value !== null || mapping.name !== null || (lower.includes('name') && lower.includes('value')));
  if (isLong) {
    const [name, value, unit] = [find('name'), find('value'), find('unit')];
    if (name < 0 || value < 0)
      throw new FileFault(`a column for the ${name < 0 ? 'name' : 'value'} is missing: name both (map=name=…,value=…)`);
    const typed = TYPED_VALUES.flatMap((column) => {
      const index = mapping.value === null ? lower.indexOf(column) : -1;
      return index < 0 ? [] : [{ index, data: column === 'data_value', text: column !== 'bool_value' }];
    });
    return { time, publisher, subtopic, name, value, unit, typed, readings: [] };
  }
  return {
    time,
    publisher,
    subtopic,
    name: -1,
    value: -1,
    unit: -1,
    typed: [],
    readings: wide(columns, taken, mapping),
  };
}

/** The columns that are readings each, as `temperature` or `temperature[Cel]`. */
function wide(columns: readonly string[], taken: ReadonlySet<number>, mapping: Mapping): Plan['readings'] {
  const skipped: readonly string[] = NO_READINGS;
  const chosen =
    mapping.columns === null
      ? columns.flatMap((column, index) =>
          taken.has(index) || skipped.includes(column.toLowerCase()) ? [] : [{ index, called: column }],
        )
      : mapping.columns.map(([column, called]) => ({ index: columns.indexOf(column), called, column }));
  const missing = chosen.find(({ index }) => index < 0);
  if (missing !== undefined)
    throw new FileFault(`there is no column "${missing.called}"; there are: ${listed(columns)}`);
  const readings = chosen.map(({ index, called }) => {
    const [, name = called, unit = ''] = /^(.*?)\s*\[([^\]]*)\]$/.exec(called.trim()) ?? [undefined, called.trim(), ''];
    if (!isName(name))
      throw new FileFault(`the column ${NO_NAME(name)}. Choose and rename columns (columns=<column>=<name>,…)`);
    return { index, name, unit };
  });
  if (readings.length === 0) throw new FileFault('there is no column with values beside the time');
  return readings;
}

const listed = (columns: readonly string[]): string => {
  const text = columns.slice(0, 20).join(', ').slice(0, 400);
  return columns.length > 20 ? `${text}, …` : text;
};
