import {
  type Admission,
  type Condition,
  connectionRules,
  createMetrics,
  EVERY_SUBTOPIC,
  groupObject,
  type Identified,
  type PolicyRule,
  type Principal,
  Protocol,
  type RequestContext,
} from '@millrace/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createCredentials, type SigningCredentials } from './credentials.ts';
import { createGate, type GateOptions, type StoppableGate } from './gate.ts';
import { createSealer } from './sealer.ts';
import { MemoryDirectory } from './testing/directory.ts';
import { builtInMember, ruleOf } from './testing/rules.ts';
import { generateSigningKey } from './tokens.ts';

const secret = new Uint8Array(32).fill(7);
const BOTH = { publish: true, subscribe: true };
let nowMs: number;
let directory: MemoryDirectory;
let credentials: SigningCredentials;
let gate: StoppableGate;

const at = (more: Partial<RequestContext> = {}): RequestContext => ({
  protocol: Protocol.http,
  remoteAddress: '192.0.2.1',
  tls: false,
  mutualTls: false,
  nowMs,
  ...more,
});
const open = (options: Partial<GateOptions> = {}): StoppableGate =>
  createGate({ directory, credentials, sealer: createSealer(secret), now: () => nowMs, ...options });
const identify = async (key: string, thing?: string): Promise<Identified> =>
  gate.identify({ kind: 'key', key, ...(thing === undefined ? {} : { thing }) });
const known = (identified: Identified): Principal => {
  if (identified.kind !== 'known') throw new Error(`refused: ${identified.reason}`);
  return identified.principal;
};
const thing = async (): Promise<Principal> => known(await identify('key-1'));
const ask = async (
  principal: Principal,
  action: 'publish' | 'subscribe' = 'publish',
  channel = 'c1',
  subtopic = '',
  context = at(),
): Promise<Admission> => gate.may(principal, action, channel, subtopic, context);
const said = (admission: Admission): string => (admission.kind === 'allow' ? 'allow' : admission.reason);

beforeEach(() => {
  nowMs = Date.UTC(2026, 0, 5, 12);
  directory = new MemoryDirectory();
  credentials = createCredentials({ secret, now: () => nowMs });
  directory.thing('t1', 'o1', credentials.digest('key-1'));
  directory.putChannel('c1', 'o1', { alias: 'room' });
  directory.setRules('t1', 'o1', connectionRules('t1', 'o1', 'c1', BOTH), 'connection');
  gate = open();
});
afterEach(() => gate.stop());

