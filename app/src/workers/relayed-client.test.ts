import { createHash, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { RELAYED_CLIENT, readClient, writeClient } from './relayed-client.ts';

const certificate = randomBytes(900);
const fingerprint = createHash('sha256').update(certificate).digest('hex');

test.each([
  { remoteAddress: '203.0.113.9', tls: true, mutualTls: false, certificate: null },
  { remoteAddress: 'fe80::1%eth0', tls: false, mutualTls: false, certificate: null },
  {
    remoteAddress: '2001:db8::1',
    tls: true,
    mutualTls: true,
    certificate: { kind: 'certificate' as const, fingerprint, certificate },
  },
  { remoteAddress: '', tls: false, mutualTls: false, certificate: null },
])('a client is told whole, also what it has shown to a proxy: $remoteAddress', (client) => {
  const text = writeClient(client);
  expect(text).toMatch(/^[\x20-\x7e]*$/);
  expect(readClient((name) => (name === RELAYED_CLIENT ? text.trim() : undefined))).toEqual(client);
});

test('who is not told is nobody', () => {
  expect(readClient(() => undefined)).toEqual({ remoteAddress: '', tls: false, mutualTls: false, certificate: null });
});
