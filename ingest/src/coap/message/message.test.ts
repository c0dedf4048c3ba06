import fc from 'fast-check';
import { expect, test } from 'vitest';
import { buildMessage, type CoapMessage, c, codeText, Option, parseMessage, readUint, uintBytes } from './message.ts';
import { OPTIONS_MAX } from './scan.ts';

const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((value) => Buffer.from(value));
const messages = fc.record({
  type: fc.integer({ min: 0, max: 3 }),
  code: fc.integer({ min: 1, max: 255 }),
  messageId: fc.integer({ min: 0, max: 0xffff }),
  token: bytes(8),
  options: fc.array(fc.tuple(fc.integer({ min: 0, max: 0xffff }), bytes(600)), { maxLength: OPTIONS_MAX }),
  payload: bytes(1_200),
});

test('what was built is read again, with the options in order of their numbers', () => {
  fc.assert(
    fc.property(messages, (message: CoapMessage) => {
      const options = [...message.options].sort(([one], [other]) => one - other);
      expect(parseMessage(buildMessage(message))).toEqual({ ...message, options });
    }),
    { numRuns: 1_000 },
  );
});

test('whatever arrives is read or refused, and what is read is written as a message that says the same', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 0, maxLength: 80 }), fc.integer({ min: 0, max: 3 }), (random, type) => {
      const datagram = Buffer.from(random);
      // Most random bytes are not even the right version.
      if (datagram.length > 0) datagram[0] = 0x40 | (type << 4) | ((datagram[0] as number) % 10);
      const message = parseMessage(datagram);
      if (message !== null && message.code !== 0) expect(parseMessage(buildMessage(message))).toEqual(message);
    }),
    { numRuns: 20_000 },
  );
});

test.each([
  ['an empty datagram', ''],
  ['less than a header', '400100'],
  ['another version', '80010001'],
  ['a token of nine bytes', '49010001000000000000000000'],
  ['a token that is cut off', '4401000101'],
  ['an empty message with a token', '4100000101'],
  ['an empty message with a payload', '40000001ff01'],
  ['a payload marker without payload', '40010001ff'],
  ['a reserved delta', '40010001f0'],
  ['a reserved length', '400100010f'],
  ['an option that is cut off', '40010001b36162'],
  ['a delta that is cut off', '40010001d0'],
  ['a long delta that is cut off', '40010001e001'],
  ['a length that is cut off', '40010001bd'],
  ['a long length that is cut off', '40010001be00'],
  ['an option number over 65535', '40010001e0fffee0fffe'],
])('%s is malformed', (_what, hex) => {
  expect(parseMessage(Buffer.from(hex, 'hex'))).toBeNull();
});

test('a message of more options than anyone needs is malformed', () => {
  const message = (count: number): Buffer =>
    buildMessage({
      type: 0,
      code: 1,
      messageId: 1,
      token: Buffer.alloc(0),
      options: Array.from({ length: count }, () => [Option.UriPath, Buffer.from('a')] as const),
      payload: Buffer.alloc(0),
    });
  expect(parseMessage(message(OPTIONS_MAX))?.options.length).toBe(OPTIONS_MAX);
  expect(parseMessage(message(OPTIONS_MAX + 1))).toBeNull();
});

// RFC 7252, appendix A, figure 16: GET /temperature, and its answer.
test('the example of the RFC is read and written byte by byte', () => {
  const request = Buffer.from('40017d34bb74656d7065726174757265', 'hex');
  expect(parseMessage(request)).toMatchObject({
    type: 0,
    code: 1,
    messageId: 0x7d34,
    options: [[11, Buffer.from('temperature')]],
  });
  const answer = { type: 2, code: c(2, 5), messageId: 0x7d34, token: Buffer.alloc(0), options: [] };
  expect(buildMessage({ ...answer, payload: Buffer.from('22.3 C') }).toString('hex')).toBe('60457d34ff32322e332043');
});

test('unsigned numbers have no leading zero, and 0 has no byte', () => {
  expect([0, 1, 255, 256, 65_536, 2 ** 32 - 1].map((value) => uintBytes(value).toString('hex'))).toEqual([
    '',
    '01',
    'ff',
    '0100',
    '010000',
    'ffffffff',
  ]);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (value) => {
      const encoded = uintBytes(value);
      expect(readUint(encoded, 0, encoded.length)).toBe(value);
    }),
  );
  expect(readUint(Buffer.alloc(5), 0, 5)).toBeNull();
});

test('codes are told as the RFC writes them', () => {
  expect([c(2, 5), c(4, 4), c(2, 31)].map(codeText)).toEqual(['2.05', '4.04', '2.31']);
});
