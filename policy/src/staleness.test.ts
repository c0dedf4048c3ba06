import {
  type Admission,
  connectionRules,
  type Identified,
  type Principal,
  Protocol,
  type RequestContext,
} from '@millrace/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { GateLimits } from './config.ts';
import { createCredentials } from './credentials.ts';
import { createGate, type StoppableGate } from './gate.ts';
import { createSealer } from './sealer.ts';
import { MemoryDirectory, plainChannel } from './testing/directory.ts';
import { builtInMember } from './testing/rules.ts';

const secret = new Uint8Array(32).fill(7);
const BOTH = { publish: true, subscribe: true };
const context: RequestContext = {
  protocol: Protocol.http,
  remoteAddress: '192.0.2.1',
  tls: false,
  mutualTls: false,
  nowMs: Date.UTC(2026, 0, 5),
};
const credentials = createCredentials({ secret });
let directory: MemoryDirectory;
let gate: StoppableGate;

const open = (limits: Partial<GateLimits> = {}): StoppableGate => {
  gate?.stop();
  gate = createGate({ directory, credentials, sealer: createSealer(secret), limits });
  return gate;
};
const identify = async (key: string): Promise<Identified> => gate.identify({ kind: 'key', key });
const thing = async (key = 'key'): Promise<Principal> => {
  const identified = await identify(key);
  if (identified.kind === 'refused') throw new Error(identified.reason);
  return identified.principal;
};
const ask = async (principal: Principal, channel = 'c1', subtopic = ''): Promise<Admission> =>
  gate.may(principal, 'publish', channel, subtopic, context);

/** Holds the next reads until released, so that a change can come between a read and its answer. */
function hold(): { readonly released: () => void } {
  let release: () => void = () => {};
  const gateway = new Promise<void>((resolve) => {
    release = resolve;
  });
  directory.pause = () => gateway;
  return {
    released: () => {
      directory.pause = async () => {};
      release();
    },
  };
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => {
  directory = new MemoryDirectory();
  directory.thing('t1', 'o1', credentials.digest('key'));
  directory.putChannel('c1', 'o1');
  directory.setRules('t1', 'o1', connectionRules('t1', 'o1', 'c1', BOTH));
  open();
});
afterEach(() => gate.stop());

describe('a change of a whole organisation', () => {
  const asUser = async (id: string): Promise<Principal> => {
    const identified = await gate.identify({ kind: 'subject', id });
    if (identified.kind === 'refused') throw new Error(identified.reason);
    return identified.principal;
  };
  beforeEach(() => {
    directory.thing('t2', 'o2', credentials.digest('other'));
    directory.putChannel('c2', 'o2');
    directory.setRules('t2', 'o2', connectionRules('t2', 'o2', 'c2', BOTH));
    for (const [user, org] of [
      ['u1', 'o1'],
      ['u2', 'o2'],
    ] as const) {
      directory.user(user);
      directory.setRules(user, org, builtInMember(user, 'owner', org));
    }
  });

  test('that is told by its id voids all answers of it, of people too, and none of another', async () => {
    const [here, there] = [await thing(), await thing('other')];
    const [mine, theirs] = [await asUser('u1'), await asUser('u2')];
    const held = [await ask(here), await ask(mine), await ask(there, 'c2'), await ask(theirs, 'c2')];
    directory.announce('policy', 'p1', 'o1', ['o1']);
    expect(held.map((each) => each.kind === 'allow' && each.valid)).toEqual([false, false, true, true]);
    expect([here, mine, there, theirs].map(({ revoked }) => revoked)).toEqual([false, false, false, false]);
  });

  test('makes its things identify anew where they changed, and nobody else', async () => {
    const [here, there, mine] = [await thing(), await thing('other'), await asUser('u1')];
    directory.announce('thing', 'g1', 'o1', ['o1']);
    expect([here, there, mine].map(({ revoked }) => revoked)).toEqual([true, false, false]);
  });

  test('finds a user whose rules are just being read', async () => {
    const mine = await asUser('u1');
    const held = hold();
    const asked = gate.allows(mine, 'o1', 'things', 'things.list', context);
    await turn();
    directory.policy.set('u1 o1', []);
    directory.announce('role', 'r1', 'o1', ['o1']);
    held.released();
    expect(await asked).toBe(false);
  });

  test('that is new voids nothing of those that are there', async () => {
    const [mine, theirs] = [await asUser('u1'), await asUser('u2')];
    const held = [await ask(mine), await ask(theirs, 'c2')];
    directory.announce('org', 'o3', 'o3', ['u3']);
    expect(held.map((each) => each.kind === 'allow' && each.valid)).toEqual([true, true]);
  });
});

