import { createMetrics, type RetainedMessage, type Started, uuidV7 } from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../database/database.ts';
import type { Registry } from '../registry.ts';
import { logger, startRegistry, temporaryPostgres } from '../testing/fixture.ts';
import { until } from '../testing/until.ts';

const HOUR_US = 3_600_000_000;
let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
let database: Database;
let started: Started<Registry>;
let registry: Registry;
const orgs = new Map<string, string>();

beforeAll(async () => {
  postgres = await temporaryPostgres();
  database = openDatabase({ url: postgres.url, connectionsMax: 4, logger, metrics: createMetrics() });
  started = await startRegistry(postgres.url, { retainedPerOrgMax: 5, sweepMs: 50 });
  registry = started.value;
});
afterAll(async () => {
  await started?.stop();
  await database?.close();
  await postgres?.dispose();
});

async function tenant(): Promise<{ user: string; org: string; channel: string }> {
  const user = await registry.users.register(`${uuidV7()}@example.org`, '12345678');
  const [{ org } = { org: '' }] = await registry.users.memberships(user.id);
  const [channel] = await registry.channels.create(org, [{}]);
  orgs.set(channel?.id ?? '', org);
  return { user: user.id, org, channel: channel?.id ?? '' };
}
const message = (channel: string, offset: number, more: Partial<RetainedMessage> = {}): RetainedMessage => ({
  id: uuidV7(),
  org: orgs.get(channel) ?? uuidV7(),
  channel,
  subtopic: 'a',
  publisher: uuidV7(),
  contentType: 'application/json',
  receivedUs: 1_700_000_000_000_000 + offset,
  qos: 1,
  partition: 2,
  offset,
  payload: Buffer.from(`at ${offset}`),
  ...more,
});
const clearing = (channel: string, offset: number, more: Partial<RetainedMessage> = {}): RetainedMessage =>
  message(channel, offset, { payload: Buffer.alloc(0), ...more });
const find = (channel: string, prefix = '', exact = false, limit = 100): Promise<readonly RetainedMessage[]> =>
  registry.retained.find({ owner: uuidV7(), channel, prefix, exact, limit });
const payloads = async (channel: string): Promise<string[]> =>
  (await find(channel)).map(({ payload }) => payload.toString('latin1'));

