import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PROXY_HEADER_SIZE_MAX, readProxyHeader } from './proxy-protocol.ts';

const MQTT = Buffer.from([0x10, 0x02]);
const line = (text: string): Buffer => Buffer.concat([Buffer.from(text, 'latin1'), MQTT]);

/** @param list types and values behind the addresses */
function binary(
  family: number,
  addresses: readonly number[],
  list: readonly (readonly [number, Buffer])[] = [],
  command = 0x21,
): Buffer {
  const told = list.flatMap(([type, value]) => [type, value.length >> 8, value.length & 255, ...value]);
  const size = addresses.length + told.length;
  const head = [...Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1'), command, family, size >> 8, size & 255];
  return Buffer.from([...head, ...addresses, ...told, ...MQTT]);
}
const V4 = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x34, 0x07, 0x5b];
const V6 = [...Buffer.from('20010db8000000000000000000000007', 'hex'), ...new Array(16).fill(0), 0, 1, 0, 2];
const MAPPED = [...Buffer.from('00000000000000000000ffffcb007109', 'hex'), ...new Array(16).fill(0), 0, 1, 0, 2];

describe('what a proxy says before its client speaks', () => {
  test.each([
    ['version 1', line('PROXY TCP4 203.0.113.9 10.0.0.1 4660 1883\r\n'), '203.0.113.9', null],
    ['version 1, IPv6', line('PROXY TCP6 2001:db8::7 2001:db8::1 4660 1883\r\n'), '2001:db8::7', null],
    ['version 1, unknown', line('PROXY UNKNOWN\r\n'), null, null],
    ['version 1, unknown with more', line('PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n'), null, null],
    ['version 2', binary(0x11, V4), '203.0.113.9', null],
    ['version 2, IPv6', binary(0x21, V6), '2001:db8::7', null],
    ['version 2, IPv4 in IPv6', binary(0x21, MAPPED), '203.0.113.9', null],
    ['version 2, a Unix socket', binary(0x31, new Array(216).fill(0)), null, null],
    [
      'version 2, by TLS',
      binary(0x11, V4, [
        [0x03, Buffer.alloc(4)],
        [0x20, Buffer.from([1, 0, 0, 0, 0])],
      ]),
      '203.0.113.9',
      true,
    ],
    ['version 2, without TLS', binary(0x11, V4, [[0x20, Buffer.from([0, 0, 0, 0, 0])]]), '203.0.113.9', false],
    ['version 2, of the proxy itself', binary(0x00, [], [], 0x20), null, null],
  ])('%s', (_, bytes, remoteAddress, tls) => {
    const size = bytes.length - MQTT.length;
    expect(readProxyHeader(bytes)).toEqual({ kind: 'header', client: { remoteAddress, tls }, size });
    // It may come byte by byte.
    for (let cut = 0; cut < size; cut++) expect(readProxyHeader(bytes.subarray(0, cut))).toEqual({ kind: 'more' });
  });

  test.each([
    ['is MQTT', MQTT],
    ['has no such family', line('PROXY TCP9 203.0.113.9 10.0.0.1 1 2\r\n')],
    ['has no address', line('PROXY TCP4 203.0.113.900 10.0.0.1 1 2\r\n')],
    ['mixes families', line('PROXY TCP4 2001:db8::7 10.0.0.1 1 2\r\n')],
    ['has no such port', line('PROXY TCP4 203.0.113.9 10.0.0.1 1 65536\r\n')],
    ['has more than belongs there', line('PROXY TCP4 203.0.113.9 10.0.0.1 1 2 3\r\n')],
    ['never ends', Buffer.alloc(107, 'PROXY TCP4 ')],
    ['is of a later version', binary(0x11, V4, [], 0x31)],
    ['has no such command', binary(0x11, V4, [], 0x22)],
    ['has no room for its addresses', binary(0x11, V4.slice(0, 8))],
    ['is longer than any', binary(0x11, V4, [[0x04, Buffer.alloc(PROXY_HEADER_SIZE_MAX)]])],
  ])('is refused when it %s', (_, bytes) => {
    expect(readProxyHeader(bytes)).toEqual({ kind: 'bad' });
  });

  test('of any bytes never throws, and reads nothing beyond them', () => {
    const beginnings = fc.constantFrom(
      binary(0x11, V4),
      binary(0x21, V6),
      line('PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n'),
    );
    fc.assert(
      fc.property(beginnings, fc.nat(), fc.uint8Array({ maxLength: 64 }), (beginning, cut, rest) => {
        const bytes = Buffer.concat([beginning.subarray(0, cut % beginning.length), rest]);
        const header = readProxyHeader(bytes);
        if (header.kind === 'header') expect(header.size).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 2_000 },
    );
  });
});
