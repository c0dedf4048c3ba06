import { createMetrics, type SessionKey, type SessionState, type Started, uuidV7 } from '@millrace/core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../database/database.ts';
import type { Registry } from '../registry.ts';
import { ADMIN, logger, startRegistry, temporaryPostgres } from '../testing/fixture.ts';
import { until } from '../testing/until.ts';

let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
let database: Database;
let nowMs = Date.now();
const nodes: Started<Registry>[] = [];

async function node(more: Parameters<typeof startRegistry>[1] = {}): Promise<Registry> {
  const started = await startRegistry(postgres.url, { now: () => nowMs, pollMs: 20, ...more });
  nodes.push(started);
  return started.value;
}
const keyOf = (clientId = 'client', owner = uuidV7()): SessionKey => ({ owner, clientId });
const stateOf = (topic: string, more: Partial<SessionState> = {}): SessionState => ({
  subscriptions: [{ topic, qos: 1, from: [{ partition: 3, offset: 9 }] }],
  positions: [{ partition: 3, offset: 12 }],
  inFlight: [{ partition: 3, offset: 11, packetId: 7, qos: 2, topic, released: true }],
  received: [5],
  nextPacketId: 8,
  ...more,
});
const row = async ({ owner, clientId }: SessionKey): Promise<Record<string, unknown> | undefined> =>
  (
    await database.query('SELECT * FROM registry.mqtt_sessions WHERE owner = $1 AND client_id = $2', [owner, clientId])
  )[0];
const changeCount = async (): Promise<number> =>
  (await database.query(`SELECT 1 FROM registry.changes WHERE entity = 'session'`)).length;

beforeAll(async () => {
  postgres = await temporaryPostgres();
  database = openDatabase({ url: postgres.url, connectionsMax: 4, logger, metrics: createMetrics() });
});
afterEach(async () => {
  for (const each of nodes.splice(0)) await each.stop();
});
afterAll(async () => {
  await database?.close();
  await postgres?.dispose();
});

describe('a session', () => {
  test('is none at first, and comes back as it was saved, on any node', async () => {
    const [here, there] = [await node(), await node()];
    const key = keyOf();
    const first = await here.sessions.open(key);
    expect(first.state).toBeNull();
    const state = stateOf('channels/a/messages/#');
    expect(await here.sessions.save([{ key, ...first, state, expiresMs: nowMs + 60_000 }])).toEqual([]);
    const second = await there.sessions.open(key);
    expect(second.state).toEqual(state);
    expect(second.generation).toBeGreaterThan(first.generation);
  });

  test('of another owner is another one, though the client id is the same', async () => {
    const here = await node();
    const [one, other] = [keyOf('same'), keyOf('same')];
    const opened = await here.sessions.open(one);
    await here.sessions.save([{ key: one, ...opened, state: stateOf('one'), expiresMs: null }]);
    expect((await here.sessions.open(other)).state).toBeNull();
  });

  test('is fenced: a late save of the holder before changes nothing and is told', async () => {
    const here = await node();
    const key = keyOf();
    const before = await here.sessions.open(key);
    const after = await here.sessions.open(key);
    expect(await here.sessions.save([{ key, ...after, state: stateOf('new'), expiresMs: null }])).toEqual([]);
    const late = { key, generation: before.generation, state: stateOf('late'), expiresMs: nowMs + 1 };
    expect(await here.sessions.save([late])).toEqual([key]);
    expect((await here.sessions.open(key)).state).toEqual(stateOf('new'));
  });

  test('that was removed and made again is still fenced from its first holder', async () => {
    const here = await node();
    const key = keyOf();
    const { generation } = await here.sessions.open(key);
    await here.sessions.remove([{ key, ageMs: 0 }]);
    expect(await here.sessions.save([{ key, generation, state: stateOf('x'), expiresMs: null }])).toEqual([key]);
    expect((await here.sessions.open(key)).state).toBeNull();
    expect(await here.sessions.save([{ key, generation, state: stateOf('x'), expiresMs: null }])).toEqual([key]);
  });

  test('is not there any more once it has expired, whether it was swept or not', async () => {
    const here = await node();
    const key = keyOf();
    const opened = await here.sessions.open(key);
    await here.sessions.save([{ key, ...opened, state: stateOf('x'), expiresMs: nowMs + 1_000 }]);
    nowMs += 1_000;
    expect((await here.sessions.open(key)).state).toBeNull();
    expect(await row(key)).toMatchObject({ expires_at: null, state: null });
  });

  test('keeps whatever topics a client sent, and refuses client ids that can not be kept', async () => {
    const here = await node();
    const key = keyOf('\u{1f600} "quoted" \\ {a,b} \n');
    const opened = await here.sessions.open(key);
    const state = stateOf('nul \0, lone \ud800, {"a": [1, 2]} \\u0000');
    expect(await here.sessions.save([{ key, ...opened, state, expiresMs: null }])).toEqual([]);
    expect((await here.sessions.open(key)).state).toEqual(state);
    const refused = { code: 'REGISTRY_VALUE_REFUSED', retry: 'never' };
    for (const wrong of ['nul \0', 'lone \udc00', 'x'.repeat(2_049), ''])
      await expect(here.sessions.open(keyOf(wrong))).rejects.toMatchObject(refused);
    await expect(here.sessions.open({ owner: "x' OR true --", clientId: 'c' })).rejects.toMatchObject(refused);
    const bad = keyOf('nul \0');
    const { generation } = await here.sessions.open(key);
    const batch = [bad, key].map((each) => ({ key: each, generation, state: stateOf('y'), expiresMs: null }));
    expect(await here.sessions.save(batch)).toEqual([bad]);
    expect((await here.sessions.open(key)).state).toEqual(stateOf('y'));
    await here.sessions.remove([bad, key].map((each) => ({ key: each, ageMs: 0 })));
    expect(await row(key)).toBeUndefined();
  });
});

