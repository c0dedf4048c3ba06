import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, createMetrics, readConfig, type SqlStatement, type TenantSql } from '@millrace/core';
import { openStore, StorageConfig } from '@millrace/storage';
import { batchOf, RECEIVED_US } from '@millrace/storage/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addMember, addMemberWith, idOf, made, orgOf } from '../control/access-world.ts';
import { type Asker, type ControlPlane, startControlPlane } from '../control/plane.ts';

const CANARY = 'CANARY';
let plane: ControlPlane;
let stranger: Asker;
let owner: Asker;
let org: string;
let thing: { id: string; key: string };
let channel: { id: string };
let stop: () => Promise<void>;
/** Called before a statement is asked. */
let before: (statement: SqlStatement) => Promise<void> = async () => undefined;

beforeAll(async () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-sql-e2e-'));
  const logger = createLogger({ level: 'silent' });
  const store = await openStore(readConfig(StorageConfig, {}), { directory, metrics: createMetrics(), logger }).start();
  stop = async () => {
    await store.stop();
    rmSync(directory, { recursive: true, force: true });
  };
  plane = await startControlPlane();
  const { sql } = store.value;
  const watched: TenantSql = {
    schema: () => sql.schema(),
    check: (statement) => sql.check(statement),
    stream: (statement, format) => sql.stream(statement, format),
    async ask(statement) {
      await before(statement);
      return sql.ask(statement);
    },
  };
  const settings = { MILLRACE_SQL_AT_ONCE: 'viewer=1,editor=4', MILLRACE_SQL_RESULT_ROWS: 'viewer=5,editor=1000' };
  const node = await plane.node(settings, undefined, { store: store.value, sql: watched });
  stranger = node.stranger;
  owner = await stranger.newUser('owner@example.org');
  org = await orgOf(owner);
  const other = await orgOf(await stranger.newUser('neighbour@example.org'));
  thing = await made(owner, '/things', { name: "Ada's sensor", metadata: { room: 'kitchen', note: "o'clock \\ \n" } });
  channel = await made(owner, '/channels', { name: 'Hall' });
  const readings = (value: number, name: string) =>
    Array.from({ length: 20 }, (_, index) => ({
      org: name === CANARY ? other : org,
      channel: name === CANARY ? CANARY : channel.id,
      publisher: name === CANARY ? CANARY : thing.id,
      readings: [{ name, timeUs: RECEIVED_US + index * 1_000_000, value: value + index }],
    }));
  const batch = batchOf(0, [...readings(20, 'temperature'), ...readings(900_000, CANARY)]);
  await store.value.write('sql', batch, { verify: false });
}, 120_000);
afterAll(async () => {
  await plane?.dispose();
  await stop?.();
});

const ask = (asker: Asker, query: string, more: object = {}) => asker.call('POST', '/sql', { query, ...more });

