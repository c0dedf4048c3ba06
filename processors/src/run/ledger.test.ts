import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Commit, formatPlan, Ledger, type OffsetRange, parsePlan } from './ledger.ts';

class Crash extends Error {}

/** A store that recognises a range by its token, and looks row by row when it is asked to verify. */
class ModelStore {
  readonly stored: number[] = [];
  readonly #tokens = new Set<string>();
  readonly culprits: ReadonlySet<number>;
  constructor(culprits: ReadonlySet<number>) {
    this.culprits = culprits;
  }

  /** @returns false where it refuses the range for good */
  write({ first, last }: OffsetRange, verify: boolean, buried: boolean): boolean {
    const token = `${first}-${last}`;
    if (this.#tokens.has(token)) return true;
    if (!buried) for (let offset = first; offset <= last; offset++) if (this.culprits.has(offset)) return false;
    this.#tokens.add(token);
    const known = new Set(verify ? this.stored : []);
    for (let offset = first; offset <= last; offset++) if (!known.has(offset)) this.stored.push(offset);
    return true;
  }
}

/** One life of a consumer: what a lane does, without the waiting. Crashes where `crashes` says so. */
function live(
  committed: { value: Commit },
  store: ModelStore,
  end: number,
  sizes: () => number,
  crashes: () => boolean,
) {
  const crash = (): void => {
    if (crashes()) throw new Crash();
  };
  const commit = (next: Commit): void => {
    crash();
    committed.value = next;
    // The commit is made, but nobody hears of it.
    crash();
  };
  const ledger = Ledger.resume(committed.value);
  const take = (): OffsetRange | null =>
    ledger.next >= end ? null : { first: ledger.next, last: Math.min(end - 1, ledger.next + sizes() - 1) };
  for (;;) {
    const head = ledger.head;
    if (head === null) {
      const range = take();
      if (range === null) return;
      commit(ledger.intend(range));
      continue;
    }
    crash();
    const alone = head.first === head.last;
    if (store.write(head, head.verify, false) || (alone && store.write(head, true, true))) {
      // The insert is done, its answer is lost.
      crash();
      commit(ledger.written(sizes() % 2 === 0 ? take() : null));
    } else {
      commit(ledger.split(head.first + ((head.last - head.first + 1) >>> 1)));
    }
  }
}

describe('the ledger', () => {
  test('brings each message into the store exactly once and in order, wherever it crashes', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.uniqueArray(fc.integer({ min: 0, max: 59 }), { maxLength: 4 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 16 })),
        fc.array(fc.boolean(), { maxLength: 120 }),
        (end, culprits, sizes, faults) => {
          const store = new ModelStore(new Set(culprits));
          const committed = { value: { offset: 0, metadata: '' } };
          const size = (): number => sizes.next().value as number;
          for (let lives = 0; lives < 200; lives++) {
            try {
              live(committed, store, end, size, () => faults.shift() === true);
              break;
            } catch (error) {
              if (!(error instanceof Crash)) throw error;
            }
          }
          expect(store.stored).toEqual(Array.from({ length: end }, (_, offset) => offset));
          expect(committed.value).toEqual({ offset: end, metadata: '' });
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('closes one range and opens the next in one commit', () => {
    const ledger = Ledger.resume({ offset: 5, metadata: '' });
    expect(ledger.intend({ first: 5, last: 9 })).toEqual({ offset: 5, metadata: 'intent:5-9' });
    expect(ledger.written({ first: 12, last: 20 })).toEqual({ offset: 12, metadata: 'intent:12-20' });
    expect(ledger.written(null)).toEqual({ offset: 21, metadata: '' });
  });

  test('keeps what was already verified in the plan when a part is split again', () => {
    const ledger = Ledger.resume({ offset: 0, metadata: 'intent:0-7' });
    expect(ledger.split(4)).toEqual({ offset: 0, metadata: 'intent:0-3,4-7' });
    expect(ledger.split(2)).toEqual({ offset: 0, metadata: 'intent:0-1,2-3,4-7' });
    expect(ledger.written({ first: 8, last: 9 })).toEqual({ offset: 2, metadata: 'intent:0-1,2-3,4-7' });
    expect(ledger.written(null)).toEqual({ offset: 4, metadata: 'intent:0-3,4-7' });
    expect(ledger.next).toBe(8);
    expect(ledger.written({ first: 8, last: 9 })).toEqual({ offset: 8, metadata: 'intent:8-9' });
  });

  test('knows the last part of a plan as a part, whoever finds it', () => {
    const ledger = Ledger.resume({ offset: 4, metadata: 'intent:0-3,4-7' });
    expect(ledger.head).toEqual({ first: 4, last: 7, verify: true, part: true, inherited: true });
    expect(ledger.split(6)).toEqual({ offset: 4, metadata: 'intent:0-3,4-5,6-7' });
    expect(Ledger.resume({ offset: 4, metadata: 'intent:4-7' }).head?.part).toBe(false);
    expect(Ledger.resume({ offset: 8, metadata: 'intent:0-3,4-7' }).head).toBeNull();
  });

  test('reads back the plans that it writes, and no others', () => {
    const plan = [
      { first: 0, last: 9_007_199_254_740_990 },
      { first: 9_007_199_254_740_991, last: 9_007_199_254_740_991 },
    ];
    expect(parsePlan(formatPlan(plan))).toMatchObject(plan);
    for (const foreign of ['x', 'intent:', 'intent:5-4', 'intent:1-2,2-3', 'intent:1-2,', 'intent:a-b'])
      expect(() => parsePlan(foreign)).toThrow('INTENT_UNREADABLE');
  });

  test('refuses a range that does not follow', () => {
    const ledger = Ledger.resume({ offset: 5, metadata: '' });
    expect(() => ledger.intend({ first: 4, last: 9 })).toThrow(RangeError);
    expect(() => ledger.split(3)).toThrow(RangeError);
    expect(() => ledger.written(null)).toThrow(RangeError);
  });
});
