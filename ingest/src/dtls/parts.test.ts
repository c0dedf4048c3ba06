import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CIPHER_SUITES, type CipherSuite } from './cipher-suites.ts';
import { Cookies } from './cookie.ts';
import { readClientHello } from './handshake/client-hello.ts';
import { allowsSignatures } from './handshake/key-usage.ts';
import { flightDatagrams, type HandshakeMessage, readFragments } from './handshake/message.ts';
import { Reassembly } from './handshake/reassembly.ts';
import { prf } from './prf.ts';
import { type DtlsRecord, openRecord, readRecord, sealRecord } from './record.ts';
import { ReplayWindow } from './replay-window.ts';
import { MalformedError } from './wire.ts';

const suites = fc.constantFrom(...CIPHER_SUITES.values());
const keysOf = (suite: CipherSuite) => ({ suite, key: Buffer.alloc(16, 7), salt: Buffer.alloc(4, 9) });

test('the pseudo-random function is that of TLS 1.2', () => {
  // The vector for SHA-256 of the IETF's TLS list (2009), which implementations test by.
  const secret = Buffer.from('9bbe436ba940f017b17652849a71db35', 'hex');
  const seed = Buffer.from('a0ba9f936cda311827a6f796ffd5198c', 'hex');
  expect(prf(secret, 'test label', seed, 100).toString('hex')).toBe(
    'e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66',
  );
});

describe('the replay window', () => {
  test('takes each number once, and none that is older than the last 64', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.nat(200), fc.nat(2 ** 40)), { maxLength: 200 }), (numbers) => {
        const window = new ReplayWindow();
        const seen = new Set<number>();
        let newest = -1;
        for (const number of numbers) {
          const fresh = !seen.has(number) && number > newest - 64;
          expect(window.isFresh(number)).toBe(fresh);
          if (!fresh) continue;
          expect(window.accept(number)).toBe(number > newest);
          seen.add(number);
          newest = Math.max(newest, number);
        }
      }),
    );
  });
});

describe('a record', () => {
  const content = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
  const id = fc.option(fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => Buffer.from(bytes)));
  const sequence = fc.nat(2 ** 47);

  test('opens to what was sealed', () => {
    fc.assert(
      fc.property(
        suites,
        content,
        id,
        sequence,
        fc.constantFrom(21, 22, 23),
        (suite, plain, connectionId, number, type) => {
          const keys = keysOf(suite);
          const sealed = sealRecord(keys, type, number, plain, connectionId);
          const read = readRecord(sealed, 0, connectionId?.length ?? 0);
          expect(read).toMatchObject({ epoch: 1, sequence: number, end: sealed.length });
          expect(openRecord(keys, read as DtlsRecord)).toEqual({ type, data: plain });
        },
      ),
    );
  });
  test('does not open when a bit of it is another', () => {
    fc.assert(
      fc.property(suites, content, id, sequence, fc.nat(), (suite, plain, connectionId, number, bit) => {
        const keys = keysOf(suite);
        const sealed = sealRecord(keys, 23, number, plain, connectionId);
        const at = bit % (sealed.length * 8);
        sealed[at >> 3] = (sealed[at >> 3] as number) ^ (1 << (at & 7));
        const read = readRecord(sealed, 0, connectionId?.length ?? 0);
        // The version is fixed, so what stands there is not looked at.
        if (at >> 3 === 2) return;
        expect(read === null ? null : openRecord(keys, { ...read, epoch: 1 })).toSatisfy(
          (opened) => opened === null || (read as DtlsRecord).epoch !== 1,
        );
      }),
    );
  });
  test('is found in anything without a fault', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(20), fc.nat(110), (bytes, idBytes, offset) => {
        const datagram = Buffer.from(bytes);
        const read = readRecord(datagram, offset, idBytes);
        if (read !== null) expect(read.end).toBeLessThanOrEqual(datagram.length);
        if (read !== null) for (const suite of CIPHER_SUITES.values()) openRecord(keysOf(suite), read);
      }),
    );
  });
});

describe('messages of a handshake', () => {
  const messages = fc
    .array(fc.uint8Array({ maxLength: 900 }), { minLength: 1, maxLength: 5 })
    .map((bodies) =>
      bodies.map((body, n): HandshakeMessage => ({ type: n + 1, sequence: n + 3, body: Buffer.from(body) })),
    );
  test('are whole again from their fragments, in any order and twice', () => {
    fc.assert(
      fc.property(
        messages,
        fc.integer({ min: 64, max: 600 }),
        fc.array(fc.nat(), { maxLength: 40 }),
        (all, size, order) => {
          let number = 0;
          const datagrams = flightDatagrams(all, size, () => number++);
          for (const datagram of datagrams) expect(datagram.length).toBeLessThanOrEqual(size);
          const shuffled = [...datagrams, ...datagrams];
          for (const [from, to] of order.entries()) {
            const [moved] = shuffled.splice(from % shuffled.length, 1);
            if (moved !== undefined) shuffled.splice(to % shuffled.length, 0, moved);
          }
          const reassembly = new Reassembly(3, 1_000);
          const taken: HandshakeMessage[] = [];
          for (const datagram of shuffled) {
            for (let offset = 0; offset < datagram.length; ) {
              const record = readRecord(datagram, offset, 0) as DtlsRecord;
              offset = record.end;
              for (const fragment of readFragments(record.body)) reassembly.add(fragment);
            }
            for (let next = reassembly.take(); next !== null; next = reassembly.take()) taken.push(next);
          }
          expect(taken).toEqual(all);
        },
      ),
    );
  });
  test('larger than the bound, or far ahead of their turn, are not kept', () => {
    const reassembly = new Reassembly(0, 100);
    const whole = { type: 1, sequence: 0, offset: 0 };
    reassembly.add({ ...whole, size: 101, bytes: Buffer.alloc(101) });
    expect(reassembly.take()).toBeNull();
    reassembly.add({ ...whole, sequence: 5, size: 1, bytes: Buffer.alloc(1) });
    for (let sequence = 0; sequence < 5; sequence++)
      reassembly.add({ ...whole, sequence, size: 1, bytes: Buffer.alloc(1) });
    let count = 0;
    while (reassembly.take() !== null) count++;
    expect(count).toBe(5);
  });
  test('a ClientHello of anything is read or malformed, never a fault', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          readClientHello(Buffer.from(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedError);
        }
      }),
    );
  });
});

test('a cookie is good for one address and port, one hello, and two minutes', () => {
  const cookies = new Cookies();
  const hello = { version: 0xfefd, random: Buffer.alloc(32, 1), sessionId: Buffer.alloc(0), cookie: Buffer.alloc(0) };
  const cookie = cookies.make(hello, '192.0.2.1', 5, 59_000);
  const again = { ...hello, cookie };
  expect(cookies.holds(again, '192.0.2.1', 5, 119_000)).toBe(true);
  expect(cookies.holds(again, '192.0.2.1', 5, 121_000)).toBe(false);
  expect(cookies.holds(again, '192.0.2.2', 5, 59_000)).toBe(false);
  expect(cookies.holds(again, '192.0.2.1', 6, 59_000)).toBe(false);
  expect(cookies.holds({ ...again, random: Buffer.alloc(32, 2) }, '192.0.2.1', 5, 59_000)).toBe(false);
  expect(new Cookies().holds(again, '192.0.2.1', 5, 59_000)).toBe(false);
});

test('the key usage of anything is told without a fault', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      allowsSignatures(Buffer.from(bytes));
    }),
  );
});