describe('POST /sql', () => {
  test('answers columns, rows and statistics, with parameters bound', async () => {
    const { status, body } = await ask(
      owner,
      'SELECT count() AS n, max(value) AS most, {text:String} AS text FROM readings WHERE value >= {least:Float64} AND name IN {names:Array(String)}',
      { parameters: { least: 30, names: ['temperature', "x'; DROP TABLE readings --"], text: "' OR 1=1 -- \n\\" } },
    );
    expect(status).toBe(200);
    expect(body).toMatchObject({
      columns: [
        { name: 'n', type: 'UInt64' },
        { name: 'most', type: 'Nullable(Float64)' },
        { name: 'text', type: 'String' },
      ],
      data: [{ n: '10', most: 39, text: "' OR 1=1 -- \n\\" }],
      rows: 1,
    });
    expect(body.statistics.elapsed).toBeGreaterThan(0);
  });

  test('joins readings with metadata of things and names of channels', async () => {
    const { body } = await ask(
      owner,
      "SELECT t.name AS thing, JSONExtractString(t.metadata, 'room') AS room, JSONExtractString(t.metadata, 'note') AS note, c.name AS channel, count() AS n FROM readings AS r JOIN things AS t ON t.id = r.publisher JOIN channels AS c ON c.id = r.channel GROUP BY ALL",
    );
    expect(body.data).toEqual([
      { thing: "Ada's sensor", room: 'kitchen', note: "o'clock \\ \n", channel: 'Hall', n: '20' },
    ]);
  });

  test.each([
    ['SELECT * FORM readings', 400, 'no SQL'],
    ['SELECT nosuch FROM readings', 400, 'nosuch'],
    ['SELECT value + name FROM readings', 400, 'plus'],
    ['SELECT {a:UInt8}', 400, '{a}'],
    ['SELECT * FROM system.tables', 403, 'database system'],
    ['SELECT hostName()', 403, 'function hostName'],
    ['DROP TABLE readings', 403, 'DROP'],
    ['SELECT toFloat64(name) FROM readings', 422, 'could not be computed'],
    ['SELECT a.value FROM readings AS a, readings AS b, readings AS c LIMIT 2000', 422, 'limit'],
  ])('%s is %d', async (query, status, word) => {
    const answered = await ask(owner, query);
    expect(answered.status, JSON.stringify(answered.body)).toBe(status);
    expect(answered.body.detail).toContain(word);
    expect(JSON.stringify(answered.body)).not.toContain(CANARY);
  });

  test('explains a plan without what is of others', async () => {
    const { status, body } = await ask(owner, "EXPLAIN SELECT name FROM readings WHERE name = 'temperature'");
    expect(status).toBe(200);
    const plan = body.data.map(({ explain }: { explain: string }) => explain).join('\n');
    expect(plan).toContain("readings: the rows with name IN ('temperature')");
    expect(plan).not.toMatch(/Parts|Granules|MergeTree|millrace/);
  });

  test('streams NDJSON and CSV by Accept', async () => {
    const body = JSON.stringify({ query: 'SELECT name, value FROM readings ORDER BY value LIMIT 2' });
    const headers = { 'content-type': 'application/json' };
    const lines = await owner.raw('POST', '/sql', body, { ...headers, accept: 'application/x-ndjson' });
    expect(await lines.text()).toBe('{"name":"temperature","value":20}\n{"name":"temperature","value":21}\n');
    const csv = await owner.raw('POST', '/sql', body, { ...headers, accept: 'text/csv' });
    expect(await csv.text()).toBe('"name","value"\n"temperature",20\n"temperature",21\n');
    const parquet = await owner.raw('POST', '/sql', body, { ...headers, accept: 'application/vnd.apache.parquet' });
    expect(
      Buffer.from(await parquet.arrayBuffer())
        .subarray(0, 4)
        .toString(),
    ).toBe('PAR1');
    const refused = await owner.raw('POST', '/sql', JSON.stringify({ query: 'SELECT version()' }), {
      ...headers,
      accept: 'text/csv',
    });
    expect(refused.status).toBe(403);
  });

  test('tells tables, functions and limits', async () => {
    const { body } = await owner.call('GET', '/sql/schema');
    expect(body.tables.map(({ name }: { name: string }) => name)).toContain('readings_1m');
    expect(body.functions.dates).toContain('toStartOfHour');
    expect(body.limits).toMatchObject({ result_rows: 1_000 });
  });

  test('whatever the tables promise, they have', async () => {
    const { body } = await owner.call('GET', '/sql/schema');
    for (const { name, columns } of body.tables) {
      const answered = await ask(owner, `SELECT * FROM ${name} LIMIT 1`);
      expect(answered.body.columns ?? answered.body, name).toEqual(
        columns.map((column: { name: string; type: string }) => ({ name: column.name, type: column.type })),
      );
    }
  });
});

