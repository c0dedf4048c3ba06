import fc from 'fast-check';
import { expect, test } from 'vitest';
import { overlap, type Reach, requestHash } from './selection.ts';

const CHANNELS = ['a', 'b', 'c'];
const PUBLISHERS = ['x', 'y'];
const list = (of: readonly string[]) => fc.option(fc.subarray([...of], { minLength: 1 }), { nil: undefined });
const time = fc.option(fc.integer({ min: 0, max: 6 }).map(String), { nil: undefined });
const reach: fc.Arbitrary<Reach> = fc.record({
  channels: list(CHANNELS),
  publishers: list(PUBLISHERS),
  from_us: time,
  to_us: time,
});
const holds = (of: Reach, channel: string, publisher: string, us: number): boolean =>
  (of.channels?.includes(channel) ?? true) &&
  (of.publishers?.includes(publisher) ?? true) &&
  (of.from_us === undefined || us >= Number(of.from_us)) &&
  (of.to_us === undefined || us < Number(of.to_us));

test('a hold and a deletion overlap wherever something may lie in both', () => {
  fc.assert(
    fc.property(reach, reach, (one, other) => {
      const shared = CHANNELS.some((channel) =>
        PUBLISHERS.some((publisher) =>
          Array.from({ length: 9 }, (_, index) => index - 1).some(
            (us) => holds(one, channel, publisher, us) && holds(other, channel, publisher, us),
          ),
        ),
      );
      // An empty range holds nothing, and may be said to overlap: that errs to the safe side.
      if (shared) expect(overlap(one, other)).toBe(true);
      const isEmpty = ({ from_us: from, to_us: to }: Reach): boolean =>
        from !== undefined && to !== undefined && Number(from) >= Number(to);
      if (!shared && !isEmpty(one) && !isEmpty(other)) expect(overlap(one, other)).toBe(false);
    }),
    { numRuns: 2_000 },
  );
});

test('the hash of a request does not depend on the order of what it names, but on all of it', () => {
  const one = requestHash('org', { what: ['readings'], channels: ['b', 'a'], from_us: '1' }, 'why');
  expect(requestHash('org', { from_us: '1', channels: ['a', 'b'], what: ['readings'], names: undefined }, 'why')).toBe(
    one,
  );
  for (const other of [
    requestHash('other', { what: ['readings'], channels: ['b', 'a'], from_us: '1' }, 'why'),
    requestHash('org', { what: ['readings'], channels: ['b'], from_us: '1' }, 'why'),
    requestHash('org', { what: ['readings'], channels: ['b', 'a'], to_us: '1' }, 'why'),
    requestHash('org', { what: ['readings'], channels: ['b', 'a'], from_us: '1' }, 'other'),
  ])
    expect(other).not.toBe(one);
});
