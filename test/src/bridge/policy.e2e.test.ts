import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, Millrace, Rest } from '../millrace.ts';
import type { Identity, Topic } from './clients/client.ts';
import { fetchClient } from './clients/fetch.ts';
import { filterText } from './clients/mqtt-topic.ts';
import { type RawMqtt, textOf } from './clients/raw-mqtt.ts';
import { wsChannel, wsMany } from './clients/ws.ts';
import {
  type Broker,
  connected,
  endConnections,
  messages,
  messagesBefore,
  opened,
  uniqueId,
} from './interop/broker.ts';
import { newChannel, newThing, placeOf } from './rights.ts';

const topic = (channel: string, subtopic = ''): string => filterText({ channel, subtopic });

describe('who may what', () => {
  const millrace = new Millrace();
  let admin: Rest;
  endConnections();

  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
  }, 120_000);
  afterAll(() => millrace.dispose(), 120_000);

  const as = (identity: Identity): Broker => ({ mqtt: millrace.mqtt, identity, root: '' });

  test('a filter that is not allowed is refused alone, the others of the packet stand', async () => {
    const [open, closed] = [await newChannel(admin, 'open'), await newChannel(admin, 'closed')];
    const thing = await newThing(admin, 'reader', [open]);
    await admin.json('POST', '/connect', { channel_ids: [closed], thing_ids: [thing.thing], types: ['publish'] });
    const client = await connected(as(thing));
    const nowhere = '00000000-0000-4000-8000-000000000000';
    const granted = await client.subscribe([
      [topic(open), 1],
      [topic(closed, '#'), 1],
      [topic(nowhere), 0],
      [topic(open, 'a/+'), 2],
    ]);
    expect(granted).toEqual([1, 128, 128, 2]);
    await client.publish(topic(closed), 'unread', 1);
    await client.publish(topic(open, 'a/b'), 'read', 1);
    expect((await messages(client, 1)).map(textOf)).toEqual(['read']);
  });

  test.each([0, 1, 2] as const)(
    'a publish of QoS %i that is not allowed ends the connection and reaches nobody',
    async (qos) => {
      const channel = await newChannel(admin, 'read-only');
      const watcher = await connected(as(await newThing(admin, 'watcher', [channel])));
      await watcher.subscribe([[topic(channel, '#'), 2]]);
      const client = await connected(as(await newThing(admin, 'reader', [channel], ['subscribe'])));
      client.send({
        cmd: 'publish',
        topic: topic(channel),
        payload: 'no',
        qos,
        retain: true,
        dup: false,
        messageId: 1,
      });
      await client.closed();
      expect(client.packets.filter(({ cmd }) => cmd === 'puback' || cmd === 'pubrec')).toEqual([]);
      await watcher.publish(topic(channel), 'fence', 1);
      expect(await messagesBefore(watcher, 'fence')).toEqual([]);
      const late = await connected(as(await newThing(admin, 'late', [channel])));
      await late.subscribe([[topic(channel, '#'), 1]]);
      await late.publish(topic(channel), 'fence', 1);
      expect(await messagesBefore(late, 'fence')).toEqual([]);
    },
  );

  test('what is not ours to publish to ends the connection: no topic of a channel, and $SYS', async () => {
    const channel = await newChannel(admin, 'c');
    const thing = await newThing(admin, 'publisher', [channel]);
    for (const text of ['somewhere/else', '$SYS/broker/version', `channels/${channel}`, `/${topic(channel)}`]) {
      const client = await connected(as(thing));
      client.send({ cmd: 'publish', topic: text, payload: 'x', qos: 1, retain: false, dup: false, messageId: 1 });
      await client.closed();
    }
  });

  test('who is wrong is refused with the code of the protocol', async () => {
    const thing = await newThing(admin, 'known', []);
    const other = await newThing(admin, 'other', []);
    const code = async (identity: Identity | null): Promise<number> => {
      const client = await opened(as(thing));
      const { returnCode } = await client.hello(identity, { clientId: 'c' });
      if (returnCode !== 0) await client.closed();
      return returnCode as number;
    };
    expect(await code(thing)).toBe(0);
    expect([4, 5]).toContain(await code(null));
    expect(await code({ ...thing, key: 'wrong' })).toBe(4);
    expect(await code({ thing: other.thing, key: thing.key })).toBe(4);
    await admin.json('POST', `/things/${thing.thing}/disable`);
    expect(await code(thing)).toBe(5);
  });

  test('$SYS is for administrators', async () => {
    const thing = await connected(as(await newThing(admin, 'curious', [])));
    expect(await thing.subscribe([['$SYS/#', 0]])).toEqual([128]);
    const token = admin.authorization.replace('Bearer ', '');
    const user = await connected(as({ thing: 'admin@millrace.local', key: token }));
    expect(await user.subscribe([['$SYS/#', 0]])).toEqual([0]);
    await user.until(
      'figures of the broker',
      () => user.messages.some((packet) => packet.topic.startsWith('$SYS/')),
      30_000,
    );
  });

  test('a will that is not allowed is refused at CONNECT; one that is revoked meanwhile does not fire', async () => {
    const channel = await newChannel(admin, 'wills');
    const watcher = await connected(as(await newThing(admin, 'watcher', [channel])));
    await watcher.subscribe([[topic(channel, '#'), 1]]);
    const will = { topic: topic(channel), payload: Buffer.from('will'), qos: 1 as const, retain: true };
    const reader = await opened(as(await newThing(admin, 'reader', [channel], ['subscribe'])));
    const refused = await reader.hello(await newThing(admin, 'reader', [channel], ['subscribe']), {
      clientId: 'w',
      will,
    });
    expect(refused.returnCode).toBe(5);
    const disabled = await newThing(admin, 'disabled', [channel]);
    const cut = await connected(as(disabled), { clientId: 'w', will });
    await admin.json('POST', `/things/${disabled.thing}/disable`);
    await cut.closed();
    const disconnected = await newThing(admin, 'disconnected', [channel]);
    const losing = await connected(as(disconnected), { clientId: 'w', will });
    await admin.json('POST', '/disconnect', { channel_ids: [channel], thing_ids: [disconnected.thing] });
    await losing.cut();
    // One that is allowed comes: so would have the others, before it.
    const allowed = await connected(as(await newThing(admin, 'allowed', [channel])), {
      clientId: 'w',
      will: { ...will, payload: Buffer.from('allowed'), retain: false },
    });
    await allowed.cut();
    expect(await messagesBefore(watcher, 'allowed')).toEqual([]);
    const late = await connected(as(await newThing(admin, 'late', [channel])));
    await late.subscribe([[topic(channel, '#'), 1]]);
    await late.publish(topic(channel), 'fence', 1);
    expect(await messagesBefore(late, 'fence')).toEqual([]);
  });

  test('retained messages are for who may read the channel', async () => {
    const [mine, theirs] = [await newChannel(admin, 'mine'), await newChannel(admin, 'theirs')];
    const publisher = await connected(as(await newThing(admin, 'publisher', [mine, theirs])));
    await publisher.publish(topic(mine, 'kept'), 'mine', 1, true);
    await publisher.publish(topic(theirs, 'kept'), 'theirs', 1, true);
    const reader = await newThing(admin, 'reader', [mine]);
    const client = await connected(as(reader));
    expect(
      await client.subscribe([
        ['#', 1],
        [topic(theirs, '#'), 1],
      ]),
    ).toEqual([1, 128]);
    expect((await messages(client, 1)).map(textOf)).toEqual(['mine']);
    await publisher.publish(topic(mine), 'fence', 1);
    await messagesBefore(client, 'fence');
    await admin.json('POST', '/disconnect', { channel_ids: [mine], thing_ids: [reader.thing] });
    const again = await connected(as(reader));
    expect(
      await again.subscribe([
        ['#', 1],
        [topic(mine, '#'), 1],
      ]),
    ).toEqual([1, 128]);
    await again.ping();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect([client, again].flatMap((each) => each.messages.map(textOf))).toEqual(['mine', 'fence']);
  });

  test('two organisations never meet: not by wildcards, shared groups, addresses or client ids', async () => {
    const tenants = [];
    for (const name of ['one', 'two']) {
      const rest = name === 'one' ? admin : await newTenant(new Rest(millrace.url, ''));
      const channel = await newChannel(rest, 'same name');
      tenants.push({ name, channel, thing: await newThing(rest, 'same name', [channel]) });
    }
    const [one, two] = tenants as [Tenant, Tenant];
    const clientId = uniqueId('same');
    const wild = await Promise.all([one, two].map(({ thing }) => connected(as(thing), { clientId, clean: false })));
    const shared = await Promise.all([one, two].map(({ thing }) => connected(as(thing))));
    for (const client of wild) expect(await client.subscribe([['#', 1]])).toEqual([1]);
    for (const client of shared) {
      const granted = await client.subscribe([['$share/g/channels/+/messages/#', 1]]);
      expect(granted).toEqual([1]);
    }
    for (const [index, { name, channel }] of tenants.entries())
      for (let count = 0; count < 10; count++)
        await (wild[index] as RawMqtt).publish(topic(channel, 'a'), `${name} ${count}`, 1);
    for (const clients of [wild, shared]) {
      for (const [index, { name }] of tenants.entries()) {
        const client = clients[index] as RawMqtt;
        const came = (await messages(client, 10)).map(textOf);
        expect(came).toEqual(Array.from({ length: 10 }, (_, count) => `${name} ${count}`));
      }
    }

    const theirs: Topic = { channel: two.channel, subtopic: '' };
    expect(await (wild[0] as RawMqtt).subscribe([[topic(two.channel, '#'), 1]])).toEqual([128]);
    for (const kind of [wsChannel, wsMany, fetchClient]) {
      const client = await kind.connect(placeOf(millrace), one.thing);
      await expect(client.subscribe([theirs]), kind.name).rejects.toThrow(/40[34]/);
      await client.close();
    }
    const intruder = await connected(as(one.thing));
    intruder.send({
      cmd: 'publish',
      topic: topic(two.channel),
      payload: 'x',
      qos: 1,
      retain: false,
      dup: false,
      messageId: 1,
    });
    await intruder.closed();
    expect(wild.map((client) => client.over)).toEqual([false, false]);
  });

  test('metrics tell malformed topics from forbidden ones', async () => {
    const channel = await newChannel(admin, 'counted');
    const thing = await newThing(admin, 'counted', [channel], ['subscribe']);
    const before = await refusals();
    for (const text of ['somewhere/else', topic(channel)]) {
      const client = await connected(as(thing));
      client.send({ cmd: 'publish', topic: text, payload: 'x', qos: 0, retain: false, dup: false });
      await client.closed();
    }
    await eventually('both to be counted', 10_000, async () => {
      const now = await refusals();
      return [...now].filter(([line, count]) => count > (before.get(line) ?? 0)).length >= 2;
    });
  });

  /** Refused publishes by MQTT, by reason. */
  async function refusals(): Promise<Map<string, number>> {
    const text = await (await admin.raw('GET', '/metrics')).text();
    return new Map(
      text.split('\n').flatMap((line) => {
        const [, name, count] = /^(millrace_ingest_messages_total\{[^}]*"mqtt"[^}]*\}) (\d+)/.exec(line) ?? [];
        return name === undefined || !name.includes('refused') ? [] : [[name, Number(count)] as const];
      }),
    );
  }
});

interface Tenant {
  readonly name: string;
  readonly channel: string;
  readonly thing: Identity;
}

/** A user of its own organisation. */
async function newTenant(anybody: Rest): Promise<Rest> {
  const account = { email: `${randomBytes(6).toString('hex')}@example.org`, password: randomBytes(12).toString('hex') };
  await anybody.json('POST', '/users', account);
  const { token } = await anybody.json<{ token: string }>('POST', '/tokens', account);
  return anybody.as(`Bearer ${token}`);
}