describe('who may ask', () => {
  const memberWith = async (email: string, role: string | readonly string[]): Promise<Asker> => {
    const asker = await stranger.newUser(email);
    const id = await idOf(asker);
    if (typeof role === 'string') await addMember(plane, org, id, role);
    else await addMemberWith(plane, org, id, role);
    return asker.with({});
  };
  const here = (asker: Asker, query: string) => asker.call('POST', `/sql?org=${org}`, { query });

  test('strangers learn nothing, things may not', async () => {
    const nobody = await stranger.newUser('nobody@example.org');
    expect((await here(nobody, 'SELECT 1')).status).toBe(404);
    expect((await here(stranger, 'SELECT 1')).status).toBe(401);
    expect((await ask(stranger.as(`Thing ${thing.key}`), 'SELECT 1')).status).toBe(403);
  });

  test('viewers may within their limits, one statement at a time', async () => {
    const viewer = await memberWith('viewer@example.org', 'viewer');
    expect((await here(viewer, 'SELECT count() FROM readings')).status).toBe(200);
    const refused = await here(viewer, 'SELECT value FROM readings');
    expect(refused.status).toBe(422);
    expect(refused.body.detail).toContain('limit');
    let release = (): void => undefined;
    const begun = new Promise<void>((resolve) => {
      before = () => {
        resolve();
        return new Promise((end) => {
          release = end;
        });
      };
    });
    const first = here(viewer, 'SELECT 1');
    await begun;
    before = async () => undefined;
    const second = await here(viewer, 'SELECT 1');
    release();
    expect([second.status, second.headers.get('retry-after')]).toEqual([429, '1']);
    expect((await first).status).toBe(200);
    expect((await here(viewer, 'SELECT 1')).status).toBe(200);
  });

  test('a policy that denies one subtopic of one channel refuses all of it', async () => {
    const analyst = await memberWith('denied@example.org', 'editor');
    expect((await here(analyst, 'SELECT 1')).status).toBe(200);
    const resources = [`channels/${channel.id}/messages/secret*`];
    const policy = await made(owner, '/policies', {
      name: 'secrets',
      statements: [{ effect: 'deny', actions: ['subscribe'], resources }],
    });
    const target = await idOf(analyst);
    expect((await owner.call('PUT', `/policies/${policy.id}/attachments/user/${target}`)).status).toBe(201);
    const refused = await here(analyst, 'SELECT 1');
    expect(refused.status).toBe(403);
    expect(refused.body.detail).toContain('denies you some');
  });

  test('a role that does not cover all messages is refused, and so is a key', async () => {
    const narrow = await memberWith('narrow@example.org', ['sql.read']);
    const refused = await here(narrow, 'SELECT 1');
    expect(refused.status).toBe(403);
    expect(refused.body.detail).toContain('messages.read');
    const key = await made(owner, '/keys', { name: 'narrow', grants: [{ actions: ['sql.*'], resources: ['*'] }] });
    expect((await ask(owner.as(`Bearer ${key.key ?? key.value ?? key.token}`), 'SELECT 1')).status).toBe(403);
  });
});

describe('saved queries', () => {
  test('are made, listed, run with other parameters, replaced and deleted', async () => {
    const query = 'SELECT count() AS n FROM readings WHERE value >= {least:Float64}';
    const saved = await made(owner, '/sql/queries', { name: 'Hot', query, parameters: { least: 30 } });
    expect(saved).toMatchObject({ name: 'Hot', description: '', parameters: { least: 30 }, version: 1 });
    expect((await owner.call('POST', '/sql/queries', { name: 'Hot', query: 'SELECT 1' })).status).toBe(409);
    expect((await owner.call('GET', '/sql/queries')).body).toMatchObject({ total: 1, queries: [{ id: saved.id }] });
    const path = `/sql/queries/${saved.id}`;
    expect((await owner.call('POST', `${path}/run`, {})).body.data).toEqual([{ n: '10' }]);
    expect((await owner.call('POST', `${path}/run`, { parameters: { least: 0 } })).body.data).toEqual([{ n: '20' }]);
    const replaced = await owner.call('PUT', path, { name: 'Warm', query, parameters: { least: 25 } });
    expect(replaced.body).toMatchObject({ name: 'Warm', version: 2 });
    expect((await owner.call('PUT', path, { name: 'Warm', query }, { 'if-match': '"1"' })).status).toBe(412);
    const stranger2 = await stranger.newUser('curious@example.org');
    expect((await stranger2.call('GET', path)).status).toBe(404);
    expect((await stranger2.call('POST', `${path}/run`, {})).status).toBe(404);
    const audited = (await owner.call('GET', '/audit?entity=queries')).body;
    expect(JSON.stringify(audited)).toContain('queries.update');
    expect((await owner.call('DELETE', path)).status).toBe(204);
    expect((await owner.call('GET', path)).status).toBe(404);
  });

  test('are refused where they would not be run', async () => {
    const forbidden = await owner.call('POST', '/sql/queries', { name: 'x', query: 'SELECT * FROM system.users' });
    expect(forbidden.status).toBe(403);
    expect((await owner.call('POST', '/sql/queries', { name: 'x', query: 'SELECT (' })).status).toBe(400);
  });
});

describe('a frozen organisation', () => {
  test('is asked nothing', async () => {
    const frozen = await stranger.newUser('frozen@example.org');
    const own = await orgOf(frozen);
    expect((await frozen.call('POST', `/orgs/${own}/freeze`)).status).toBeLessThan(300);
    const refused = await ask(frozen, 'SELECT 1');
    expect(refused.status).toBe(403);
    expect(refused.body.detail).toContain('frozen');
  });
});