describe('a takeover', () => {
  test('is told to every other node, with the generation that is newer than theirs', async () => {
    const [here, there, third] = [await node(), await node(), await node()];
    const key = keyOf('with/slash');
    const told: [string, SessionKey, number][] = [];
    for (const [name, registry] of Object.entries({ here, there, third }))
      registry.sessions.onTaken((taken, generation) => told.push([name, taken, generation]));
    const { generation } = await here.sessions.open(key);
    const taken = await there.sessions.open(key);
    await until(() => told.length === 2);
    expect(taken.generation).toBeGreaterThan(generation);
    expect(told.toSorted()).toEqual([
      ['here', key, taken.generation],
      ['third', key, taken.generation],
    ]);
  });

  test('costs a change only when another node held it', async () => {
    const [here, there] = [await node(), await node()];
    const before = await changeCount();
    const key = keyOf();
    await here.sessions.open(key);
    const again = await here.sessions.open(key);
    await here.sessions.save([{ key, ...again, state: stateOf('x'), expiresMs: nowMs + 60_000 }]);
    await there.sessions.open(key);
    expect(await changeCount()).toBe(before);
    await here.sessions.open(key);
    expect(await changeCount()).toBe(before + 1);
  });

  test('by a clean session, which only removes, is told too', async () => {
    const [here, there] = [await node(), await node()];
    const key = keyOf();
    const { generation } = await here.sessions.open(key);
    const told: number[] = [];
    here.sessions.onTaken((_, newer) => told.push(newer));
    await there.sessions.remove([{ key, ageMs: 0 }]);
    await until(() => told.length === 1);
    expect(told[0]).toBeGreaterThan(generation);
  });

  test('of one session by many at once: generations differ, and the last holds it', async () => {
    const [here, there] = [await node(), await node()];
    const key = keyOf();
    const opened = await Promise.all(
      Array.from({ length: 40 }, (_, index) => (index % 2 === 0 ? here : there).sessions.open(key)),
    );
    const generations = opened.map(({ generation }) => generation);
    expect(new Set(generations).size).toBe(40);
    const fenced = await here.sessions.save([
      { key, generation: Math.max(...generations), state: stateOf('last'), expiresMs: null },
    ]);
    expect(fenced).toEqual([]);
    const others = generations.filter((each) => each !== Math.max(...generations));
    for (const generation of others.slice(0, 5))
      expect(await here.sessions.save([{ key, generation, state: stateOf('x'), expiresMs: null }])).toEqual([key]);
  });
});

