import { describe, expect, test } from 'vitest';
import { Carrier } from './carrier.ts';
import type { CarrierEvent, Effect } from './effects.ts';

/** What the carrier wants, event after event. */
function told(carrier: Carrier, ...events: CarrierEvent[]): readonly Effect[] {
  let effects: readonly Effect[] = [];
  for (const event of events) effects = carrier.on(event);
  return effects;
}
const read = (first: number, last: number): CarrierEvent => ({ kind: 'read', range: { first, last } });
const ahead = (first: number, last: number): CarrierEvent => {
  return { kind: 'normalised', strand: 'ahead', range: { first, last } };
};
const inHand = (first: number, last: number): CarrierEvent => {
  return { kind: 'normalised', strand: 'hand', range: { first, last } };
};
const committed: CarrierEvent = { kind: 'committed' };
const waited: CarrierEvent = { kind: 'waited', strand: 'hand' };
const failed = (strand: 'hand' | 'ahead', before: number | null): CarrierEvent[] => [
  { kind: 'failed', strand, before, hung: false },
  { kind: 'failed', strand, before, hung: false },
  { kind: 'probed', strand, works: true },
];
const write = (first: number, last: number, more: object = {}): Effect => {
  return { kind: 'write', range: { first, last }, verify: false, part: false, tries: 0, ...more } as Effect;
};
const started = (): Carrier => {
  const carrier = Carrier.resume({ offset: 0, metadata: '' });
  carrier.begin();
  return carrier;
};

describe('the carrier', () => {
  test('commits the intent of a range before it writes it, and reads on while it writes', () => {
    const carrier = Carrier.resume({ offset: 5, metadata: '' });
    expect(carrier.begin()).toEqual([{ kind: 'read', from: 5 }]);
    expect(told(carrier, read(5, 9))).toEqual([{ kind: 'normalise', strand: 'ahead', range: { first: 5, last: 9 } }]);
    expect(told(carrier, ahead(5, 7))).toEqual([{ kind: 'commit', offset: 5, metadata: 'intent:5-7' }]);
    expect(told(carrier, committed)).toEqual([write(5, 7), { kind: 'read', from: 8 }]);
  });

  test('closes a range and opens the one that is ready in one commit', () => {
    const carrier = started();
    told(carrier, read(0, 4), ahead(0, 4), committed, read(5, 9), ahead(5, 9));
    expect(told(carrier, { kind: 'written' })).toEqual([{ kind: 'commit', offset: 5, metadata: 'intent:5-9' }]);
    expect(told(carrier, committed)).toEqual([write(5, 9), { kind: 'read', from: 10 }]);
    expect(told(carrier, { kind: 'written' })).toEqual([{ kind: 'commit', offset: 10, metadata: '' }]);
  });

  test('asks what is there when it writes again what may be written', () => {
    const carrier = started();
    told(carrier, read(0, 4), ahead(0, 4), committed);
    expect(told(carrier, { kind: 'unreachable' })).toMatchObject([{ kind: 'wait', why: 'store', tries: 1 }]);
    expect(told(carrier, waited)).toEqual([write(0, 4, { verify: true, tries: 1 })]);
  });

  test('writes what another has left open first, as it is', () => {
    const carrier = Carrier.resume({ offset: 3, metadata: 'intent:3-9' });
    expect(carrier.begin()).toEqual([{ kind: 'normalise', strand: 'hand', range: { first: 3, last: 9 } }]);
    expect(told(carrier, inHand(3, 9))).toEqual([write(3, 9, { verify: true })]);
    expect(told(carrier, { kind: 'written' }, committed)).toEqual([{ kind: 'read', from: 10 }]);
  });

  test('halves what is refused, and makes a dead letter of what is alone', () => {
    const carrier = started();
    told(carrier, read(0, 3), ahead(0, 3), committed);
    expect(told(carrier, { kind: 'refused', messages: 2 })).toEqual([{ kind: 'weigh', range: { first: 0, last: 3 } }]);
    expect(told(carrier, { kind: 'weighed', before: 2 })).toEqual([
      { kind: 'commit', offset: 0, metadata: 'intent:0-1,2-3' },
    ]);
    expect(told(carrier, committed, inHand(0, 1))).toEqual([write(0, 1, { verify: true, part: true })]);
    expect(told(carrier, { kind: 'refused', messages: 1 })).toMatchObject([{ kind: 'bury', reason: 'store_refused' }]);
    expect(told(carrier, { kind: 'buried', strand: 'hand' })).toMatchObject([{ kind: 'write', verify: true }]);
    expect(told(carrier, { kind: 'refused', messages: 1 })).toMatchObject([{ kind: 'wait', why: 'dead_letters' }]);
    expect(told(carrier, waited, { kind: 'written' })).toEqual([
      { kind: 'commit', offset: 2, metadata: 'intent:0-1,2-3' },
    ]);
  });

  test('does not take for the culprit what the log has left of a refused range', () => {
    const carrier = started();
    told(carrier, read(0, 3), ahead(0, 3), committed, { kind: 'refused', messages: 4 });
    expect(told(carrier, { kind: 'weighed', before: null })).toMatchObject([{ kind: 'normalise', strand: 'hand' }]);
  });

  test('waits for late inserts before it splits or buries what it has inherited', () => {
    for (const before of [6, null]) {
      const carrier = Carrier.resume({ offset: 3, metadata: 'intent:3-9' });
      carrier.begin();
      expect(told(carrier, ...failed('hand', before))).toMatchObject([{ kind: 'wait', why: 'late_inserts' }]);
      expect(told(carrier, waited)).toMatchObject([{ kind: before === null ? 'bury' : 'commit' }]);
    }
  });

  test('ends a batch before the message that workers fail on, as long as nothing is opened', () => {
    const carrier = started();
    told(carrier, read(0, 9));
    expect(told(carrier, ...failed('ahead', 4))).toEqual([
      { kind: 'normalise', strand: 'ahead', range: { first: 0, last: 3 } },
    ]);
    expect(told(carrier, ...failed('ahead', null))).toMatchObject([{ kind: 'bury', strand: 'ahead' }]);
  });

  test('does not blame a message when no worker can be had', () => {
    const carrier = started();
    told(carrier, read(0, 9), ...failed('ahead', 4).slice(0, 2));
    expect(told(carrier, { kind: 'probed', strand: 'ahead', works: false })).toMatchObject([{ kind: 'wait' }]);
    expect(told(carrier, { kind: 'waited', strand: 'ahead' })).toMatchObject([{ kind: 'normalise' }]);
  });

  test('is over when all that was taken on is committed, or when its lease is lost', () => {
    const drained = started();
    told(drained, read(0, 9), ahead(0, 9), committed, { kind: 'drained' }, { kind: 'written' });
    expect(told(drained, committed)).toEqual([{ kind: 'over' }]);
    const lost = started();
    expect(told(lost, { kind: 'lost' })).toEqual([{ kind: 'over' }]);
    expect(told(lost, read(0, 9))).toEqual([]);
  });

  test('refuses an answer to nothing that it asked for', () => {
    expect(() => told(started(), { kind: 'written' })).toThrow(RangeError);
    expect(() => told(started(), ahead(0, 1))).toThrow(RangeError);
  });
});