describe('a retained message', () => {
  test('comes back as it was kept, byte for byte, under the org of its channel', async () => {
    const { org, channel } = await tenant();
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
    const kept = message(channel, 7, {
      org: uuidV7(),
      subtopic: 'größe/"\\x"/{1}',
      payload: bytes,
      qos: 2,
      offset: 2 ** 40,
    });
    expect(await registry.retained.keep([kept])).toEqual([]);
    expect(await find(channel)).toEqual([{ ...kept, org }]);
  });

  test('is the last of its topic by the order of the log, whichever is written first', async () => {
    const { channel } = await tenant();
    await registry.retained.keep([message(channel, 5)]);
    await registry.retained.keep([message(channel, 3)]);
    expect(await payloads(channel)).toEqual(['at 5']);
    await registry.retained.keep([message(channel, 9), message(channel, 8), message(channel, 6)]);
    expect(await payloads(channel)).toEqual(['at 9']);
    await registry.retained.keep([message(channel, 9, { payload: Buffer.from('again') })]);
    expect(await payloads(channel)).toEqual(['at 9']);
  });

  test('is the last when many nodes write at once', async () => {
    const { channel } = await tenant();
    const other = await startRegistry(postgres.url);
    const offsets = Array.from({ length: 60 }, (_, index) => (index * 37) % 60);
    const subtopics = ['a', 'b', 'c'];
    await Promise.all(
      offsets.map((offset, index) => {
        const batch = subtopics.map((subtopic) => message(channel, offset, { subtopic }));
        return (index % 2 === 0 ? registry : other.value).retained.keep(index % 3 === 0 ? batch : batch.reverse());
      }),
    );
    expect(await payloads(channel)).toEqual(['at 59', 'at 59', 'at 59']);
    await other.stop();
  });

  test('that is empty clears the topic, and what is older does not bring it back', async () => {
    const { channel } = await tenant();
    await registry.retained.keep([message(channel, 5)]);
    await registry.retained.keep([clearing(channel, 7)]);
    expect(await find(channel)).toEqual([]);
    await registry.retained.keep([message(channel, 6)]);
    expect(await find(channel)).toEqual([]);
    await registry.retained.keep([message(channel, 8)]);
    expect(await payloads(channel)).toEqual(['at 8']);
  });

  test('that comes after what clears it, of a topic that was never seen, is not kept', async () => {
    const { channel } = await tenant();
    await registry.retained.keep([clearing(channel, 7)]);
    await registry.retained.keep([message(channel, 6)]);
    expect(await find(channel)).toEqual([]);
    await registry.retained.keep([message(channel, 4, { subtopic: 'b' }), clearing(channel, 5, { subtopic: 'b' })]);
    expect(await find(channel)).toEqual([]);
  });

  test('of a log that began anew, or of another partition, is later when it was received later', async () => {
    const { channel } = await tenant();
    const old = message(channel, 5_000);
    await registry.retained.keep([old]);
    const soon = old.receivedUs + HOUR_US / 2;
    await registry.retained.keep([message(channel, 1, { receivedUs: soon })]);
    expect(await payloads(channel)).toEqual(['at 5000']);
    await registry.retained.keep([message(channel, 2, { receivedUs: old.receivedUs + 2 * HOUR_US })]);
    expect(await payloads(channel)).toEqual(['at 2']);
    const moved = { partition: 1, receivedUs: old.receivedUs + 2 * HOUR_US + 1 };
    await registry.retained.keep([message(channel, 1, moved)]);
    expect(await payloads(channel)).toEqual(['at 1']);
  });

  test('goes with its channel; one that comes later is not kept, and costs no other its place', async () => {
    const [gone, stays] = [await tenant(), await tenant()];
    await registry.retained.keep([message(gone.channel, 1)]);
    await registry.channels.remove(gone.channel);
    expect(await find(gone.channel)).toEqual([]);
    expect(await registry.retained.keep([message(gone.channel, 2), message(stays.channel, 2)])).toEqual([]);
    expect(await payloads(stays.channel)).toEqual(['at 2']);
  });

  test('that no database can keep is refused by itself, in the middle of others', async () => {
    const { channel } = await tenant();
    const refused = await registry.retained.keep([
      message(channel, 1),
      message(channel, 2, { subtopic: 'nul \0' }),
      message('no uuid', 3),
      message(channel, 4, { contentType: 'text/\0' }),
      message(channel, 5, { subtopic: 'x'.repeat(3_000) }),
      message(channel, 6, { subtopic: 'b' }),
    ]);
    expect(refused).toEqual([1, 2, 3, 4]);
    expect(await payloads(channel)).toEqual(['at 1', 'at 6']);
  });
});