describe('identify', () => {
  test('knows a thing by its key, at once and as the same object the second time', async () => {
    const first = await identify('key-1');
    const second = gate.identify({ kind: 'key', key: 'key-1' });
    expect(second).toBe(first);
    expect(known(first).subject.id).toBe('t1');
    expect(directory.calls.thingByKey).toBe(1);
  });

  test('refuses a key shown for another thing, cold and warm', async () => {
    expect(await identify('key-1', 't2')).toEqual({ kind: 'refused', reason: 'unknown' });
    expect(await identify('key-1', 't1')).toMatchObject({ kind: 'known' });
    expect(gate.identify({ kind: 'key', key: 'key-1', thing: 't2' })).toEqual({ kind: 'refused', reason: 'unknown' });
  });

  test('knows a disabled thing, but does not let it in until it is enabled', async () => {
    const before = await thing();
    directory.thing('t1', 'o1', credentials.digest('key-1'), { enabled: false });
    expect(before.revoked).toBe(true);
    expect(await identify('key-1')).toEqual({ kind: 'refused', reason: 'disabled' });
    expect(gate.identify({ kind: 'key', key: 'key-1' })).toEqual({ kind: 'refused', reason: 'disabled' });
    directory.thing('t1', 'o1', credentials.digest('key-1'));
    expect(await identify('key-1')).toMatchObject({ kind: 'known' });
    expect(before.revoked, 'a revoked principal never comes back to life').toBe(true);
  });

  test('a rotated key ends what the old one opened', async () => {
    const before = await thing();
    directory.keys.clear();
    directory.keys.set(credentials.digest('key-2'), 't1');
    directory.announce('key', 'k1', 'o1', ['t1']);
    expect(before.revoked).toBe(true);
    expect(said(await ask(before))).toBe('subject_disabled');
    expect(await identify('key-1')).toEqual({ kind: 'refused', reason: 'unknown' });
    expect(known(await identify('key-2')).subject.id).toBe('t1');
  });

  test('a key that was refused is let in right after it was made', async () => {
    expect(await identify('key-3')).toEqual({ kind: 'refused', reason: 'unknown' });
    expect(gate.identify({ kind: 'key', key: 'key-3' }), 'remembered').toEqual({ kind: 'refused', reason: 'unknown' });
    directory.thing('t3', 'o1', credentials.digest('key-3'));
    expect(known(await identify('key-3')).subject.id).toBe('t3');
  });

  test('asks once however many show a key at the same time', async () => {
    await Promise.all(Array.from({ length: 50 }, () => identify('key-1')));
    expect(directory.calls.thingByKey).toBe(1);
  });

  test('an unknown key is asked about again after a while, and when the clock jumps back', async () => {
    await identify('nobody');
    nowMs += 4_999;
    await identify('nobody');
    expect(directory.calls.thingByKey).toBe(1);
    nowMs += 1;
    await identify('nobody');
    expect(directory.calls.thingByKey).toBe(2);
    nowMs -= 3_600_000;
    await identify('nobody');
    expect(directory.calls.thingByKey).toBe(3);
  });

  test('what the directory throws reaches the caller and is not remembered', async () => {
    directory.pause = async () => {
      throw new Error('database is down');
    };
    await expect(identify('key-1')).rejects.toThrow('database is down');
    directory.pause = async () => {};
    expect(await identify('key-1')).toMatchObject({ kind: 'known' });
  });

  test('knows a user by an access token until it expires, and sessions with it', async () => {
    credentials.importSigningKeys([await generateSigningKey()]);
    directory.user('u1');
    const token = await credentials.issueAccessToken('u1', 0);
    const principal = known(await gate.identify({ kind: 'bearer', token }));
    expect(known(gate.identify({ kind: 'bearer', token }) as Identified)).toBe(principal);
    expect(principal.subject).toMatchObject({ kind: 'user', id: 'u1' });
    nowMs += 899_000;
    expect(principal.revoked).toBe(false);
    nowMs += 1_000;
    expect(principal.revoked).toBe(true);
    expect(await gate.identify({ kind: 'bearer', token })).toEqual({ kind: 'refused', reason: 'unknown' });
  });

  test('a token is void once the epoch of its subject has moved on, and of another one never good', async () => {
    credentials.importSigningKeys([await generateSigningKey()]);
    directory.thing('t1', 'o1', credentials.digest('key-1'), { epoch: 4 });
    const token = await credentials.issueAccessToken('t1', 4, 3_600);
    const principal = known(await gate.identify({ kind: 'bearer', token }));
    expect(principal.subject).toMatchObject({ kind: 'thing', id: 't1' });
    expect(said(await ask(principal))).toBe('allow');
    directory.thing('t1', 'o1', credentials.digest('key-1'), { epoch: 5 });
    expect(principal.revoked).toBe(true);
    const older = await credentials.issueAccessToken('t1', 3);
    const newer = await credentials.issueAccessToken('t1', 6);
    for (const void_ of [token, older, newer])
      expect(await gate.identify({ kind: 'bearer', token: void_ })).toEqual({ kind: 'refused', reason: 'unknown' });
    expect(await identify('key-1'), 'the key itself still holds').toMatchObject({ kind: 'known' });
  });

  test('a disabled user is out at once, whatever the token says', async () => {
    credentials.importSigningKeys([await generateSigningKey()]);
    directory.user('u1');
    const token = await credentials.issueAccessToken('u1', 0);
    const principal = known(await gate.identify({ kind: 'bearer', token }));
    directory.user('u1', { enabled: false });
    expect(principal.revoked).toBe(true);
    expect(await gate.identify({ kind: 'bearer', token })).toEqual({ kind: 'refused', reason: 'disabled' });
  });

  test('takes a key as a bearer too, but never the id of a user for one', async () => {
    expect(known(await gate.identify({ kind: 'bearer', token: 'key-1' })).subject.id).toBe('t1');
    directory.user('u1');
    directory.keys.set(credentials.digest('odd'), 'u1');
    expect(await gate.identify({ kind: 'key', key: 'odd' })).toEqual({ kind: 'refused', reason: 'unknown' });
  });
});

