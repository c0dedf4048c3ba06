import { describe, expect, test } from 'vitest';
import { formatPlan, Ledger, parsePlan } from './ledger.ts';

describe('the ledger', () => {
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
