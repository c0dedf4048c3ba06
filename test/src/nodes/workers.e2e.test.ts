import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RawMqtt, textOf } from '../bridge/clients/raw-mqtt.ts';
import { OwnPostgres } from '../control/two-nodes.ts';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';
import { startFamily, workersOf } from '../workers/family.ts';
import { Group, publishTo } from './group.ts';

const WORKERS = 2;
const SOON_MS = 60_000;

describe('the workers of one node', { timeout: 240_000 }, () => {
  let millrace: Millrace;
  let publisher: Publisher;
  const postgres = new OwnPostgres();

  beforeAll(async () => {
    millrace = new Millrace({
      MILLRACE_WORKERS: String(WORKERS),
      MILLRACE_ROLES: 'ingest,registry',
      MILLRACE_POSTGRES_URL: await postgres.start(),
    });
    await startFamily(millrace);
    publisher = await newPublisher(await Rest.asAdmin(millrace), 'workers');
  }, 180_000);
  afterAll(async () => {
    await millrace?.dispose();
    await postgres.dispose();
  }, 120_000);

  test('leave a client one connection, whichever of them it comes to', async () => {
    const all: RawMqtt[] = [];
    for (let count = 0; count < 12; count++)
      all.push((await RawMqtt.connect(millrace, publisher, { clientId: 'one' })).client);
    await eventually('one is left', SOON_MS, async () => all.filter(({ over }) => !over).length === 1);
    expect(all.at(-1)?.over).toBe(false);
    await all.at(-1)?.disconnect();
  });

  test('share a group: each message comes once', async () => {
    const group = new Group(`$share/workers/channels/${publisher.channel}/messages`);
    for (let count = 0; count < 6; count++) await group.join(millrace, publisher, `member-${count}`);
    const texts = await publishTo(millrace, publisher, [publisher.channel], 'shared', 100);
    await eventually('all came', SOON_MS, async () => new Set(group.got).size === texts.length);
    expect(group.odd(texts)).toEqual([]);
    for (const member of group.members) await member.disconnect();
  });

  test('publish the wills of one that is killed', async () => {
    const topic = `channels/${publisher.channel}/messages`;
    const will = { topic, payload: Buffer.from('gone'), qos: 1 as const, retain: false };
    const count = 16;
    const clients: RawMqtt[] = [];
    for (let index = 0; index < count; index++)
      clients.push((await RawMqtt.connect(millrace, publisher, { clientId: `willed-${index}`, will })).client);
    const watching: RawMqtt[] = [];
    for (let index = 0; index < count; index++) {
      const { client } = await RawMqtt.connect(millrace, publisher, { clientId: `watching-${index}` });
      await client.subscribe([[topic, 1]]);
      watching.push(client);
    }
    const wills = `SELECT count(*) AS count FROM registry.mqtt_clients WHERE will IS NOT NULL`;
    await eventually('the wills are kept', SOON_MS, async () => (await postgres.counts(wills))[0] === count);
    const [victim] = workersOf(millrace.pid);
    if (victim === undefined) throw new Error('there is no worker');
    process.kill(victim, 'SIGKILL');
    await eventually('its clients are gone', SOON_MS, async () => clients.some(({ over }) => over));
    const lost = clients.filter(({ over }) => over).length;
    const left = watching.filter(({ over }) => !over);
    expect(left.length, 'somebody is with the other worker').toBeGreaterThan(0);
    const [one] = left as [RawMqtt];
    await one.until('the wills', () => one.messages.length >= lost, SOON_MS);
    await one.ping();
    expect(one.messages.map(textOf)).toEqual(Array(lost).fill('gone'));
  });
});
