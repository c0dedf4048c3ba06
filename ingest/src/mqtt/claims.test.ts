import {
  type ClientClaim,
  type ClientConnection,
  type ClientStore,
  createLogger,
  type DueWill,
  type KeptWill,
  type NodeEvents,
} from '@millrace/core';
import { expect, test } from 'vitest';
import { Claims } from './claims.ts';
import { RegistryAway } from './testing/registry-away.ts';
import { until } from './testing/until.ts';

const will: KeptWill = {
  topic: 'channels/a/messages',
  qos: 0,
  retain: false,
  payload: Buffer.from('gone'),
  epoch: 0,
  token: null,
  remoteAddress: '',
  tls: false,
  mutualTls: false,
};
const keyOf = (clientId: string) => ({ owner: 'owner', clientId });

class MemoryClients implements ClientStore {
  alone = true;
  away = false;
  events: NodeEvents | null = null;
  readonly rows = new Map<string, string>();
  readonly claimed: ClientClaim[][] = [];
  /** Connections that others have overtaken. */
  readonly over = new Set<string>();

  async join(events: NodeEvents): Promise<void> {
    this.events = events;
  }
  async leave(): Promise<void> {}
  async claim(claims: readonly ClientClaim[]): Promise<readonly string[]> {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.away) throw new RegistryAway();
    this.claimed.push([...claims]);
    const over = claims.filter(({ connection }) => this.over.has(connection)).map(({ connection }) => connection);
    for (const { key, connection } of claims) if (!over.includes(connection)) this.rows.set(key.clientId, connection);
    return over;
  }
  async release(connections: readonly ClientConnection[]): Promise<void> {
    if (this.away) throw new RegistryAway();
    for (const { key, connection } of connections)
      if (this.rows.get(key.clientId) === connection) this.rows.delete(key.clientId);
  }
}

async function open() {
  const store = new MemoryClients();
  const due: DueWill[] = [];
  const claims = new Claims(store, createLogger({ level: 'silent' }), (wills) => due.push(...wills));
  await claims.join();
  const told: string[] = [];
  const enter = (clientId: string, its: KeptWill | null = null) =>
    claims.enter(keyOf(clientId), its, {
      takenOver: () => told.push(`${clientId} taken over`),
      buried: () => told.push(`${clientId} buried`),
    });
  return { store, claims, told, enter };
}

test('a node that is alone writes clients with wills only, and all once it has company', async () => {
  const { store, claims, enter } = await open();
  for (const name of ['a', 'b']) enter(name);
  enter('willed', will);
  await claims.flush(20_000);
  expect([...store.rows.keys()]).toEqual(['willed']);
  store.alone = false;
  store.events?.joined();
  await until('all are written', () => store.rows.size === 3);
  enter('c');
  await until('the next, too', () => store.rows.has('c'));
  await claims.stop();
});

test('many that come at once are one statement, and say how long ago they came', async () => {
  const { store, claims, enter } = await open();
  store.alone = false;
  for (let index = 0; index < 1_000; index++) enter(`c${index}`);
  await until('all are written', () => store.rows.size === 1_000);
  expect(store.claimed).toHaveLength(1);
  expect(store.claimed[0]?.every(({ ageMs }) => ageMs >= 0)).toBe(true);
  await claims.stop();
});

test('while the store is away nothing is lost, and what came and went is told of afterwards', async () => {
  const { store, claims, enter } = await open();
  store.alone = false;
  store.away = true;
  enter('stays');
  const gone = enter('gone');
  await claims.flush(100);
  claims.release(gone);
  store.away = false;
  await until('it is written', () => store.rows.has('stays'));
  await claims.flush(20_000);
  expect([...store.rows.keys()]).toEqual(['stays']);
  expect(store.claimed.flat().map(({ key }) => key.clientId)).toContain('gone');
  await claims.stop();
});

test('a connection that was overtaken ends, and no later one of the same client', async () => {
  const { store, claims, told, enter } = await open();
  store.alone = false;
  const first = enter('one');
  await claims.flush(20_000);
  store.over.add(first.connection);
  store.events?.taken(keyOf('one'), 'another');
  await until('it has heard', () => told.length > 0);
  expect(told).toEqual(['one taken over']);
  claims.release(first);
  const second = enter('one');
  store.events?.taken(keyOf('one'), 'another');
  await claims.flush(20_000);
  expect(told).toHaveLength(1);
  expect(store.rows.get('one')).toBe(second.connection);
  await claims.stop();
});

test('a node that was taken for dead ends those whose wills were published, and claims the others again', async () => {
  const { store, claims, told, enter } = await open();
  store.alone = false;
  enter('plain');
  enter('willed', will);
  await claims.flush(20_000);
  store.rows.clear();
  store.events?.buried();
  expect(told).toEqual(['willed buried']);
  await until('it is claimed again', () => store.rows.has('plain'));
  await claims.stop();
});

test('a will that was published leaves nothing behind', async () => {
  const { store, claims, enter } = await open();
  const claim = enter('willed', will);
  await claims.flush(20_000);
  expect(store.rows.size).toBe(1);
  claims.release(claim);
  claims.release(claim);
  await claims.flush(20_000);
  expect(store.rows.size).toBe(0);
  await claims.stop();
});
