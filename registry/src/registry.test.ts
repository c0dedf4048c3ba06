import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createMetrics, type DirectoryChange, type Started, uuidV7 } from '@millrace/core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { ChangeFeed } from './changes.ts';
import { type Database, openDatabase } from './database/database.ts';
import { migrate } from './database/migrate.ts';
import { processIdentity, signalProcess } from './postgres/process.ts';
import { openRegistry, type Registry } from './registry.ts';
import { ADMIN, Client, logger, startRegistry, temporaryPostgres } from './testing/fixture.ts';
import { standInCredentials } from './testing/stand-ins.ts';
import { until } from './testing/until.ts';

let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
const databases: Database[] = [];
const nodes: Started<Registry>[] = [];
let databaseCount = 0;

async function freshUrl(): Promise<string> {
  const admin = openDatabase({ url: postgres.url, connectionsMax: 1, logger, metrics: createMetrics() });
  const name = `fresh${++databaseCount}`;
  await admin.query(`CREATE DATABASE ${name}`);
  await admin.close();
  return postgres.url.replace('/millrace?', `/${name}?`);
}
function connect(url: string): Database {
  const database = openDatabase({ url, connectionsMax: 8, logger, metrics: createMetrics() });
  databases.push(database);
  return database;
}
async function node(url: string, more: Parameters<typeof startRegistry>[1] = {}): Promise<Registry> {
  const started = await startRegistry(url, more);
  nodes.push(started);
  return started.value;
}
beforeAll(async () => {
  postgres = await temporaryPostgres();
});
afterEach(async () => {
  for (const each of nodes.splice(0)) await each.stop();
  for (const each of databases.splice(0)) await each.close();
});
afterAll(() => postgres?.dispose());

describe('the first run', () => {
  test('makes the administrator and something to try; later runs do not', async () => {
    const url = await freshUrl();
    const first = await node(url, { admin: { email: 'Root@Example.org' } });
    expect(first.firstRun).toEqual({ email: 'root@example.org', password: expect.stringMatching(/^[\w-]{20}$/) });
    const started = await first.gettingStarted();
    const thing = await first.directory.thingByKey(first.credentials.digest(started?.key ?? ''));
    expect(thing?.subject.id).toBe(started?.thingId);
    expect(
      await first.directory.rules(started?.thingId ?? '', thing?.subject.kind === 'thing' ? thing.subject.org : ''),
    ).toHaveLength(2);
    const second = await node(url, { admin: { email: 'Root@Example.org' } });
    expect(second.firstRun).toBeNull();
    expect(await second.gettingStarted()).toEqual(started);
  });

  test('of nodes that start at once on an empty database, one makes it', async () => {
    const url = await freshUrl();
    const all = await Promise.all([node(url), node(url), node(url)]);
    expect(all.filter((each) => each.firstRun !== null)).toHaveLength(1);
    const { length } = await connect(url).query('SELECT 1 FROM registry.signing_keys');
    expect(length).toBe(1);
  });

  test('another secret is refused with what to do, and does not show the key', async () => {
    const url = await freshUrl();
    await node(url);
    const other = openRegistry({
      url,
      credentials: standInCredentials('other'),
      metrics: createMetrics(),
      logger,
      admin: ADMIN,
    });
    await expect(other.start()).rejects.toMatchObject({ code: 'REGISTRY_SECRET_MISMATCH', retry: 'never' });
  });

  test('a database of a newer version is left alone', async () => {
    const url = await freshUrl();
    await node(url);
    await connect(url).query(`INSERT INTO registry.migrations (version, name) VALUES (999, 'future')`);
    await expect(startRegistry(url)).rejects.toMatchObject({ code: 'REGISTRY_SCHEMA_NEWER', retry: 'never' });
  });

  test('while nodes are upgraded one by one, an old one also starts on what only expands its database', async () => {
    const url = await freshUrl();
    await node(url);
    const database = connect(url);
    const sql = 'CREATE TABLE registry.of_the_next_version (id uuid)';
    const count = (await database.query('SELECT FROM registry.migrations')).length;
    const nothing = Array.from({ length: count }, () => ({ name: 'done', sql: 'SELECT 1' }));
    const expanding = { name: 'next', sql, expands: true };
    expect(await migrate(database, [...nothing, expanding])).toBe(1);
    await (await startRegistry(url)).stop();
    expect(await migrate(database)).toBe(0);
    expect(await migrate(database, [...nothing, expanding, { name: 'changing', sql: 'SELECT 1' }])).toBe(1);
    await expect(startRegistry(url)).rejects.toMatchObject({ code: 'REGISTRY_SCHEMA_NEWER' });
    expect(await database.query('SELECT FROM registry.migrations')).toHaveLength(count + 2);
  });

  test('a database that does not answer is unreachable, to be tried later', async () => {
    await expect(startRegistry('postgresql://nobody:x@127.0.0.1:1/none')).rejects.toMatchObject({
      code: 'REGISTRY_UNREACHABLE',
      retry: 'later',
    });
  });
});

