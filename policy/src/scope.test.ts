import { type Identified, type Principal, Protocol, type RequestContext, type Scope } from '@millrace/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createCredentials, type SigningCredentials } from './credentials.ts';
import { createGate, type StoppableGate } from './gate.ts';
import { createSealer } from './sealer.ts';
import { MemoryDirectory } from './testing/directory.ts';
import { builtInMember, ruleOf } from './testing/rules.ts';

const secret = new Uint8Array(32).fill(7);
const context: RequestContext = {
  protocol: Protocol.http,
  remoteAddress: '192.0.2.1',
  tls: false,
  mutualTls: false,
  nowMs: Date.UTC(2026, 0, 5),
};
let nowMs: number;
let directory: MemoryDirectory;
let credentials: SigningCredentials;
let gate: StoppableGate;

const identify = async (token: string): Promise<Identified> => gate.identify({ kind: 'bearer', token });
const known = async (token: string): Promise<Principal> => {
  const identified = await identify(token);
  if (identified.kind === 'refused') throw new Error(identified.reason);
  return identified.principal;
};
const user = async (): Promise<Principal> => {
  const identified = await gate.identify({ kind: 'subject', id: 'u1' });
  if (identified.kind === 'refused') throw new Error(identified.reason);
  return identified.principal;
};
const said = async (principal: Principal, channel = 'c1', subtopic = ''): Promise<string> => {
  const admission = await gate.may(principal, 'publish', channel, subtopic, context);
  return admission.kind === 'allow' ? 'allow' : admission.reason;
};
const allows = async (principal: Principal, object: string, groups: readonly string[] = []): Promise<boolean> =>
  gate.allows(principal, 'o1', object, 'things.read', context, groups);
const give = (
  token: string,
  grants: Scope['grants'],
  more: { readonly org?: string | null; readonly id?: string; readonly expiresMs?: number } = {},
): void => {
  const { id = `id of ${token}`, org = 'o1', expiresMs = Number.POSITIVE_INFINITY } = more;
  directory.bearers.set(credentials.digest(token), { subject: 'u1', expiresMs, scope: { id, org, grants } });
};

beforeEach(() => {
  nowMs = Date.UTC(2026, 0, 5);
  directory = new MemoryDirectory();
  credentials = createCredentials({ secret, now: () => nowMs });
  directory.user('u1');
  for (const org of ['o1', 'o2']) directory.setRules('u1', org, builtInMember('u1', 'owner', org));
  directory.putChannel('c1', 'o1', { alias: 'room', groups: ['house'] });
  directory.putChannel('c2', 'o2');
  gate = createGate({ directory, credentials, sealer: createSealer(secret), now: () => nowMs });
});
afterEach(() => gate.stop());

describe('a subject that the platform names with a scope', () => {
  test('has no more rights than the scope carries, and leaves the subject without one as it is', async () => {
    const scope: Scope = {
      id: 'k9',
      org: 'o1',
      grants: [{ actions: ['publish'], resources: ['channels/c1/messages'] }],
    };
    const named = async (more: { scope?: Scope } = {}): Promise<Principal> => {
      const identified = await gate.identify({ kind: 'subject', id: 'u1', ...more });
      if (identified.kind === 'refused') throw new Error(identified.reason);
      return identified.principal;
    };
    const scoped = await named({ scope });
    expect(scoped.scope).toEqual(scope);
    expect([await said(scoped), await allows(scoped, 'things/t1')]).toEqual(['allow', false]);
    expect(await allows(await named(), 'things/t1')).toBe(true);
    directory.announce('key', 'k9', 'o1', ['k9']);
    expect(scoped.revoked).toBe(true);
  });
});