describe('the limit of an org', () => {
  test('refuses further topics, but replaces and clears those that are there, and other orgs are unaffected', async () => {
    const [full, other] = [await tenant(), await tenant()];
    const topics = (count: number, from = 0): RetainedMessage[] =>
      Array.from({ length: count }, (_, index) => message(full.channel, index, { subtopic: `t${index + from}` }));
    expect(await registry.retained.keep(topics(4))).toEqual([]);
    expect(await registry.retained.keep(topics(3, 4))).toEqual([1, 2]);
    const mixed = [message(full.channel, 10, { subtopic: 't0' }), message(full.channel, 11, { subtopic: 'new' })];
    expect(await registry.retained.keep([...mixed, message(other.channel, 12)])).toEqual([1]);
    expect((await find(full.channel, 't0', true))[0]?.payload.toString()).toBe('at 10');
    expect(await payloads(other.channel)).toEqual(['at 12']);
    expect(await registry.retained.keep([clearing(full.channel, 13, { subtopic: 't1' })])).toEqual([]);
    expect(await registry.retained.keep([message(full.channel, 14, { subtopic: 'new' })])).toEqual([]);
    expect(await registry.retained.keep([message(full.channel, 15, { subtopic: 't1' })])).toEqual([0]);
    expect(await find(full.channel)).toHaveLength(5);
  });

  test('holds for topics that come one by one', async () => {
    const { channel } = await tenant();
    const refused: number[] = [];
    for (let index = 0; index < 8; index++) {
      const one = message(channel, index, { subtopic: `t${index}` });
      if ((await registry.retained.keep([one])).length > 0) refused.push(index);
    }
    expect(refused).toEqual([5, 6, 7]);
    expect(await find(channel)).toHaveLength(5);
  });

  test('holds for tombstones of topics that were never seen, too', async () => {
    const { channel, org } = await tenant();
    const cleared = Array.from({ length: 20 }, (_, index) => clearing(channel, index, { subtopic: `t${index}` }));
    expect(await registry.retained.keep(cleared)).toEqual([]);
    expect(await database.query('SELECT 1 FROM registry.retained WHERE org = $1', [org])).toHaveLength(5);
  });
});

describe('find', () => {
  test('gives what is at or under a prefix, of whole segments', async () => {
    const { channel } = await tenant();
    const subtopics = ['', 'a', 'a/b', 'a0', 'ab/c'];
    await registry.retained.keep(subtopics.map((subtopic, offset) => message(channel, offset, { subtopic })));
    const found = async (prefix: string, exact = false): Promise<string[]> =>
      (await find(channel, prefix, exact)).map(({ subtopic }) => subtopic);
    expect(await found('')).toEqual(subtopics);
    expect(await found('', true)).toEqual(['']);
    expect(await found('a')).toEqual(['a', 'a/b']);
    expect(await found('a', true)).toEqual(['a']);
    expect(await found('a/b')).toEqual(['a/b']);
    expect(await found('a%')).toEqual([]);
    expect(await found('nul \0')).toEqual([]);
    expect(await find(channel, '', false, 2)).toHaveLength(2);
  });

  test('over all channels gives those of the orgs that the owner belongs to, and no other', async () => {
    const [mine, theirs] = [await tenant(), await tenant()];
    const [thing] = await registry.things.create(mine.org, [{}]);
    await registry.retained.keep([message(mine.channel, 1), message(theirs.channel, 2)]);
    const all = async (owner: string): Promise<string[]> =>
      (await registry.retained.find({ owner, channel: null, prefix: '', exact: false, limit: 10 })).map(
        ({ channel }) => channel,
      );
    expect(await all(mine.user)).toEqual([mine.channel]);
    expect(await all(thing?.thing.id ?? '')).toEqual([mine.channel]);
    expect(await all(uuidV7())).toEqual([]);
    expect(await all('no uuid')).toEqual([]);
  });
});

test('a tombstone is forgotten after an hour, and nothing else', async () => {
  const { channel, org } = await tenant();
  await registry.retained.keep([
    message(channel, 1, { subtopic: 'live' }),
    clearing(channel, 2, { subtopic: 'old' }),
    clearing(channel, 3, { subtopic: 'young' }),
  ]);
  await database.query(
    `UPDATE registry.retained SET cleared_at = now() - interval '61 minutes' WHERE org = $1 AND subtopic = 'old'`,
    [org],
  );
  const left = async (): Promise<unknown[]> =>
    (await database.query('SELECT subtopic FROM registry.retained WHERE org = $1 ORDER BY 1', [org])).map(
      ({ subtopic }) => subtopic,
    );
  await until(async () => (await left()).length === 2);
  expect(await left()).toEqual(['live', 'young']);
});
