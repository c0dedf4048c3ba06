import { expect, test } from 'vitest';
import { CoapsIngestConfig, dtlsLimits } from '../config.ts';
import type { DtlsSettings } from '../contract.ts';
import { Extension, type WholeClientHello } from './client-hello.ts';
import { negotiate } from './negotiation.ts';

const SETTINGS: DtlsSettings = {
  psk: true,
  certificate: null,
  clientCertificates: 'optional',
  limits: dtlsLimits(CoapsIngestConfig.parse({})),
};
const hello = (
  suites: readonly number[],
  extensions: readonly (readonly [number, string])[] = [],
): WholeClientHello => ({
  version: 0xfefd,
  random: Buffer.alloc(32),
  sessionId: Buffer.alloc(0),
  cookie: Buffer.alloc(0),
  suites,
  extensions: new Map(extensions.map(([type, hex]) => [type, Buffer.from(hex, 'hex')])),
});
const chosen = (asked: WholeClientHello, settings = SETTINGS) =>
  negotiate(asked, settings, () => null)?.suite.id ?? null;

test('takes the first suite of the client that is spoken', () => {
  expect(chosen(hello([0x1301, 0x00a8, 0xc0a8]))).toBe(0x00a8);
  expect(chosen(hello([0xc0ae, 0xc0a8]))).toBe(0xc0a8);
  expect(chosen(hello([0xc0a8]), { ...SETTINGS, psk: false })).toBeNull();
});
test('takes no elliptic curves with who knows another curve only', () => {
  expect(chosen(hello([0xd003], [[Extension.supportedGroups, '0002001d']]))).toBeNull();
  expect(chosen(hello([0xd003], [[Extension.supportedGroups, '0004001d0017']]))).toBe(0xd003);
  expect(chosen(hello([0xd003, 0xc0a8], [[Extension.supportedGroups, '0002001d']]))).toBe(0xc0a8);
});
test('gives a connection id to who offers them, unless there is none to give', () => {
  const offering = hello([0xc0a8], [[Extension.connectionId, '00']]);
  const id = Buffer.from('our id');
  expect(negotiate(offering, SETTINGS, () => id)).toMatchObject({
    connectionId: id,
    peerConnectionId: Buffer.alloc(0),
  });
  expect(negotiate(hello([0xc0a8]), SETTINGS, () => id)?.connectionId).toBeNull();
  const none = { connectionId: null, peerConnectionId: null };
  expect(negotiate(offering, SETTINGS, () => null)).toMatchObject(none);
});
test('takes a renegotiation for what it is', () => {
  expect(chosen(hello([0xc0a8], [[Extension.renegotiationInfo, '00']]))).toBe(0xc0a8);
  expect(chosen(hello([0xc0a8], [[Extension.renegotiationInfo, '0c000102030405060708090a0b']]))).toBeNull();
});