describe('a key with a scope', () => {
  test('carries what it names of its owner, who keeps the rest', async () => {
    give('reader', [{ actions: ['things.read'], resources: ['things/t1'] }]);
    const principal = await known('reader');
    expect(principal.scope).toMatchObject({ id: 'id of reader' });
    expect([await allows(principal, 'things/t1'), await allows(principal, 'things/t2')]).toEqual([true, false]);
    expect(await said(principal)).toBe('not_allowed');
    const owner = await user();
    expect([await allows(owner, 'things/t2'), await said(owner)]).toEqual([true, 'allow']);
    expect([await allows(principal, 'things/t2'), await said(principal)], 'also after that').toEqual([
      false,
      'not_allowed',
    ]);
  });

  test('gives nothing that its owner has not', async () => {
    give('all', [{ actions: ['*'], resources: ['*'] }]);
    const principal = await known('all');
    expect(await said(principal)).toBe('allow');
    directory.setRules('u1', 'o1', [
      ...builtInMember('u1', 'owner', 'o1'),
      ruleOf({ subject: 'u1', org: 'o1', object: 'channels/c1/*', action: 'publish', effect: 'deny' }),
    ]);
    expect(await said(principal)).toBe('denied_by_policy');
    directory.setRules('u1', 'o1', builtInMember('u1', 'viewer', 'o1'));
    expect(await said(principal)).toBe('not_allowed');
    directory.setRules('u1', 'o1', []);
    expect(await said(principal)).toBe('no_such_channel');
  });

  test('limits an administrator of the installation too', async () => {
    directory.user('u1', { admin: true });
    give('reader', [{ actions: ['things.read'], resources: ['things/t1'] }], { org: null });
    const principal = await known('reader');
    expect([await allows(principal, 'things/t1'), await allows(principal, 'things/t2')]).toEqual([true, false]);
    expect([await allows(principal, 'things/t1'), await allows(principal, 'things/t2')]).toEqual([true, false]);
    expect(await said(principal)).toBe('not_allowed');
    expect([await allows(await user(), 'things/t2'), await said(await user())]).toEqual([true, 'allow']);
  });

  test('is good for its organisation, and tells nothing of another', async () => {
    give('one', [{ actions: ['*'], resources: ['*'] }]);
    give('any', [{ actions: ['*'], resources: ['*'] }], { org: null });
    const one = await known('one');
    expect([await said(one, 'c1'), await said(one, 'c2'), await said(one, 'nowhere')]).toEqual([
      'allow',
      'no_such_channel',
      'no_such_channel',
    ]);
    expect(gate.allows(one, 'o2', 'things/t1', 'things.read', context)).toBe(false);
    expect(await said(one, 'room'), 'an alias is of an organisation').toBe('allow');
    expect(await said(await known('any'), 'c2')).toBe('allow');
  });

  test('may name a subtopic, and what lies in a group', async () => {
    give('door', [{ actions: ['publish'], resources: ['channels/*/messages/door'] }]);
    give('house', [{ actions: ['things.read', 'publish'], resources: ['group:house/*'] }]);
    const door = await known('door');
    expect([await said(door, 'c1', 'door'), await said(door, 'c1', 'safe'), await said(door, 'c1', 'door')]).toEqual([
      'allow',
      'not_allowed',
      'allow',
    ]);
    const house = await known('house');
    expect(await said(house)).toBe('allow');
    expect(await allows(house, 'things/t1', ['house'])).toBe(true);
    expect(await allows(house, 'things/t1', ['barn']), 'the same thing, moved').toBe(false);
    expect(await allows(house, 'things/t1')).toBe(false);
    directory.putChannel('c1', 'o1', { groups: ['barn'] });
    expect(await said(house)).toBe('not_allowed');
  });

  test('gives the same admission at once the second time, and another than its owner gets', async () => {
    give('key', [{ actions: ['publish'], resources: ['channels/*'] }]);
    const principal = await known('key');
    const admission = await gate.may(principal, 'publish', 'c1', 'a', context);
    expect(gate.may(principal, 'publish', 'c1', 'b', context)).toBe(admission);
    expect(await gate.may(await user(), 'publish', 'c1', 'a', context)).not.toBe(admission);
    expect(directory.calls.rules, 'the rules are the same').toBe(1);
  });

  test('ends alone when it is revoked, with what it opened', async () => {
    give('one', [{ actions: ['publish'], resources: ['channels/*'] }]);
    give('other', [{ actions: ['publish'], resources: ['channels/*'] }]);
    const [one, other, owner] = [await known('one'), await known('other'), await user()];
    expect(await said(one)).toBe('allow');
    directory.bearers.delete(credentials.digest('one'));
    directory.announce('key', 'id of one', 'o1', ['id of one']);
    expect([one.revoked, other.revoked, owner.revoked]).toEqual([true, false, false]);
    expect([await said(one), await said(other)]).toEqual(['subject_disabled', 'allow']);
    expect(await identify('one')).toEqual({ kind: 'refused', reason: 'unknown' });
  });

  test('that is revoked while it is looked up opens nothing', async () => {
    give('one', [{ actions: ['publish'], resources: ['channels/*'] }]);
    directory.pause = async () => {
      directory.pause = async () => {};
      directory.bearers.delete(credentials.digest('one'));
      directory.announce('app', 'id of one', null, ['id of one']);
    };
    expect(await identify('one')).toEqual({ kind: 'refused', reason: 'unknown' });
  });

  test('expires to the millisecond', async () => {
    give('short', [{ actions: ['publish'], resources: ['*'] }], { expiresMs: nowMs + 1_000 });
    const principal = await known('short');
    nowMs += 999;
    expect([principal.revoked, await known('short')]).toEqual([false, principal]);
    nowMs += 1;
    expect([principal.revoked, await said(principal)]).toEqual([true, 'subject_disabled']);
  });

  test('is void with its owner', async () => {
    give('key', [{ actions: ['publish'], resources: ['*'] }]);
    const principal = await known('key');
    directory.user('u1', { enabled: false });
    expect(principal.revoked).toBe(true);
    expect(await identify('key')).toEqual({ kind: 'refused', reason: 'disabled' });
  });
});

describe('a key of a thing', () => {
  test('that has been replaced holds until the end of its overlap', async () => {
    directory.thing('t1', 'o1', credentials.digest('new'));
    directory.keys.set(credentials.digest('old'), 't1');
    directory.keysUntilMs.set(credentials.digest('old'), nowMs + 5_000);
    const byOld = await gate.identify({ kind: 'key', key: 'old' });
    const byNew = await gate.identify({ kind: 'key', key: 'new' });
    if (byOld.kind === 'refused' || byNew.kind === 'refused') throw new Error('both are known');
    nowMs += 5_000;
    directory.keys.delete(credentials.digest('old'));
    expect([byOld.principal.revoked, byNew.principal.revoked]).toEqual([true, false]);
    expect(await gate.identify({ kind: 'key', key: 'old' })).toEqual({ kind: 'refused', reason: 'unknown' });
  });
});

test('unknown bearers are remembered within bounds, and asked about once', async () => {
  expect(await identify('nobody')).toEqual({ kind: 'refused', reason: 'unknown' });
  expect(await identify('nobody')).toEqual({ kind: 'refused', reason: 'unknown' });
  expect(directory.calls.bearer).toBe(1);
  give('nobody', [{ actions: ['publish'], resources: ['*'] }]);
  directory.announce('app', 'some app', 'o1', []);
  expect(await identify('nobody'), 'let in right after it was made').toMatchObject({ kind: 'known' });
});
