import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Dedup } from './dedup.ts';

/** A datagram of which only the token counts. */
const withToken = (token: string): Buffer => Buffer.concat([Buffer.alloc(4), Buffer.from(token)]);
const LIFETIME_MS = 247_000;

function table(entries = 1_024, bytes = 10_000) {
  const dedup = new Dedup(entries, bytes, LIFETIME_MS);
  return {
    dedup,
    find: (peer: number, messageId: number, token = '', nowMs = 0) =>
      dedup.find(peer, messageId, withToken(token), token.length, nowMs),
    add: (peer: number, messageId: number, token = '', owner: object | null = {}, nowMs = 0) =>
      dedup.add(peer, messageId, withToken(token), token.length, nowMs, owner),
  };
}

test('it tells what a message was answered, small and large', () => {
  const { dedup, find, add } = table();
  for (const size of [0, 4, 28, 29, 500]) {
    const owner = {};
    const number = add(1, size, 't', owner);
    expect(find(1, size, 't')).toEqual({ kind: 'working', owner });
    dedup.settle(number, owner, Buffer.alloc(size, 'x'));
    expect(find(1, size, 't')).toEqual({ kind: 'answered', datagram: Buffer.alloc(size, 'x') });
  }
  const owner = {};
  dedup.settle(add(1, 999, '', owner), owner, null);
  expect(find(1, 999)).toEqual({ kind: 'silent' });
});

test('an entry is forgotten after its lifetime', () => {
  const { dedup, find, add } = table();
  const owner = {};
  dedup.settle(add(1, 1, '', owner, 1_000), owner, Buffer.alloc(4));
  expect(find(1, 1, '', 1_000 + LIFETIME_MS)).not.toBeNull();
  expect(find(1, 1, '', 1_000 + LIFETIME_MS + 20)).toBeNull();
});

test('millions of messages take the memory of the ring, the oldest go', () => {
  const { dedup, find, add } = table(1_024);
  for (let index = 0; index < 1_000_000; index++) dedup.settle(add(index % 50, index & 0xffff), null, Buffer.alloc(8));
  expect(dedup.size).toBe(1_024);
  const last = 999_999;
  for (let back = 0; back < 1_024; back++) expect(find((last - back) % 50, (last - back) & 0xffff)).not.toBeNull();
  expect(find((last - 1_024) % 50, (last - 1_024) & 0xffff)).toBeNull();
});

test('a standstill with thousands at work makes looking for a repeat no slower', () => {
  const { dedup, find, add } = table(64);
  const owners = Array.from({ length: 16_384 }, (_, index) => ({ index }));
  const numbers = owners.map((owner, index) => add(3, index, 't', owner));
  const begun = process.cpuUsage();
  let found = 0;
  for (let index = 0; index < 100_000; index++) if (find(4, index & 0xffff) !== null) found++;
  expect(found).toBe(0);
  // One by one it would be 1,600 million comparisons.
  expect(process.cpuUsage(begun).user).toBeLessThan(5_000_000);
  for (const [index, owner] of owners.entries()) {
    if (index < 16_000) expect(find(3, index, 't')).toEqual({ kind: 'working', owner });
    dedup.settle(numbers[index] as number, owner, null);
  }
  expect(dedup.size).toBe(64);
});

test('what is still worked on is not forgotten, however many come', () => {
  const { dedup, find, add } = table(64);
  const owner = {};
  const number = add(1, 1, 'abc', owner);
  for (let index = 0; index < 1_000; index++) dedup.settle(add(2, index), null, null);
  expect(find(1, 1, 'abc')).toEqual({ kind: 'working', owner });
  expect(find(1, 1, 'abd')).toBeNull();
  dedup.settle(number, owner, Buffer.alloc(4));
  expect(find(1, 1, 'abc')).toBeNull();
});

test('large answers are bounded in bytes, the oldest are told to be lost', () => {
  const { dedup, find, add } = table(1_024, 1_000);
  for (let index = 0; index < 100; index++) {
    const owner = {};
    dedup.settle(add(1, index, '', owner), owner, Buffer.alloc(100));
    expect(dedup.heldBytes).toBeLessThanOrEqual(1_000);
  }
  expect([find(1, 0), find(1, 99)?.kind]).toEqual([{ kind: 'lost' }, 'answered']);
});

test('it agrees with a plain map over any run of messages', () => {
  const steps = fc.array(
    fc.record({
      peer: fc.integer({ min: 0, max: 3 }),
      messageId: fc.integer({ min: 0, max: 20 }),
      token: fc.constantFrom('', 'a', 'bb'),
    }),
    { maxLength: 300 },
  );
  fc.assert(
    fc.property(steps, (messages) => {
      const { dedup, find, add } = table(16);
      const order: string[] = [];
      for (const { peer, messageId, token } of messages) {
        const key = `${peer}/${messageId}/${token}`;
        expect(find(peer, messageId, token) !== null).toBe(order.includes(key));
        if (order.includes(key)) continue;
        dedup.settle(add(peer, messageId, token), null, Buffer.from('x'));
        order.push(key);
        if (order.length > 16) order.shift();
      }
    }),
  );
});
