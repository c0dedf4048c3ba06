import { ProcessorsError } from '../errors.ts';

/** Consecutive offsets of a partition, both ends inclusive: what one insert carries. */
export interface OffsetRange {
  readonly first: number;
  readonly last: number;
}

/** A range that has to be written before anything after it. */
export interface OpenRange extends OffsetRange {
  /** It, or a part of it, may be written already. */
  readonly verify: boolean;
  /** It was split from a range that may have been written as a whole. */
  readonly part: boolean;
  /** The owner before was writing it, and an insert of its may still come. */
  readonly inherited: boolean;
}

/** What to commit: the next offset to read and the plan beside it. */
export interface Commit {
  readonly offset: number;
  readonly metadata: string;
}

const PREFIX = 'intent:';
/** A commit's metadata holds 4 KiB; two ends of 16 digits and two signs each make 34 bytes; one more is what is done. */
export const OPEN_RANGES_MAX = 96;

/** The plan of a partition: which ranges are being written, in order. Pure: it says what to commit and when, and the
 *  caller does it.
 *
 *  An open range has been committed as an intent before its first insert, so whoever comes after a crash finds it and
 *  inserts the very same range, which the store recognises by its token. Nothing but the open ranges may have been
 *  inserted beyond the committed offset. The parts of a range that are done stay in its plan, before the committed
 *  offset, so that the last one is still known as a part.
 *
 *  @holds `open` is in order of offsets, and each range before it is written; a commit is durable before the next step
 *  @source design: exactly once, from the acknowledgement to the row */
export class Ledger {
  /** The next offset to read when nothing is open. */
  #next: number;
  #open: readonly OpenRange[];
  /** The parts of the plan that are written, as one. */
  #done: OffsetRange | null;

  private constructor(next: number, open: readonly OpenRange[], done: OffsetRange | null) {
    this.#next = next;
    this.#open = open;
    this.#done = done;
  }

  /** What the owner before has left. An open range must be redone, and may be written already.
   *  @throws ProcessorsError INTENT_UNREADABLE */
  static resume(committed: Commit): Ledger {
    const plan = parsePlan(committed.metadata);
    const past = plan.filter(({ last }) => last < committed.offset);
    const [begin, end] = [past.at(0), past.at(-1)];
    const done = begin === undefined || end === undefined ? null : { first: begin.first, last: end.last };
    const open = plan.slice(past.length).map((range) => {
      return { ...range, verify: true, part: plan.length > 1, inherited: true };
    });
    const last = open.at(-1);
    return last === undefined ? new Ledger(committed.offset, [], null) : new Ledger(last.last + 1, open, done);
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
    this.#open = [{ first: range.first, last: range.last, verify: false, part: false, inherited: false }];
    this.#next = range.last + 1;
    return this.standing;
  }

  /** The head is written. One commit closes it and opens the range that is ready to follow, if there is one. */
  written(next: OffsetRange | null): Commit {
    const [head, ...rest] = this.#open;
    if (head === undefined) throw new RangeError('nothing is open');
    this.#open = rest;
    if (rest.length > 0) {
      this.#done = { first: this.#done?.first ?? head.first, last: head.last };
      return this.standing;
    }
    this.#done = null;
    return next === null ? this.standing : this.intend(next);
  }

  /** Cuts the head in two before an offset: its parts are written one after the other, asking first what is there. */
  split(before: number): Commit {
    const head = this.#open[0];
    if (head === undefined || before <= head.first || before > head.last)
      throw new RangeError(`no open range to split before ${before}`);
    if (this.#open.length >= OPEN_RANGES_MAX) throw new RangeError('too many open ranges');
    const part = { verify: true, part: true, inherited: false };
    this.#open = [
      { first: head.first, last: before - 1, ...part },
      { first: before, last: head.last, ...part },
      ...this.#open.slice(1),
    ];
    return this.standing;
  }

  #admit(range: OffsetRange): void {
    if (range.first < this.#next || range.last < range.first)
      throw new RangeError(`range ${range.first}-${range.last} does not follow ${this.#next}`);
  }

  /** What stands committed when all that was said is done: to be committed again by who wants to know that it may. */
  get standing(): Commit {
    const head = this.#open[0];
    if (head === undefined) return { offset: this.#next, metadata: '' };
    return { offset: head.first, metadata: formatPlan(this.#done === null ? this.#open : [this.#done, ...this.#open]) };
  }
}

/** @shape `intent:first-last[,first-last…]`, '' for none; what stands before the committed offset is done */
export function formatPlan(plan: readonly OffsetRange[]): string {
  return plan.length === 0 ? '' : PREFIX + plan.map(({ first, last }) => `${first}-${last}`).join(',');
}

/** @throws ProcessorsError INTENT_UNREADABLE if it is neither empty nor ranges in order */
export function parsePlan(metadata: string): OffsetRange[] {
  if (metadata === '') return [];
  const unreadable = () => new ProcessorsError('INTENT_UNREADABLE', 'never', { metadata: metadata.slice(0, 100) });
  if (!metadata.startsWith(PREFIX)) throw unreadable();
  const plan: OffsetRange[] = [];
  let after = -1;
  for (const part of metadata.slice(PREFIX.length).split(',')) {
    const ends = /^(\d{1,16})-(\d{1,16})$/.exec(part);
    if (ends === null) throw unreadable();
    const first = Number(ends[1]);
    const last = Number(ends[2]);
    if (first <= after || last < first) throw unreadable();
    plan.push({ first, last });
    after = last;
  }
  return plan;
}
