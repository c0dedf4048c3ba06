import { join } from 'node:path';
import { rowsOf } from '@millrace/storage/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';

const WAIT_MS = 60_000;

interface Deletion {
  readonly id: string;
  readonly status: string;
  readonly request_hash: string;
  readonly found: Readonly<Record<string, number>> | null;
  readonly remaining: Readonly<Record<string, number>> | null;
  readonly error: string | null;
}

const millrace = new Millrace({ MILLRACE_DELETED_ORG_DAYS: '0' });
let admin: Rest;

beforeAll(async () => {
  await millrace.start();
  admin = await Rest.asAdmin(millrace);
});
afterAll(() => millrace.dispose());

async function publish({ rest, channel }: Publisher, records: readonly object[]): Promise<string> {
  const response = await rest.raw('POST', `/channels/${channel}/messages`, JSON.stringify(records), {
    'content-type': 'application/senml+json',
  });
  expect(response.status).toBe(202);
  return ((await response.json()) as { id: string }).id;
}
const values = async ({ rest, channel }: Publisher): Promise<number[]> =>
  (
    await rest.json<{ messages: { value: number }[] }>('GET', `/channels/${channel}/messages?limit=100&dir=asc`)
  ).messages.map(({ value }) => value);
const stored = (of: Publisher, count: number): Promise<unknown> =>
  eventually(`${count} readings`, WAIT_MS, async () => (await values(of)).length === count);
const done = (id: string): Promise<Deletion> =>
  eventually(`the end of deletion ${id}`, WAIT_MS, async () => {
    const found = await admin.json<Deletion & { finished_at: string | null }>('GET', `/deletions/${id}`);
    return found.finished_at !== null && found;
  });
const asked = async (
  method: string,
  path: string,
  body: object,
): Promise<{ status: number; body: { readonly id: string } }> => {
  const response = await admin.raw(method, path, JSON.stringify(body), { 'content-type': 'application/json' });
  return { status: response.status, body: (await response.json()) as { readonly id: string } };
};

test('what was accepted before a deletion began is gone with proof, also what was not stored yet', {
  timeout: 180_000,
}, async () => {
  const publisher = await newPublisher(admin, 'deleted');
  for (let minute = 0; minute < 5; minute++)
    await publish(publisher, [{ n: 't', v: minute, t: 1_700_000_000 + minute * 60 }]);
  const last = await publish(publisher, [{ n: 't', v: 5, t: 1_700_000_300 }]);
  // Not waited for: the last ones may still be in the log.
  const order = {
    channels: [publisher.channel],
    from: 1_700_000_120,
    what: 'all',
    reason: 'Its owner asked for it.',
  };
  const { status, body } = await asked('POST', '/deletions', order);
  expect(status).toBe(202);
  const proof = await done(body.id);
  expect(proof).toMatchObject({
    status: 'done',
    error: null,
    request_hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    found: { readings: 4 },
    remaining: { readings: 0, payloads: 0, dead_letters: 0, message_log: 0 },
  });
  expect(await values(publisher)).toEqual([0, 1]);
  expect((await admin.raw('GET', `/messages/${last}`)).status).toBe(404);
  expect(await admin.json('GET', `/jobs/${body.id}`)).toMatchObject({ status: 'done', unit: 'rows' });
  const audited = await admin.json('GET', `/audit?entity=deletions&id=${body.id}`);
  expect(JSON.stringify(audited)).toContain('deletions.finish');
  // What comes later is not a part of it.
  await publish(publisher, [{ n: 't', v: 6, t: 1_700_000_360 }]);
  await stored(publisher, 3);
  const counted = await asked('POST', '/deletions', { ...order, dry_run: true });
  expect(counted).toMatchObject({ status: 200, body: { found: { readings: 1 } } });
  expect(await values(publisher)).toHaveLength(3);
});

test('what is held can not be deleted until it is released', { timeout: 180_000 }, async () => {
  const publisher = await newPublisher(admin, 'held');
  await publish(publisher, [{ n: 't', v: 1 }]);
  await stored(publisher, 1);
  const hold = await asked('POST', '/holds', { name: 'Case 17', channels: [publisher.channel], reason: 'The court.' });
  expect(hold.status).toBe(201);
  const order = { channels: [publisher.channel], what: 'readings', reason: 'Asked for.' };
  expect(await asked('POST', '/deletions', order)).toMatchObject({
    status: 409,
    body: { detail: expect.stringContaining('Case 17') },
  });
  expect(await asked('POST', '/deletions', { ...order, channels: undefined, all: true })).toMatchObject({
    status: 409,
  });
  expect((await admin.raw('DELETE', `/channels/${publisher.channel}?data=delete`)).status).toBe(409);
  await eventually('the hold to be in force', WAIT_MS, async () => {
    const found = await admin.json<{ in_force_at: string | null }>('GET', `/holds/${hold.body.id}`);
    return found.in_force_at !== null;
  });
  expect((await admin.raw('DELETE', `/holds/${hold.body.id}`)).status).toBe(200);
  const { body } = await asked('POST', '/deletions', order);
  expect(await done(body.id)).toMatchObject({ status: 'done', found: { readings: 1 } });
  expect(await values(publisher)).toEqual([]);
});