describe('a change that comes while a look-up is under way', () => {
  test('a disconnection: what was read before it is neither given nor kept', async () => {
    const principal = await thing();
    const held = hold();
    const asked = ask(principal);
    await turn();
    // Channel and rules have been read; now the rules change before they are answered.
    directory.setRules('t1', 'o1', [], 'connection');
    held.released();
    expect(await asked).toEqual({ kind: 'deny', reason: 'not_allowed' });
    expect(await ask(principal)).toEqual({ kind: 'deny', reason: 'not_allowed' });
  });

  test('a role that is taken away: the same, where the rules are asked for after the channel', async () => {
    directory.user('u1');
    directory.setRules('u1', 'o1', builtInMember('u1', 'editor', 'o1'), 'member');
    const identified = await gate.identify({ kind: 'subject', id: 'u1' });
    const principal = identified.kind === 'known' ? identified.principal : await thing();
    const channelHeld = hold();
    const asked = ask(principal);
    await turn();
    channelHeld.released();
    const rulesHeld = hold();
    await turn();
    expect(directory.calls.rules).toBe(1);
    directory.setRules('u1', 'o1', builtInMember('u1', 'viewer', 'o1'), 'member');
    rulesHeld.released();
    expect(await asked).toEqual({ kind: 'deny', reason: 'not_allowed' });
    expect(await ask(principal)).toEqual({ kind: 'deny', reason: 'not_allowed' });
  });

  test('a connection: the request that follows it succeeds, though an older one is still asking', async () => {
    directory.setRules('t1', 'o1', []);
    const principal = await thing();
    await ask(principal, 'c2').catch(() => {});
    const held = hold();
    const before = ask(principal);
    await turn();
    directory.setRules('t1', 'o1', connectionRules('t1', 'o1', 'c1', BOTH), 'connection');
    const after = ask(principal);
    held.released();
    expect(await after).toMatchObject({ kind: 'allow', valid: true });
    await before;
    expect(await ask(principal)).toMatchObject({ kind: 'allow', valid: true });
  });

  test('a disabled channel is not let through by the record that was read before', async () => {
    const principal = await thing();
    const held = hold();
    const asked = ask(principal);
    await turn();
    directory.putChannel('c1', 'o1', { enabled: false });
    held.released();
    expect(await asked).toEqual({ kind: 'deny', reason: 'channel_disabled' });
  });

  test('a channel that is made meanwhile is found, also by who joined the look-up', async () => {
    const principal = await thing();
    const held = hold();
    const before = ask(principal, 'late');
    await turn();
    directory.putChannel('late', 'o1');
    const after = ask(principal, 'late');
    held.released();
    expect(await after).toEqual({ kind: 'deny', reason: 'not_allowed' });
    expect(await before).toEqual({ kind: 'deny', reason: 'not_allowed' });
  });

  test('a revoked key opens nothing', async () => {
    const held = hold();
    const identified = identify('key');
    await turn();
    directory.keys.clear();
    directory.announce('key', 'k1', 'o1', ['t1']);
    held.released();
    expect(await identified).toEqual({ kind: 'refused', reason: 'unknown' });
    expect(await identify('key')).toEqual({ kind: 'refused', reason: 'unknown' });
  });

  test('a key that is made meanwhile is not remembered as unknown', async () => {
    const held = hold();
    const before = identify('new');
    await turn();
    directory.thing('t2', 'o1', credentials.digest('new'));
    const after = identify('new');
    held.released();
    expect(await after).toMatchObject({ kind: 'known' });
    expect(await before).toMatchObject({ kind: 'known' });
  });

  test('more changes than are remembered count as touching everything', async () => {
    const held = hold();
    const identified = identify('key');
    await turn();
    directory.thing('t1', 'o1', credentials.digest('key'), { enabled: false });
    for (let index = 0; index < 2_000; index++) directory.announce('thing', `other-${index}`, 'o1');
    held.released();
    expect(await identified).toEqual({ kind: 'refused', reason: 'disabled' });
  });

  test('changes without end refuse, and keep nothing', async () => {
    const principal = await thing();
    directory.pause = async () => directory.setRules('t1', 'o1', connectionRules('t1', 'o1', 'c1', BOTH));
    await expect(ask(principal)).rejects.toMatchObject({ code: 'POLICY_BUSY', retry: 'later' });
    directory.pause = async () => {};
    expect(await ask(principal)).toMatchObject({ kind: 'allow', valid: true });
  });
});

