import type { OffsetRange } from '../run/ledger.ts';
import { DEAD_LETTERS, MESSAGE_LOG, type ModelPartition, type ModelRecord, READINGS, TABLE_NAMES } from './log.ts';
import type { Sabotage } from './scenario.ts';

/** What must never be. */
export class Violation extends Error {}

/** The rows of a range, as a worker made them.
 *  @shape from, to: indexes of the records that the log still had, `to` exclusive */
export interface Rows extends OffsetRange {
  readonly from: number;
  readonly to: number;
  readonly buried: boolean;
}

/** A table that remembers its newest inserts by their tokens, and of each row the number of its insert. */
export class ModelTable {
  readonly blocks: number[][];
  /** Number of the newest insert. */
  newest = 0;
  readonly #tokens = new Map<string, number>();
  readonly #window: number;

  constructor(partitions: number, window: number) {
    this.blocks = Array.from({ length: partitions }, () => []);
    this.#window = window;
  }

  /** @returns the number of a new insert, or 0 if the token is remembered */
  take(token: string | null): number {
    if (token !== null) {
      const known = this.#tokens.get(token);
      if (known !== undefined && this.newest - known < this.#window) return 0;
      this.#tokens.set(token, this.newest + 1);
    }
    return ++this.newest;
  }
}

/** ClickHouse as the writer uses it: each table takes a block as a whole or not at all, once a token as long as it
 *  remembers; the view gets its rows after the table, under a window of its own. */
export class ModelStore {
  readonly tables: readonly ModelTable[];
  /** How often the view has counted a record. */
  readonly counted: number[][];
  readonly window: number;
  readonly #view: ModelTable;
  readonly #sabotage: Sabotage | null;

  constructor(partitions: number, window: number, sabotage: Sabotage | null) {
    this.window = window;
    this.tables = TABLE_NAMES.map(() => new ModelTable(partitions, window));
    this.#view = new ModelTable(partitions, window);
    this.counted = Array.from({ length: partitions }, () => []);
    this.#sabotage = sabotage;
  }

  /** @returns false if the table will never take these rows */
  insert(table: number, partition: ModelPartition, rows: Rows, token: string): boolean {
    const { records } = partition;
    if (!rows.buried)
      for (let index = rows.from; index < rows.to; index++)
        if ((records[index] as ModelRecord).refusedBy === table) return false;
    const target = this.tables[table] as ModelTable;
    const block = target.take(this.#sabotage === 'no token' ? null : token);
    if (block === 0) return true;
    const blocks = target.blocks[partition.index] as number[];
    for (let index = rows.from; index < rows.to; index++) {
      const record = records[index] as ModelRecord;
      if (!hasRow(record, table, rows.buried)) continue;
      const name = `${TABLE_NAMES[table]} of ${partition.index}@${record.offset}`;
      if (blocks[index] !== undefined) throw new Violation(`duplicate: ${name} is there twice`);
      // A dead letter of a culprit may come after those of its whole. What one node has buried by bad luck another may be
      // writing: it has both fates.
      if (table !== DEAD_LETTERS && blocks.length > index && !record.gone && !record.unlucky)
        throw new Violation(`order: ${name} comes after later ones`);
      blocks[index] = block;
    }
    return true;
  }

  /** What the view makes of an insert, also of one that its table knew already. */
  follow(partition: ModelPartition, rows: Rows, token: string): void {
    const forgets = this.#sabotage === 'view without a window' || this.#sabotage === 'no token';
    if (this.#view.take(forgets ? null : token) === 0) return;
    const counted = this.counted[partition.index] as number[];
    for (let index = rows.from; index < rows.to; index++) {
      const record = partition.records[index] as ModelRecord;
      if (!hasRow(record, READINGS, rows.buried)) continue;
      counted[index] = (counted[index] ?? 0) + 1;
      if ((counted[index] as number) > 1)
        throw new Violation(`duplicate: the rollup counts ${partition.index}@${record.offset} twice`);
    }
  }

  /** What `stored` finds of a table: whether its rows must not be told again.
   *  @source storage/src/write/stored.ts */
  found(table: number, partition: ModelPartition, rows: Rows, part: boolean): 'absent' | 'tell' | 'there' | 'partly' {
    const target = this.tables[table] as ModelTable;
    const blocks = target.blocks[partition.index] as number[];
    const from = partition.at(rows.first);
    const to = partition.at(rows.last + 1);
    let count = 0;
    let low = Number.POSITIVE_INFINITY;
    let high = 0;
    for (let index = from; index < to; index++) {
      const block = blocks[index];
      if (block === undefined) continue;
      count++;
      if (block < low) low = block;
      if (block > high) high = block;
    }
    if (count === 0) return 'absent';
    const whole = count >= rowCount(table, partition, rows);
    if (whole && table === MESSAGE_LOG) return 'there';
    if (!part && this.#sabotage !== 'what is there is never told again' && target.newest - low < this.window / 2) {
      let beyond = false;
      for (let index = 0; index < blocks.length && !beyond; index++)
        if ((index < from || index >= to) && (blocks[index] ?? 0) >= low && (blocks[index] ?? 0) <= high) beyond = true;
      if (!beyond) return 'tell';
    }
    return whole ? 'there' : 'partly';
  }
}

export const hasRow = (record: ModelRecord, table: number, buried: boolean): boolean =>
  buried ? table >= DEAD_LETTERS : (record.tables & (1 << table)) !== 0;

export function rowCount(table: number, partition: ModelPartition, rows: Rows): number {
  let count = 0;
  for (let index = rows.from; index < rows.to; index++)
    if (hasRow(partition.records[index] as ModelRecord, table, rows.buried)) count++;
  return count;
}