test('the end of what is stored follows the channel, else the organisation, and nothing that is held has one', {
  timeout: 180_000,
}, async () => {
  const org = (await admin.json<{ orgs: { id: string; version: number }[] }>('GET', '/orgs')).orgs[0]?.id ?? '';
  const publisher = await newPublisher(admin, 'kept');
  await publish(publisher, [{ n: 't', v: 1 }]);
  await stored(publisher, 1);
  expect(await asked('PATCH', `/orgs/${org}`, { retention_days: 100_000 })).toMatchObject({ status: 422 });
  expect(await asked('PATCH', `/orgs/${org}`, { retention_days: 30, rollup_retention_days: 365 })).toMatchObject({
    body: { retention_days: 30, rollup_retention_days: 365 },
  });
  expect(await asked('PATCH', `/channels/${publisher.channel}`, { profile: { retention_days: 10 } })).toMatchObject({
    body: { profile: { retention_days: 10 } },
  });
  await publish(publisher, [{ n: 'kept-ten-days', v: 2 }]);
  await stored(publisher, 2);
  const held = await newPublisher(admin, 'held, too');
  const hold = await asked('POST', '/holds', { name: 'Case 18', channels: [held.channel], reason: 'The court.' });
  expect(hold.status).toBe(201);
  await publish(held, [{ n: 'held', v: 3 }]);
  await stored(held, 1);
  await admin.json('DELETE', `/holds/${hold.body.id}`);
  expect(await asked('PATCH', `/orgs/${org}`, { retention_days: null })).toMatchObject({
    body: { retention_days: null },
  });
});

test('a deleted channel, and a deleted organisation, take their data with them where that is wanted', {
  timeout: 180_000,
}, async () => {
  const one = await newPublisher(admin, 'with its data');
  await publish(one, [{ n: 't', v: 1 }]);
  await stored(one, 1);
  expect((await admin.raw('DELETE', `/channels/${one.channel}?data=delete`)).status).toBe(204);
  const list = await admin.json<{ deletions: (Deletion & { request: { channels: string[] } })[] }>('GET', '/deletions');
  expect(list.deletions.find(({ request }) => request.channels?.[0] === one.channel)).toMatchObject({
    status: 'waiting',
  });

  const org = await admin.json<{ id: string }>('POST', '/orgs', { name: 'Gone soon' });
  const thing = await admin.json<{ id: string; key: string }>('POST', `/things?org=${org.id}`, { name: 'gone' });
  const channel = await admin.json<{ id: string }>('POST', `/channels?org=${org.id}`, { name: 'gone' });
  await admin.json('POST', `/connect?org=${org.id}`, { channel_ids: [channel.id], thing_ids: [thing.id] });
  const other = { thing: thing.id, key: thing.key, channel: channel.id, rest: admin.as(`Thing ${thing.key}`) };
  await publish(other, [{ n: 't', v: 1 }]);
  await stored(other, 1);
  const hold = await asked('POST', `/holds?org=${org.id}`, { name: 'All of it', reason: 'The court.' });
  expect((await admin.raw('DELETE', `/orgs/${org.id}?cascade=true`)).status).toBe(409);
  expect((await admin.raw('DELETE', `/holds/${hold.body.id}`)).status).toBe(200);
  expect((await admin.raw('DELETE', `/orgs/${org.id}?cascade=true`)).status).toBe(204);
  await eventually('the data of the organisation to be gone', WAIT_MS, async () =>
    (await (await admin.raw('GET', '/metrics')).text()).includes(
      'millrace_deletions_total{status="done",by="platform"} 1',
    ),
  );
  await millrace.end();
  const rows = rowsOf(join(millrace.directory, 'clickhouse'), 'millrace');
  const days = await rows(
    "SELECT name, dateDiff('day', received, toDateTime64(expires, 6, 'UTC')) < 11 AS soon FROM readings WHERE name IN ('held', 'kept-ten-days') ORDER BY name",
  );
  expect(days).toEqual([
    { name: 'held', soon: 0 },
    { name: 'kept-ten-days', soon: 1 },
  ]);
  for (const table of ['readings', 'message_log', 'rollups'])
    expect(await rows(`SELECT 1 FROM ${table} WHERE org = '${org.id}'`), table).toEqual([]);
});