describe('may, for a thing', () => {
  test('allows by a connection, all subtopics by one object, warm without a promise', async () => {
    const principal = await thing();
    const first = await ask(principal);
    expect(first).toMatchObject({ kind: 'allow', action: 'publish', valid: true, version: directory.version });
    expect(first.kind === 'allow' && first.channel.id).toBe('c1');
    expect(gate.may(principal, 'publish', 'c1', '', at())).toBe(first);
    expect(gate.may(principal, 'publish', 'c1', 'any/thing', at({ protocol: Protocol.mqtt }))).toBe(first);
    expect(directory.calls.rules).toBe(1);
  });

  test('finds a channel by its alias', async () => {
    const admission = await ask(await thing(), 'publish', 'room');
    expect(admission.kind === 'allow' && admission.channel.id).toBe('c1');
  });

  test('publish alone is not subscribe', async () => {
    directory.setRules('t1', 'o1', connectionRules('t1', 'o1', 'c1', { publish: true, subscribe: false }));
    const principal = await thing();
    expect(said(await ask(principal, 'publish'))).toBe('allow');
    expect(said(await ask(principal, 'subscribe'))).toBe('not_allowed');
  });

  test('a channel that is known under another name, or to another organisation, is asked about once', async () => {
    const principal = await thing();
    await ask(principal, 'publish', 'c1');
    await ask(principal, 'publish', 'room');
    expect(gate.may(principal, 'publish', 'room', '', at())).toMatchObject({ kind: 'allow' });
    directory.thing('t2', 'o2', credentials.digest('key-2'));
    const stranger = known(await identify('key-2'));
    expect(said(await ask(stranger, 'publish', 'c1'))).toBe('no_such_channel');
    expect(gate.may(stranger, 'publish', 'c1', '', at())).toEqual({ kind: 'deny', reason: 'no_such_channel' });
    expect(directory.calls.channel).toBe(3);
  });

  test("another organisation's channel does not exist for it, whatever its rules say", async () => {
    directory.putChannel('c9', 'o9');
    directory.setRules('t1', 'o1', connectionRules('t1', 'o1', 'c9', BOTH));
    directory.setRules('t1', 'o9', connectionRules('t1', 'o9', 'c9', BOTH));
    expect(said(await ask(await thing(), 'publish', 'c9'))).toBe('no_such_channel');
  });

  test('a publish right after the connection succeeds, though the denial was remembered', async () => {
    directory.putChannel('c2', 'o1');
    const principal = await thing();
    expect(said(await ask(principal, 'publish', 'c2'))).toBe('not_allowed');
    directory.setRules('t1', 'o1', connectionRules('t1', 'o1', 'c2', BOTH), 'connection');
    expect(principal.revoked, 'a connection ends no session').toBe(false);
    expect(said(await ask(principal, 'publish', 'c2'))).toBe('allow');
  });

  test('a disconnection ends what was admitted', async () => {
    const principal = await thing();
    const admission = await ask(principal);
    directory.setRules('t1', 'o1', [], 'connection');
    expect(admission.kind === 'allow' && admission.valid).toBe(false);
    expect(said(await ask(principal))).toBe('not_allowed');
  });

  test('a disabled channel takes nothing, and ends what was admitted', async () => {
    const principal = await thing();
    const admission = await ask(principal);
    directory.putChannel('c1', 'o1', { enabled: false });
    expect(admission.kind === 'allow' && admission.valid).toBe(false);
    expect(said(await ask(principal))).toBe('channel_disabled');
    directory.putChannel('c1', 'o1');
    expect(said(await ask(principal))).toBe('allow');
  });

  test('a channel that was missing is there right after it was made', async () => {
    const principal = await thing();
    expect(said(await ask(principal, 'publish', 'new'))).toBe('no_such_channel');
    expect(said(gate.may(principal, 'publish', 'new', '', at()) as Admission)).toBe('no_such_channel');
    expect(directory.calls.channel).toBe(1);
    directory.putChannel('c5', 'o1', { alias: 'new' });
    expect(said(await ask(principal, 'publish', 'new'))).toBe('not_allowed');
  });

  test('a user who is nothing in the organisation is not told that the channel is there', async () => {
    credentials.importSigningKeys([await generateSigningKey()]);
    directory.user('u1');
    const token = await credentials.issueAccessToken('u1', 0);
    const principal = known(await gate.identify({ kind: 'bearer', token }));
    expect(said(await ask(principal))).toBe('no_such_channel');
    directory.putChannel('c1', 'o1', { enabled: false });
    expect(said(await ask(principal))).toBe('no_such_channel');
    directory.putChannel('c1', 'o1');
    directory.setRules('u1', 'o1', builtInMember('u1', 'viewer', 'o1'));
    expect(said(await ask(principal))).toBe('not_allowed');
    expect(said(await ask(principal, 'subscribe'))).toBe('allow');
  });

  test('an alias that moves to another channel is followed', async () => {
    const principal = await thing();
    expect(said(await ask(principal, 'publish', 'room'))).toBe('allow');
    directory.putChannel('c1', 'o1', { alias: null });
    directory.putChannel('c2', 'o1', { alias: 'room' });
    expect(said(await ask(principal, 'publish', 'room'))).toBe('not_allowed');
  });

  test('of every subtopic at once: what covers all of them allows, what denies some denies', async () => {
    const connected = connectionRules('t1', 'o1', 'c1', BOTH);
    const rule = (object: string, effect: 'allow' | 'deny', condition: Condition | null = null) =>
      ruleOf({
        subject: 't1',
        org: 'o1',
        object,
        action: 'subscribe',
        effect,
        ...(condition === null ? {} : { condition }),
      });
    const every = async (...rules: readonly PolicyRule[]): Promise<string> => {
      directory.setRules('t1', 'o1', rules);
      // Judged after another question, too: what is kept of that one does not stand for this one.
      await ask(await thing(), 'subscribe');
      return said(await ask(await thing(), 'subscribe', 'c1', EVERY_SUBTOPIC));
    };
    expect(await every(...connected)).toBe('allow');
    expect(await every(rule('*', 'allow'))).toBe('allow');
    expect(await every(rule('channels/c1/messages', 'allow'))).toBe('not_allowed');
    expect(await every(rule('channels/c1/messages/a*', 'allow'))).toBe('not_allowed');
    expect(await every(rule('channels/*', 'allow', { subtopic: ['#'] }))).toBe('not_allowed');
    for (const denied of [
      'channels/c1/messages/a',
      'channels/*/messages/a/*',
      'channels/c1/messages/*/b',
      'channels/c*',
    ])
      expect(await every(...connected, rule(denied, 'deny'))).toBe('denied_by_policy');
    expect(await every(...connected, rule('channels/*', 'deny', { subtopic: ['a/#'] }))).toBe('denied_by_policy');
    for (const elsewhere of ['channels/c2/messages/a', 'channels/*/things', 'things/*', 'channels/c1', 'group:g1/*'])
      expect(await every(...connected, rule(elsewhere, 'deny'))).toBe('allow');
  });

  test('a denial of one subtopic leaves the others', async () => {
    const object = 'channels/c1/messages/secret*';
    const deny = ruleOf({ subject: 't1', org: 'o1', object, action: 'publish', effect: 'deny' });
    directory.setRules('t1', 'o1', [...connectionRules('t1', 'o1', 'c1', BOTH), deny]);
    const principal = await thing();
    expect(said(await ask(principal, 'publish', 'c1', 'secret/door'))).toBe('denied_by_policy');
    expect(said(await ask(principal, 'publish', 'c1', 'open'))).toBe('allow');
    expect(said(await ask(principal, 'subscribe', 'c1', 'secret/door'))).toBe('allow');
  });

  test('a group of channels passes on what is allowed on it, through groups in groups', async () => {
    const house = groupObject('house', 'channels/*');
    directory.setRules('t1', 'o1', [
      ruleOf({ subject: 't1', org: 'o1', object: house, action: 'publish', effect: 'allow' }),
    ]);
    directory.putChannel('c1', 'o1', { groups: ['house', 'floor'] });
    directory.putChannel('c2', 'o1', { groups: ['barn'] });
    const principal = await thing();
    expect(said(await ask(principal, 'publish', 'c1', 'a/b'))).toBe('allow');
    expect(said(await ask(principal, 'publish', 'c2'))).toBe('not_allowed');
    directory.putChannel('c1', 'o1', { groups: ['barn'] });
    expect(said(await ask(principal, 'publish', 'c1', 'a/b')), 'moved out of it').toBe('not_allowed');
  });

  test('a rule whose effect is not understood allows nothing', async () => {
    directory.setRules('t1', 'o1', [
      { type: 'p', values: ['t1', 'o1', '*', '*', '', ''] },
      { type: 'p', values: ['t1', 'o1', '*', '*', 'Allow', ''] },
      { type: 'p', values: ['t1', 'o2', '*', '*', 'allow', ''] },
      { type: 'p', values: ['t1', 'o1'] },
    ]);
    expect(said(await ask(await thing()))).toBe('not_allowed');
  });

  test('a cut session stays revocable after the memo forgot its thing', async () => {
    gate.stop();
    gate = open({ limits: { credentialsMax: 16, answersMax: 16 } });
    const principal = await thing();
    const admission = await ask(principal);
    for (let index = 0; index < 200; index++) {
      directory.thing(`x${index}`, 'o1', credentials.digest(`x${index}`));
      const other = known(await identify(`x${index}`));
      await ask(other);
    }
    expect(principal.revoked).toBe(false);
    expect(admission.kind === 'allow' && admission.valid).toBe(true);
    directory.thing('t1', 'o1', credentials.digest('key-1'), { enabled: false });
    expect(principal.revoked).toBe(true);
    expect(admission.kind === 'allow' && admission.valid).toBe(false);
  });
});