test('missed changes void everything: clients, answers and channels', async () => {
  const principal = await thing();
  const admission = await ask(principal);
  directory.keys.clear();
  directory.announce('policy', '*', null, ['*']);
  expect(principal.revoked).toBe(true);
  expect(admission.kind === 'allow' && admission.valid).toBe(false);
  expect(await identify('key')).toEqual({ kind: 'refused', reason: 'unknown' });
});

test('a policy for all voids answers and ends no session', async () => {
  const principal = await thing();
  const admission = await ask(principal);
  directory.announce('policy', 'p1', 'o1', ['*']);
  expect(principal.revoked).toBe(false);
  expect(admission.kind === 'allow' && admission.valid).toBe(false);
  expect(await ask(principal)).toMatchObject({ kind: 'allow', valid: true });
});

describe('bounds', () => {
  const sizes = async (metrics: { registry: { metrics(): Promise<string> } }): Promise<Record<string, number>> => {
    const text = await metrics.registry.metrics();
    const all = [...text.matchAll(/memo_entries\{memo="(\w+)"\} (\d+)/g)];
    return Object.fromEntries(all.map(([, memo, count]) => [memo, Number(count)]));
  };

  test('random keys fill a bounded memo and no more', async () => {
    const { createMetrics } = await import('@millrace/core');
    const metrics = createMetrics();
    gate.stop();
    gate = createGate({
      directory,
      credentials,
      sealer: createSealer(secret),
      metrics,
      limits: { unknownMax: 100, credentialsMax: 100, lookupsMax: 4 },
    });
    const principal = await thing();
    for (let index = 0; index < 2_000; index++) await identify(`random-${index}`);
    for (let index = 0; index < 2_000; index++) await ask(principal, `random-${index}`);
    const { unknown, credentials: remembered } = await sizes(metrics);
    expect(unknown).toBeLessThanOrEqual(200);
    expect(remembered).toBe(1);
    expect(await gate.identify({ kind: 'key', key: 'key' })).toMatchObject({ kind: 'known' });
  });

  test('more look-ups than may wait are refused with "later", and nothing stays blocked', async () => {
    open({ lookupsMax: 2, lookupsWaitingMax: 3 });
    const held = hold();
    const asked = Array.from({ length: 20 }, (_, index) => identify(`random-${index}`));
    const settled = Promise.allSettled(asked);
    await turn();
    expect(directory.calls.thingByKey).toBe(2);
    held.released();
    const results = await settled;
    const refused = results.filter((result) => result.status === 'rejected');
    expect(refused).toHaveLength(15);
    for (const result of refused) expect(result.reason).toMatchObject({ code: 'POLICY_BUSY', retry: 'later' });
    expect(await identify('key')).toMatchObject({ kind: 'known' });
  });

  test('a flood of unknown keys does not stand in the way of decisions', async () => {
    open({ lookupsMax: 1, lookupsWaitingMax: 1 });
    const principal = await thing();
    const pause = directory.pause;
    const held = hold();
    const flood = Promise.allSettled(Array.from({ length: 10 }, (_, index) => identify(`random-${index}`)));
    await turn();
    directory.pause = pause;
    expect(await ask(principal)).toMatchObject({ kind: 'allow' });
    held.released();
    await flood;
  });

  test('one client that asks about many channels at once is refused before it takes all places', async () => {
    const principal = await thing();
    const held = hold();
    const settled = Promise.allSettled(Array.from({ length: 300 }, (_, index) => ask(principal, `random-${index}`)));
    await turn();
    held.released();
    const refused = (await settled).filter((result) => result.status === 'rejected');
    expect(refused).toHaveLength(300 - 256);
  });

  test('answers beyond the bound are forgotten and stay true for who holds them', async () => {
    open({ answersMax: 16 });
    const principal = await thing();
    const first = await ask(principal);
    for (let index = 0; index < 40; index++) {
      directory.channels.set(`d${index}`, plainChannel(`d${index}`, 'o1'));
      await ask(principal, `d${index}`);
    }
    expect(first).toMatchObject({ kind: 'allow', valid: true });
    directory.setRules('t1', 'o1', []);
    expect(first).toMatchObject({ kind: 'allow', valid: false });
  });
});
