import { ProcessorsError } from '../errors.ts';

/** Consecutive offsets of a partition, both ends inclusive: what one insert carries. */
export interface OffsetRange {
  readonly first: number;
  readonly last: number;
}

/** A range that has to be written before anything after it. `verify`: it, or a part of it, may be written already. */
export interface OpenRange extends OffsetRange {
  readonly verify: boolean;
}

/** What to commit: the next offset to read and the plan beside it. */
export interface Commit {
  readonly offset: number;
  readonly metadata: string;
}

const PREFIX = 'intent:';
/** A commit's metadata holds 4 KiB; two ends of 16 digits and two signs each make 34 bytes. */
export const OPEN_RANGES_MAX = 96;

/** The plan of a partition: which ranges are being written, in order. Pure: it says what to commit and when, and the
 *  caller does it.
 *
 *  An open range has been committed as an intent before its first insert, so whoever comes after a crash finds it and
 *  inserts the very same range, which the store recognises by its token. Nothing but the open ranges may have been
 *  inserted beyond the committed offset.
 *
 *  @holds `open` is in order of offsets, and each range before it is written; a commit is durable before the next step
 *  @source design: exactly once, from the acknowledgement to the row */
export class Ledger {
  /** The next offset to read when nothing is open. */
  #next: number;
  #open: readonly OpenRange[];

  private constructor(next: number, open: readonly OpenRange[]) {
    this.#next = next;
    this.#open = open;
  }

  /** What the owner before has left. An open range must be redone, and may be written already.
   *  @throws ProcessorsError INTENT_UNREADABLE */
  static resume(committed: Commit): Ledger {
    const open = parsePlan(committed.metadata);
    const last = open.at(-1);
    return new Ledger(last === undefined ? committed.offset : last.last + 1, open);
  }

  /** Where the next batch begins: after all that is open. */
  get next(): number {
    return this.#next;
  }

  /** The range to write now, or null when nothing is open. */
  get head(): OpenRange | null {
    return this.#open[0] ?? null;
  }

  /** Opens a range. @holds nothing is open */
  intend(range: OffsetRange): Commit {
    this.#admit(range);
    if (this.#open.length > 0) throw new RangeError(`intent ${range.first}-${range.last} while another is open`);
    this.#open = [{ first: range.first, last: range.last, verify: false }];
    this.#next = range.last + 1;
    return this.#commit();
  }

  /** The head is written. One commit closes it and opens the range that is ready to follow, if there is one. */
  written(next: OffsetRange | null): Commit {
    if (this.#open.length === 0) throw new RangeError('nothing is open');
    const rest = this.#open.slice(1);
    if (rest.length > 0) {
      this.#open = rest;
      return this.#commit();
    }
    this.#open = [];
    return next === null ? this.#commit() : this.intend(next);
  }

  /** Cuts the head in two before an offset: its parts are written one after the other, asking first what is there. */
  split(before: number): Commit {
    const head = this.#open[0];
    if (head === undefined || before <= head.first || before > head.last)
      throw new RangeError(`no open range to split before ${before}`);
    if (this.#open.length >= OPEN_RANGES_MAX) throw new RangeError('too many open ranges');
    this.#open = [
      { first: head.first, last: before - 1, verify: true },
      { first: before, last: head.last, verify: true },
      ...this.#open.slice(1),
    ];
    return this.#commit();
  }

  #admit(range: OffsetRange): void {
    if (range.first < this.#next || range.last < range.first)
      throw new RangeError(`range ${range.first}-${range.last} does not follow ${this.#next}`);
  }

  #commit(): Commit {
    const head = this.#open[0];
    if (head === undefined) return { offset: this.#next, metadata: '' };
    return { offset: head.first, metadata: formatPlan(this.#open) };
  }
}

/** @shape `intent:first-last[,first-last…]`, '' for none */
export function formatPlan(open: readonly OffsetRange[]): string {
  return open.length === 0 ? '' : PREFIX + open.map(({ first, last }) => `${first}-${last}`).join(',');
}

/** @throws ProcessorsError INTENT_UNREADABLE if it is neither empty nor ranges in order */
export function parsePlan(metadata: string): OpenRange[] {
  if (metadata === '') return [];
  const unreadable = () => new ProcessorsError('INTENT_UNREADABLE', 'never', { metadata: metadata.slice(0, 100) });
  if (!metadata.startsWith(PREFIX)) throw unreadable();
  const open: OpenRange[] = [];
  let after = -1;
  for (const part of metadata.slice(PREFIX.length).split(',')) {
    const ends = /^(\d{1,16})-(\d{1,16})$/.exec(part);
    if (ends === null) throw unreadable();
    const first = Number(ends[1]);
    const last = Number(ends[2]);
    if (first <= after || last < first) throw unreadable();
    open.push({ first, last, verify: true });
    after = last;
  }
  return open;
}