describe('conditions', () => {
  const allowIf = (condition: object): void => {
    const rule = {
      subject: 't1',
      org: 'o1',
      object: 'channels/c1/messages*',
      action: 'publish',
      effect: 'allow',
    } as const;
    directory.setRules('t1', 'o1', [ruleOf({ ...rule, condition })]);
  };

  test('keep apart only what the rules ask about', async () => {
    allowIf({ address: ['10.0.0.0/8', '2001:db8::/32'] });
    const principal = await thing();
    const inside = await ask(principal, 'publish', 'c1', '', at({ remoteAddress: '10.1.2.3' }));
    expect(said(inside)).toBe('allow');
    expect(said(await ask(principal, 'publish', 'c1', '', at({ remoteAddress: '::ffff:10.9.9.9' })))).toBe('allow');
    expect(said(await ask(principal, 'publish', 'c1', '', at({ remoteAddress: '2001:db8::5' })))).toBe('allow');
    expect(said(await ask(principal))).toBe('not_allowed');
    expect(said(await ask(principal, 'publish', 'c1', '', at({ remoteAddress: 'nonsense' })))).toBe('not_allowed');
    const warm = gate.may(principal, 'publish', 'c1', 'x', at({ remoteAddress: '10.1.2.3', protocol: Protocol.ws }));
    expect(warm).toBe(inside);
  });

  test('a time window opens and closes on the millisecond, for what is held too', async () => {
    const fromMs = nowMs + 1_000;
    allowIf({ time: { from: new Date(fromMs).toISOString(), to: new Date(fromMs + 1_000).toISOString() } });
    const principal = await thing();
    expect(said(await ask(principal))).toBe('not_allowed');
    nowMs = fromMs - 1;
    expect(said(await ask(principal))).toBe('not_allowed');
    nowMs = fromMs;
    const admission = await ask(principal);
    expect(said(admission)).toBe('allow');
    nowMs = fromMs + 999;
    expect(gate.may(principal, 'publish', 'c1', '', at())).toBe(admission);
    nowMs = fromMs + 1_000;
    expect(admission.kind === 'allow' && admission.valid).toBe(false);
    expect(said(await ask(principal))).toBe('not_allowed');
    nowMs = fromMs + 500;
    expect(said(await ask(principal)), 'a clock that jumps back is believed').toBe('allow');
    nowMs = fromMs - 500;
    expect(said(await ask(principal))).toBe('not_allowed');
  });

  test('hours go over midnight and count the day on which they open', async () => {
    // Friday night only; 2026-01-09 is a Friday.
    allowIf({ hours: { from: '22:00', to: '06:00', days: [5] } });
    const principal = await thing();
    const answer = async (day: number, hour: number): Promise<string> => {
      nowMs = Date.UTC(2026, 0, day, hour);
      return said(await ask(principal));
    };
    expect(await answer(9, 21)).toBe('not_allowed');
    expect(await answer(9, 22)).toBe('allow');
    expect(await answer(10, 5)).toBe('allow');
    expect(await answer(10, 6)).toBe('not_allowed');
    expect(await answer(10, 23)).toBe('not_allowed');
    expect(await answer(9, 3)).toBe('not_allowed');
  });

  test("ask for TLS, for a client's certificate and for the thing's metadata", async () => {
    allowIf({ tls: true, mutualTls: true, metadata: { site: 'north' } });
    directory.thing('t1', 'o1', credentials.digest('key-1'), { metadata: { site: 'north' } });
    const principal = await thing();
    expect(said(await ask(principal, 'publish', 'c1', '', at({ tls: true })))).toBe('not_allowed');
    expect(said(await ask(principal, 'publish', 'c1', '', at({ tls: true, mutualTls: true })))).toBe('allow');
    directory.thing('t1', 'o1', credentials.digest('key-1'), { metadata: { site: 'south' } });
    const moved = await thing();
    expect(said(await ask(moved, 'publish', 'c1', '', at({ tls: true, mutualTls: true })))).toBe('not_allowed');
  });

  test('that nobody understands let nobody in: the allow is void, the deny stands', async () => {
    for (const text of ['{', '{"moon":"full"}', 'true', '{"address":["10.0.0.0/99"]}', '{"time":{"from":"soon"}}']) {
      const object = 'channels/c1/messages*';
      directory.setRules('t1', 'o1', [{ type: 'p', values: ['t1', 'o1', object, 'publish', 'allow', text] }]);
      const principal = await thing();
      expect(said(await ask(principal)), text).toBe('not_allowed');
      const deny = { type: 'p' as const, values: ['t1', 'o1', object, 'publish', 'deny', text] };
      directory.setRules('t1', 'o1', [...connectionRules('t1', 'o1', 'c1', BOTH), deny]);
      expect(said(await ask(principal)), text).toBe('denied_by_policy');
    }
  });
});

