import type { SealedFields } from '@millrace/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createSealer } from './sealer.ts';

const secret = new Uint8Array(32).fill(1);
const sealer = createSealer(secret);
const text = fc.string({ unit: 'grapheme', maxLength: 40 });
const fields: fc.Arbitrary<SealedFields> = fc.record({
  id: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  org: text,
  channel: text,
  subtopic: text,
  publisher: text,
  version: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  receivedUs: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  payload: fc.uint8Array({ maxLength: 600 }),
});
const seal = (given: SealedFields, by = sealer): Uint8Array => {
  const mac = new Uint8Array(16);
  by.seal(given, mac);
  return mac;
};

describe('the seal', () => {
  test('holds for what was sealed, also by another instance (a worker) and for large payloads', () => {
    fc.assert(
      fc.property(fields, (given) => {
        expect(createSealer(secret).verify(given, seal(given))).toBe(true);
      }),
      { numRuns: 200 },
    );
    for (const size of [0, 16_383, 16_384, 16_385, 1_048_576]) {
      const given = { ...(fc.sample(fields, 1)[0] as SealedFields), payload: new Uint8Array(size).fill(3) };
      const mac = seal(given);
      expect(sealer.verify(given, mac)).toBe(true);
      if (size === 0) continue;
      given.payload[size - 1] = 4;
      expect(sealer.verify(given, mac)).toBe(false);
    }
  });

  test('breaks when any field is another', () => {
    fc.assert(
      fc.property(fields, fields, (given, other) => {
        const mac = seal(given);
        for (const name of Object.keys(given) as (keyof SealedFields)[]) {
          const changed = { ...given, [name]: other[name] };
          const same = JSON.stringify(changed) === JSON.stringify(given);
          expect(sealer.verify(changed, mac)).toBe(same);
        }
      }),
    );
  });

  test('breaks when any bit of payload, id or MAC is another', () => {
    fc.assert(
      fc.property(fields, fc.nat(), fc.integer({ min: 0, max: 7 }), (given, at, bit) => {
        const flip = (bytes: Uint8Array): Uint8Array => {
          const copy = Uint8Array.from(bytes);
          const index = at % Math.max(1, copy.length);
          copy[index] = (copy[index] ?? 0) ^ (1 << bit);
          return copy;
        };
        const mac = seal(given);
        expect(sealer.verify(given, flip(mac))).toBe(false);
        expect(sealer.verify({ ...given, id: flip(given.id) }, mac)).toBe(false);
        if (given.payload.length > 0) {
          expect(sealer.verify({ ...given, payload: flip(given.payload) }, mac)).toBe(false);
        }
      }),
    );
  });

  test('tells apart what reads the same when it is joined', () => {
    const [given] = fc.sample(fields, 1) as [SealedFields];
    const one = { ...given, org: 'ab', channel: 'c', subtopic: '', publisher: 'd' };
    const others = [
      { ...one, org: 'a', channel: 'bc' },
      { ...one, subtopic: 'd', publisher: '' },
      { ...one, channel: '', subtopic: 'c' },
      { ...one, publisher: '', payload: Uint8Array.from([0x64, ...one.payload]) },
    ];
    for (const other of others) expect(sealer.verify(other, seal(one))).toBe(false);
  });

  test('does not hold under another secret, for a shorter MAC or an id of another size', () => {
    const [given] = fc.sample(fields, 1) as [SealedFields];
    const mac = seal(given);
    expect(createSealer(new Uint8Array(32).fill(2)).verify(given, mac)).toBe(false);
    expect(sealer.verify(given, mac.subarray(0, 15))).toBe(false);
    expect(sealer.verify(given, new Uint8Array(0))).toBe(false);
    expect(sealer.verify({ ...given, id: given.id.subarray(0, 15) }, mac)).toBe(false);
    expect(() => createSealer(new Uint8Array(31))).toThrow('SECRET_INVALID');
  });

  test('handles texts longer than its first buffer', () => {
    const [given] = fc.sample(fields, 1) as [SealedFields];
    const long = { ...given, subtopic: 'é'.repeat(70_000), payload: new Uint8Array(16_000) };
    const mac = seal(long);
    expect(sealer.verify(long, mac)).toBe(true);
    expect(sealer.verify({ ...long, subtopic: `${'é'.repeat(69_999)}e` }, mac)).toBe(false);
    expect(sealer.verify(given, seal(given))).toBe(true);
  });
});