describe('changes', () => {
  test('the author sees a change before it is answered, other nodes within a second', async () => {
    const url = await freshUrl();
    const [here, there] = [await node(url), await node(url)];
    const org =
      (await here.users.memberships((await here.users.authenticate(ADMIN.email, ADMIN.password))?.id ?? ''))[0]?.org ??
      '';
    const seenHere: DirectoryChange[] = [];
    const seenThere: DirectoryChange[] = [];
    here.directory.onChange((change) => seenHere.push(change));
    there.directory.onChange((change) => seenThere.push(change));
    const [made] = await here.things.create(org, [{ name: 'x' }]);
    expect(seenHere).toEqual([
      { version: here.directory.version, entity: 'thing', id: made?.thing.id, org, voids: [made?.thing.id] },
    ]);
    await until(() => seenThere.length === 1);
    expect(seenThere).toEqual(seenHere);
    expect(there.directory.version).toBe(here.directory.version);
  });

  test('a listener that throws keeps no other from hearing', async () => {
    const registry = await node(await freshUrl());
    let heard = 0;
    registry.directory.onChange(() => {
      throw new Error('broken');
    });
    registry.directory.onChange(() => heard++);
    await registry.users.register('x@example.org', '12345678');
    expect(heard).toBeGreaterThan(0);
  });

  test('nobody misses a change of a transaction that began first and committed last', async () => {
    const url = await freshUrl();
    const writer = connect(url);
    await migrate(writer);
    const options = { logger, metrics: createMetrics(), pollMs: 5 };
    const feeds = [
      new ChangeFeed({ database: connect(url), ...options }),
      new ChangeFeed({ database: connect(url), ...options }),
    ];
    const follower = new ChangeFeed({ database: connect(url), ...options });
    const seen: DirectoryChange[] = [];
    follower.onChange((change) => seen.push(change));
    for (const feed of [...feeds, follower]) await feed.start();
    const done: string[] = [];
    const change = async (index: number): Promise<void> => {
      const id = uuidV7();
      const feed = feeds[index % 2] as ChangeFeed;
      const work = feed.transaction(async (tx) => {
        tx.changed('thing', id, null, [id]);
        await tx.query('SELECT pg_sleep($1)', [Math.random() * 0.02]);
        if (index % 7 === 0) throw new Error('rolled back');
        // The author has applied its own change, whatever the others do.
        return id;
      });
      const result = await work.catch(() => null);
      if (result !== null) done.push(result);
    };
    for (let round = 0; round < 15; round++)
      await Promise.all(Array.from({ length: 10 }, (_, index) => change(round * 10 + index)));
    await until(() => seen.length >= done.length);
    for (const feed of [...feeds, follower]) await feed.stop();
    expect(seen.map((each) => each.id).toSorted()).toEqual(done.toSorted());
    expect(seen.map((each) => each.version)).toEqual(seen.map((each) => each.version).toSorted((a, b) => a - b));
  });

  test('a restored backup voids all that is memoised, and what comes after is heard', async () => {
    const url = await freshUrl();
    const database = connect(url);
    await migrate(database);
    const feed = new ChangeFeed({ database, logger, metrics: createMetrics(), pollMs: 5 });
    const seen: DirectoryChange[] = [];
    feed.onChange((change) => seen.push(change));
    await feed.start();
    for (let index = 0; index < 3; index++) await feed.transaction(async (tx) => tx.changed('thing', 'x', null, ['x']));
    await database.query('TRUNCATE registry.changes RESTART IDENTITY');
    await until(() => seen.some((change) => change.voids.includes('*')));
    await feed.transaction(async (tx) => tx.changed('thing', 'y', null, ['y']));
    expect(seen.at(-1)).toMatchObject({ id: 'y', version: feed.version });
    await feed.stop();
  });

  test('trimming forgets old changes but never the version', async () => {
    const url = await freshUrl();
    const database = connect(url);
    await migrate(database);
    const feed = new ChangeFeed({ database, logger, metrics: createMetrics(), pollMs: 50 });
    await feed.start();
    for (let index = 0; index < 3; index++) await feed.transaction(async (tx) => tx.changed('thing', 'x', null, ['x']));
    await feed.trim(-1_000);
    expect(await database.query('SELECT version FROM registry.changes')).toEqual([{ version: String(feed.version) }]);
    await feed.stop();
    const next = new ChangeFeed({ database, logger, metrics: createMetrics(), pollMs: 50 });
    await next.start();
    expect(next.version).toBe(feed.version);
    await next.stop();
  });
});

