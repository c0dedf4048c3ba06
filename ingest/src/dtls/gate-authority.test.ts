import type { DeviceKeys } from '@millrace/core';
import { expect, test } from 'vitest';
import { TestGate, THING } from '../testing/gate.ts';
import { gateAuthority } from './gate-authority.ts';

test('an external key that was replaced while its handshake was under way lets nobody in', async () => {
  let key = 'the old one';
  const keys: DeviceKeys = { keysOf: async () => [], bootstrapKeys: async () => [{ thing: THING, key }] };
  const authority = gateAuthority(new TestGate(), keys);
  const [old] = await authority.candidates(Buffer.from('urn:1'), '192.0.2.1');
  if (old === undefined) throw new Error('no candidate');
  expect(await authority.admit(old.identity, '192.0.2.1')).not.toBeNull();
  key = 'the new one';
  expect(await authority.admit(old.identity, '192.0.2.1')).toBeNull();
  const [renewed] = await authority.candidates(Buffer.from('urn:1'), '192.0.2.1');
  expect(renewed && (await authority.admit(renewed.identity, '192.0.2.1'))).not.toBeNull();
});