describe('for users', () => {
  const user = async (id: string): Promise<Principal> => {
    credentials.importSigningKeys([await generateSigningKey()]);
    const token = await credentials.issueAccessToken(id, 0);
    return known(await gate.identify({ kind: 'bearer', token }));
  };

  test('the role in the organisation decides', async () => {
    const expected = {
      owner: { publish: 'allow', subscribe: 'allow', create: true, members: true, key: true },
      admin: { publish: 'allow', subscribe: 'allow', create: true, members: true, key: true },
      editor: { publish: 'allow', subscribe: 'allow', create: true, members: false, key: true },
      viewer: { publish: 'not_allowed', subscribe: 'allow', create: false, members: false, key: false },
    } as const;
    for (const role of ['owner', 'admin', 'editor', 'viewer'] as const) {
      directory.user(role);
      directory.setRules(role, 'o1', builtInMember(role, role, 'o1'), 'member');
      const principal = await user(role);
      expect(said(await ask(principal, 'publish'))).toBe(expected[role].publish);
      expect(said(await ask(principal, 'subscribe'))).toBe(expected[role].subscribe);
      expect(await gate.allows(principal, 'o1', 'things', 'things.create', at())).toBe(expected[role].create);
      expect(await gate.allows(principal, 'o1', 'things/t1', 'things.update', at())).toBe(expected[role].key);
      expect(await gate.allows(principal, 'o1', 'members', 'members.create', at())).toBe(expected[role].members);
      expect(await gate.allows(principal, 'o1', 'channels/c1', 'channels.read', at())).toBe(true);
      expect(await gate.allows(principal, 'o1', 'deadletters', 'deadletters.read', at())).toBe(true);
      expect(await gate.allows(principal, 'o2', 'things', 'things.list', at()), 'a member of o1 only').toBe(false);
    }
  });

  test('an administrator of the installation may everything, also without rules', async () => {
    directory.user('root', { admin: true });
    const principal = await user('root');
    expect(said(await ask(principal))).toBe('allow');
    expect(gate.allows(principal, 'o1', 'things', 'things.create', at())).toBe(true);
    expect(said(await ask(principal, 'publish', 'nowhere'))).toBe('no_such_channel');
    directory.putChannel('c1', 'o1', { enabled: false });
    expect(said(await ask(principal))).toBe('channel_disabled');
  });

  test('a role that is taken away is gone at once', async () => {
    directory.user('u1');
    directory.setRules('u1', 'o1', builtInMember('u1', 'editor', 'o1'), 'member');
    const principal = await user('u1');
    const admission = await ask(principal);
    expect(await gate.allows(principal, 'o1', 'things', 'things.create', at())).toBe(true);
    directory.setRules('u1', 'o1', [], 'member');
    expect(admission.kind === 'allow' && admission.valid).toBe(false);
    expect(await gate.allows(principal, 'o1', 'things', 'things.create', at())).toBe(false);
  });

  test('a denial overrides the role', async () => {
    directory.user('u1');
    const object = 'things/t1';
    const deny = ruleOf({ subject: 'u1', org: 'o1', object, action: 'things.delete', effect: 'deny' });
    directory.setRules('u1', 'o1', [...builtInMember('u1', 'owner', 'o1'), deny]);
    const principal = await user('u1');
    expect(await gate.allows(principal, 'o1', 'things/t1', 'things.delete', at())).toBe(false);
    expect(await gate.allows(principal, 'o1', 'things/t2', 'things.delete', at())).toBe(true);
  });

  test('a thing has no say on the control plane beyond its rules, none in another organisation', async () => {
    const principal = await thing();
    expect(await gate.allows(principal, 'o1', 'things', 'things.list', at())).toBe(false);
    expect(gate.allows(principal, 'o2', 'things', 'things.list', at())).toBe(false);
  });
});

describe('stop', () => {
  test('makes all invalid, since nothing would void it any more', async () => {
    const principal = await thing();
    const admission = await ask(principal);
    gate.stop();
    expect(directory.listenerCount).toBe(0);
    expect(principal.revoked).toBe(true);
    expect(admission.kind === 'allow' && admission.valid).toBe(false);
    await expect(identify('key-1')).rejects.toMatchObject({ code: 'POLICY_CLOSED', retry: 'later' });
  });
});

describe('metrics', () => {
  test('count cold and warm decisions when they are read', async () => {
    const metrics = createMetrics();
    gate.stop();
    gate = open({ metrics });
    const principal = await thing();
    for (let index = 0; index < 5; index++) await ask(principal);
    const text = await metrics.registry.metrics();
    expect(text).toContain('millrace_policy_decisions_total{memo="warm",outcome="any"} 4');
    expect(text).toContain('millrace_policy_decisions_total{memo="cold",outcome="allow"} 1');
    expect(text).toContain('millrace_policy_lookups_total{kind="rules"} 1');
    expect(text).toContain('millrace_policy_memo_entries{memo="subjects"} 1');
  });
});
