import { createMetrics, type DueWill, type KeptWill, type SessionKey, type Started, uuidV7 } from '@millrace/core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../database/database.ts';
import type { Registry } from '../registry.ts';
import { logger, startRegistry, temporaryPostgres } from '../testing/fixture.ts';
import { until } from '../testing/until.ts';

const LEASE_MS = 1_500;

let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
let database: Database;
const nodes: Started<Registry>[] = [];

interface TestNode {
  readonly registry: Registry;
  readonly taken: string[];
  readonly due: DueWill[];
  buried: number;
  joined: number;
}
async function join(): Promise<TestNode> {
  const started = await startRegistry(postgres.url, { pollMs: 20, beatMs: 100, leaseMs: LEASE_MS });
  nodes.push(started);
  const node: TestNode = { registry: started.value, taken: [], due: [], buried: 0, joined: 0 };
  await started.value.clients.join({
    joined: () => node.joined++,
    buried: () => node.buried++,
    taken: (_key, connection) => node.taken.push(connection),
    due: (wills) => node.due.push(...wills),
  });
  return node;
}
const keyOf = (): SessionKey => ({ owner: uuidV7(), clientId: 'client' });
const will: KeptWill = {
  topic: 'channels/a/messages',
  qos: 1,
  retain: false,
  payload: Buffer.from([0, 255, 1]),
  epoch: 3,
  token: 'mrk_secret',
  remoteAddress: '127.0.0.1',
  tls: true,
  mutualTls: false,
};

beforeAll(async () => {
  postgres = await temporaryPostgres();
  database = openDatabase({ url: postgres.url, connectionsMax: 4, logger, metrics: createMetrics() });
}, 120_000);
afterEach(async () => {
  for (const each of nodes.splice(0)) await each.stop();
  await database.query('DELETE FROM registry.mqtt_clients');
  await database.query('DELETE FROM registry.nodes');
});
afterAll(async () => {
  await database?.close();
  await postgres?.dispose();
});

describe('a client', () => {
  test('is with the node to which it came last, however late that is written', async () => {
    const [here, there] = [await join(), await join()];
    const key = keyOf();
    const [first, second] = [uuidV7(), uuidV7()];
    const { clients } = there.registry;
    expect(await clients.claim([{ key, connection: second, ageMs: 0, will: null }])).toEqual([]);
    expect(await here.registry.clients.claim([{ key, connection: first, ageMs: 5_000, will: null }])).toEqual([first]);
    expect(there.taken).toEqual([]);
    const third = uuidV7();
    expect(await here.registry.clients.claim([{ key, connection: third, ageMs: 0, will: null }])).toEqual([]);
    await until(() => there.taken.length > 0);
    expect(there.taken).toEqual([third]);
    await clients.release([{ key, connection: second }]);
    expect(await database.query('SELECT connection FROM registry.mqtt_clients')).toEqual([{ connection: third }]);
  });

  test('of another owner is another one', async () => {
    const [here, there] = [await join(), await join()];
    for (const { registry } of [here, there])
      expect(await registry.clients.claim([{ key: keyOf(), connection: uuidV7(), ageMs: 0, will: null }])).toEqual([]);
    expect(await database.query('SELECT 1 FROM registry.mqtt_clients')).toHaveLength(2);
  });

  test('with an id that can not be kept disturbs nobody', async () => {
    const { registry } = await join();
    const bad = { owner: uuidV7(), clientId: 'x'.repeat(10_000) };
    const claims = [bad, keyOf()].map((key) => ({ key, connection: uuidV7(), ageMs: 0, will: null }));
    expect(await registry.clients.claim(claims)).toEqual([]);
    expect(await database.query('SELECT 1 FROM registry.mqtt_clients')).toHaveLength(1);
  });

  test('a clean CONNECT that is written late does not remove the session that was opened since', async () => {
    const [here, there] = [await join(), await join()];
    const key = keyOf();
    const state = { subscriptions: [], positions: [], inFlight: [], received: [], nextPacketId: 5 };
    const opened = await there.registry.sessions.open(key);
    await there.registry.sessions.save([{ key, generation: opened.generation, state, expiresMs: null }]);
    await here.registry.sessions.remove([{ key, ageMs: 60_000 }]);
    expect((await there.registry.sessions.open(key)).state).toEqual(state);
    await here.registry.sessions.remove([{ key, ageMs: 0 }]);
    expect((await there.registry.sessions.open(key)).state).toBeNull();
  });
});

describe('a node', () => {
  test('knows whether it is alone', async () => {
    const here = await join();
    expect(here.registry.clients.alone).toBe(true);
    const there = await join();
    expect(there.registry.clients.alone).toBe(false);
    await until(() => here.joined === 1);
    await nodes.pop()?.stop();
    await until(() => here.registry.clients.alone);
  });

  test('that has died has its wills published by one of the others, and again when that one dies first', async () => {
    const others = [await join(), await join(), await join()];
    const dead = uuidV7();
    await database.query('INSERT INTO registry.nodes (id, seen_at) VALUES ($1, now())', [dead]);
    const keys = Array.from({ length: 500 }, keyOf);
    const claims = keys.map((key) => ({ key, connection: uuidV7(), ageMs: 0, will }));
    const [first, second, third] = others as [TestNode, TestNode, TestNode];
    expect(await first.registry.clients.claim(claims)).toEqual([]);
    expect(JSON.stringify(await database.query('SELECT will FROM registry.mqtt_clients'))).not.toContain('secret');
    await database.query('UPDATE registry.mqtt_clients SET node = $1', [dead]);
    const due = (): string[] => others.flatMap((each) => each.due.map(({ connection }) => connection));
    await until(() => due().length >= 500);
    expect(due().toSorted()).toEqual(claims.map(({ connection }) => connection).toSorted());
    expect(others.flatMap((each) => each.due).every((each) => will.payload.equals(each.will.payload))).toBe(true);
    expect(first.due.concat(second.due, third.due)[0]?.will).toEqual(will);
    // What the third has published is over; the rest of it, it dies with.
    const left = third.due.splice(0);
    await third.registry.clients.release(left.slice(0, left.length / 2));
    await nodes.pop()?.stop();
    const before = first.due.length + second.due.length;
    const rest = left.length - Math.floor(left.length / 2);
    // Who was stopped has told so, and nobody looks for what it left before its next look.
    await until(() => first.due.length + second.due.length === before + rest);
  }, 120_000);

  test('that was silent for too long hears that it was taken for dead', async () => {
    const here = await join();
    await join();
    await database.query('DELETE FROM registry.nodes');
    await until(() => here.buried === 1);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(here.buried).toBe(1);
  });

  test('buries nobody as long as the others may not have been able to speak', async () => {
    const dead = uuidV7();
    await database.query(`INSERT INTO registry.nodes (id, seen_at) VALUES ($1, now() - interval '1 hour')`, [dead]);
    const begin = performance.now();
    await join();
    const rows = (): Promise<unknown[]> => database.query('SELECT 1 FROM registry.nodes WHERE id = $1', [dead]);
    while ((await rows()).length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(performance.now() - begin).toBeGreaterThan(LEASE_MS);
  });
});