describe('the directory', () => {
  test('finds channels by id everywhere and by alias within an org only', async () => {
    const registry = await node(await freshUrl());
    const user = await registry.users.register('d@example.org', '12345678');
    const [{ org } = { org: '' }] = await registry.users.memberships(user.id);
    const [channel] = await registry.channels.create(org, [{ alias: 'hall', contentType: 'application/json' }]);
    const record = {
      id: channel?.id,
      org,
      enabled: true,
      alias: 'hall',
      contentType: 'application/json',
      groups: [],
      profile: {},
      limits: {},
    };
    expect(await registry.directory.channel(channel?.id ?? '', null)).toEqual(record);
    expect(await registry.directory.channel('hall', org)).toEqual(record);
    expect(await registry.directory.channel('hall', null)).toBeNull();
    expect(await registry.directory.channel('hall', uuidV7())).toBeNull();
    expect(await registry.directory.subject('no uuid')).toBeNull();
    expect(await registry.directory.rules(user.id, org)).toEqual([
      { type: 'g', values: [user.id, 'role:owner', org] },
      { type: 'p', values: ['role:owner', org, '*', '*', 'allow', ''], source: 'role owner' },
    ]);
  });
});

describe('when the database dies', () => {
  test('requests are told to try later, and all works again by itself', async () => {
    const own = await temporaryPostgres();
    const registry = await startRegistry(own.url);
    const client = Client.over(registry.value);
    const admin = await client.asUser(ADMIN.email, ADMIN.password);
    expect((await admin.call('POST', '/things', { name: 'before' })).status).toBe(201);
    const pidFile = join(own.directory, 'postgres', 'cluster', 'postmaster.pid');
    const pid = Number(readFileSync(pidFile, 'utf8').split('\n')[0]);
    signalProcess(pid, 'SIGKILL');
    await until(() => processIdentity(pid) === null);
    const during = await admin.call('GET', '/things');
    expect([200, 503]).toContain(during.status);
    if (during.status === 503) expect(during.headers.get('retry-after')).toBe('2');
    await until(async () => existsSync(pidFile) && (await admin.call('GET', '/things')).status === 200);
    expect((await admin.call('GET', '/things?name=before')).body.total).toBe(1);
    expect((await admin.call('POST', '/things', { name: 'after' })).status).toBe(201);
    await own.started.stop();
    expect((await admin.call('GET', '/things')).status).toBe(503);
    expect((await admin.call('GET', '/health/ready')).body.checks.registry).toContain('PostgreSQL does not answer');
    expect((await admin.call('POST', '/tokens', ADMIN)).status).toBe(503);
    expect((await admin.call('GET', '/health/live')).status).toBe(200);
    await registry.stop();
    await own.dispose();
  });
});