describe('many sessions', () => {
  test('come back at once in few statements, and are saved in few', async () => {
    const here = await node({ sessionsPerOwnerMax: 10 });
    const keys = Array.from({ length: 2_500 }, (_, index) => keyOf(`c${index % 5}`, keyOwner(index)));
    const opened = await Promise.all(keys.map((key) => here.sessions.open(key)));
    expect(opened.every(({ state }) => state === null)).toBe(true);
    const sessions = keys.map((key, index) => ({
      key,
      generation: opened[index]?.generation ?? 0,
      state: stateOf(`t${index}`),
      expiresMs: index === 7 ? null : nowMs + 60_000,
    }));
    const stale = { ...(sessions[3] as (typeof sessions)[0]), generation: 1 };
    expect(await here.sessions.save([...sessions.filter((_, index) => index !== 3), stale])).toEqual([stale.key]);
    const again = await Promise.all(keys.map((key) => here.sessions.open(key)));
    expect(again.map(({ state }) => state?.subscriptions[0]?.topic)).toEqual(
      keys.map((_, index) => (index === 3 ? undefined : `t${index}`)),
    );
  });

  test('are limited for one owner; those that are there stay', async () => {
    const here = await node({ sessionsPerOwnerMax: 3 });
    const owner = uuidV7();
    const results = await Promise.allSettled(
      Array.from({ length: 5 }, (_, index) => here.sessions.open(keyOf(`c${index}`, owner))),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    await expect(here.sessions.open(keyOf('more', owner))).rejects.toMatchObject({
      code: 'REGISTRY_SESSIONS_FULL',
      retry: 'never',
      facts: { owner, sessionsMax: 3 },
    });
    const opened = await here.sessions.open(keyOf('c0', owner));
    expect((await here.sessions.open(keyOf('more'))).state).toBeNull();
    await here.sessions.save([{ key: keyOf('c0', owner), ...opened, state: stateOf('x'), expiresMs: nowMs + 5 }]);
    nowMs += 10;
    expect((await here.sessions.open(keyOf('more', owner))).state).toBeNull();
  });

  test('end with their owner, thing or user', async () => {
    const here = await node();
    const user = await here.users.register(`${uuidV7()}@example.org`, '12345678');
    const [{ org } = { org: '' }] = await here.users.memberships(user.id);
    const [made] = await here.things.create(org, [{}]);
    const keys = [keyOf('c', user.id), keyOf('c', made?.thing.id ?? '')] as const;
    for (const key of keys) await here.sessions.open(key);
    await here.things.remove(keys[1].owner);
    expect([await row(keys[0]), await row(keys[1])]).toMatchObject([{ client_id: 'c' }, undefined]);
    await database.query('DELETE FROM registry.users WHERE id = $1', [user.id]);
    expect(await row(keys[0])).toBeUndefined();
  });
});

describe('upkeep', () => {
  test('removes what has expired and leaves the rest', async () => {
    const here = await node({ sweepMs: 20 });
    const [ends, stays, held] = [keyOf('ends'), keyOf('stays'), keyOf('held')];
    for (const [key, expiresMs] of [
      [ends, nowMs + 1_000],
      [stays, nowMs + 100_000],
      [held, null],
    ] as const) {
      const opened = await here.sessions.open(key);
      await here.sessions.save([{ key, ...opened, state: stateOf('x'), expiresMs }]);
    }
    nowMs += 2_000;
    await until(async () => (await row(ends)) === undefined);
    expect(await row(stays)).toBeDefined();
    expect(await row(held)).toBeDefined();
  });

  test('gives the sessions of a node that died an end; should it live, it still holds them', async () => {
    const here = await node({ sweepMs: 1_000_000 });
    const key = keyOf();
    const { generation } = await here.sessions.open(key);
    const [{ node: holder } = { node: '' }] = [(await row(key)) as { node: string } | undefined];
    await database.query('DELETE FROM registry.session_nodes WHERE id = $1', [holder]);
    const there = await node({ sweepMs: 20, sessionsKeptMs: 5_000 });
    await until(async () => (await row(key))?.expires_at !== null);
    expect((await row(key))?.expires_at).toEqual(new Date(nowMs + 5_000));
    // It was only cut off, and saves.
    expect(await here.sessions.save([{ key, generation, state: stateOf('x'), expiresMs: null }])).toEqual([]);
    expect(await row(key)).toMatchObject({ expires_at: null, node: holder });
    expect((await there.sessions.open(key)).state).toEqual(stateOf('x'));
  });

  test('of a node that was taken for dead takes its sessions back', async () => {
    const here = await node({ sweepMs: 20 });
    const key = keyOf();
    await here.sessions.open(key);
    const holder = (await row(key))?.node;
    await database.query('UPDATE registry.mqtt_sessions SET expires_at = $1 WHERE node = $2', [
      new Date(nowMs + 5_000),
      holder,
    ]);
    await database.query('DELETE FROM registry.session_nodes WHERE id = $1', [holder]);
    await until(async () => (await row(key))?.expires_at === null);
  });
});

describe('when the database is away', () => {
  test('every method says so, to be tried later', async () => {
    const own = await temporaryPostgres();
    const registry = await startRegistry(own.url);
    const key = keyOf();
    await registry.value.sessions.open(key);
    const owner = (await registry.value.users.authenticate(ADMIN.email, ADMIN.password))?.id ?? '';
    await own.started.stop();
    const away = { code: 'REGISTRY_UNREACHABLE', retry: 'later' };
    const { sessions, retained, tickets, directory } = registry.value;
    await expect(sessions.open(key)).rejects.toMatchObject(away);
    await expect(sessions.save([{ key, generation: 1, state: stateOf('x'), expiresMs: null }])).rejects.toMatchObject(
      away,
    );
    await expect(sessions.remove([{ key, ageMs: 0 }])).rejects.toMatchObject(away);
    await expect(retained.find({ owner, channel: null, prefix: '', exact: false, limit: 1 })).rejects.toMatchObject(
      away,
    );
    await expect(tickets.issue(owner, Date.now() + 1_000)).rejects.toMatchObject(away);
    await expect(directory.redeemTicket('digest')).rejects.toMatchObject(away);
    await registry.stop();
    await own.dispose();
  });
});

const owners = Array.from({ length: 500 }, () => uuidV7());
const keyOwner = (index: number): string => owners[Math.floor(index / 5)] as string;
