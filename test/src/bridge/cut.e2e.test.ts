import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { LONG, SEED, seeded } from '../crash.ts';
import { eventually, Millrace, Rest } from '../millrace.ts';
import { storedNames } from '../stored.ts';
import type { Identity, Qos } from './clients/client.ts';
import { LastingMqtt } from './clients/lasting-mqtt.ts';
import { filterText } from './clients/mqtt-topic.ts';
import { newChannel, newThing } from './rights.ts';

const SESSIONS = LONG ? 1_000 : 100;
const CHANNELS = LONG ? 20 : 10;
const KILLS = LONG ? 5 : 2;
/** Between two messages of a publisher. */
const INTERVAL_MS = LONG ? 50 : 20;
/** Messages of a publisher that may wait for their acknowledgement. */
const WINDOW = 8;
/** Between two connections that are lost. */
const CUT_INTERVAL_MS = 20;
/** Some clients answer so late that most of their acknowledgements are lost with the connection. */
const LAG_MS = 40;
const SETTLED_MS_MAX = 120_000;

interface Subscriber {
  readonly client: LastingMqtt;
  readonly channel: string;
  readonly persistent: boolean;
  readonly qos: Qos;
}
interface Publisher {
  readonly client: LastingMqtt;
  readonly channel: string;
  /** Names of messages, in the order of publishing: all of them are acknowledged in the end. */
  readonly sent: string[];
}

describe('kill -9 with sessions at work', () => {
  const millrace = new Millrace();
  const clients: LastingMqtt[] = [];
  let over = false;
  afterAll(async () => {
    over = true;
    await Promise.allSettled(clients.map((client) => client.cut()));
    await millrace.dispose();
  }, 120_000);

  test(`${SESSIONS} sessions, ${KILLS} kills: QoS 1 misses nothing and keeps its order, QoS 2 comes once (seed ${SEED})`, {
    timeout: LONG ? 900_000 : 300_000,
  }, async () => {
    await millrace.start();
    const admin = await Rest.asAdmin(millrace);
    const random = seeded(SEED);
    const lost: string[] = [];
    const subscribers: Subscriber[] = [];
    const publishers: Publisher[] = [];
    const readers: Rest[] = [];
    const things: Identity[] = [];
    for (let index = 0; index < CHANNELS; index++) {
      const channel = await newChannel(admin, `cut ${index}`);
      const thing = await newThing(admin, `cut ${index}`, [channel]);
      things.push(thing);
      readers.push(admin.as(`Thing ${thing.key}`));
      publishers.push({
        client: new LastingMqtt(thing, `publisher-${index}`, false, index % 2 === 0 ? 0 : LAG_MS),
        channel,
        sent: [],
      });
    }
    for (let index = 0; index < SESSIONS; index++) {
      const at = index % CHANNELS;
      const round = Math.floor(index / CHANNELS);
      const persistent = round % 2 === 0;
      const lagMs = round % 3 === 0 ? LAG_MS : 0;
      const client = new LastingMqtt(things[at] as Identity, `subscriber-${index}`, !persistent, lagMs);
      const { channel } = publishers[at] as Publisher;
      subscribers.push({ client, channel, persistent, qos: persistent && round % 4 === 0 ? 2 : 1 });
    }

    /** Connects, and connects again whenever the connection is lost. */
    const keep = async (client: LastingMqtt, onConnected: (present: boolean) => Promise<void>): Promise<void> => {
      while (!over) {
        if (!client.connected) {
          try {
            await onConnected(await client.connect(millrace));
          } catch {
            await client.cut();
          }
        }
        await sleep(25);
      }
    };
    const connected = new Set<LastingMqtt>();
    const running: Promise<void>[] = [];
    for (const { client, channel, persistent, qos } of subscribers) {
      clients.push(client);
      running.push(
        keep(client, async (present) => {
          const first = !connected.has(client);
          if (persistent && !first && !present) lost.push(client.clientId);
          if (!persistent || first) await client.connection?.subscribe([[filterText({ channel, subtopic: '#' }), qos]]);
          connected.add(client);
        }),
      );
    }
    for (const { client } of publishers) {
      clients.push(client);
      running.push(
        keep(client, async (present) => {
          if (connected.has(client) && !present) lost.push(client.clientId);
          connected.add(client);
        }),
      );
    }
    await eventually('all sessions', 60_000, async () => connected.size === clients.length);

    let publishing = true;
    const publish = async ({ client, channel, sent }: Publisher): Promise<void> => {
      while (publishing) {
        if (client.unacknowledged < WINDOW) {
          const qos = sent.length % 2 === 0 ? 1 : 2;
          const name = `q${qos}-${sent.length}`;
          sent.push(name);
          const subtopic = sent.length % 3 === 0 ? 'a/b' : '';
          void client.publish(filterText({ channel, subtopic }), `[{"n":"${name}","v":1}]`, qos);
        }
        await sleep(INTERVAL_MS);
      }
    };
    const published = Promise.all(publishers.map(publish));
    for (let kill = 0; kill < KILLS; kill++) {
      // Connections are lost meanwhile, too.
      for (const end = performance.now() + 1_000 + random() * 1_000; performance.now() < end; ) {
        await clients[Math.floor(random() * clients.length)]?.cut();
        await sleep(CUT_INTERVAL_MS);
      }
      expect(await millrace.end('SIGKILL')).toBe('SIGKILL');
      await millrace.start();
      await eventually('all to be back', 60_000, async () => clients.every((client) => client.connected));
    }
    await sleep(500);
    publishing = false;
    await published;
    await eventually('every publish to be acknowledged', SETTLED_MS_MAX, async () =>
      publishers.every(({ client }) => client.unacknowledged === 0),
    );

    const sentTo = new Map(publishers.map(({ channel, sent }) => [channel, sent]));
    const persistent = subscribers.filter((subscriber) => subscriber.persistent);
    await eventually('every persistent session to have everything', SETTLED_MS_MAX, async () => {
      for (const { client, channel } of persistent) {
        const names = new Set(namesOf(client));
        const missing = (sentTo.get(channel) ?? []).filter((name) => !names.has(name));
        if (missing.length > 0)
          throw new Error(
            `seed ${SEED}: ${client.clientId} misses ${missing.length} of ${sentTo.get(channel)?.length}, as ${missing.slice(0, 3)}`,
          );
      }
      return true;
    });
    over = true;
    await Promise.all(running);

    expect(lost, `seed ${SEED}: sessions that were forgotten`).toEqual([]);
    for (const { client, channel, persistent: kept, qos } of subscribers) {
      const told = `seed ${SEED}: ${client.clientId}`;
      const names = namesOf(client);
      const firsts = [...new Set(names)];
      const sent = sentTo.get(channel) ?? [];
      // A session that ends with its connection misses what came between its connections.
      if (kept) expect(firsts, told).toEqual(sent);
      else expect(firsts, told).toEqual(sent.filter((name) => firsts.includes(name)));
      if (qos === 2)
        expect(
          twice(names).filter((name) => name.startsWith('q2')),
          `${told}, twice at QoS 2`,
        ).toEqual([]);
    }
    for (const [index, { channel, sent }] of publishers.entries()) {
      const reader = new Rest(millrace.url, (readers[index] as Rest).authorization);
      const ofQos = (qos: number): string[] => sent.filter((name) => name.startsWith(`q${qos}`));
      await eventually('QoS 1 to be stored', SETTLED_MS_MAX, async () => {
        const stored = new Set(await storedNames(reader, channel));
        return ofQos(1).every((name) => stored.has(name));
      });
      const twoStored = twice(await storedNames(reader, channel)).filter((name) => name.startsWith('q2'));
      expect(twoStored, `seed ${SEED}: channel ${index}, QoS 2 stored twice`).toEqual([]);
      await eventually('QoS 2 to be stored', SETTLED_MS_MAX, async () => {
        const stored = new Set(await storedNames(reader, channel));
        return ofQos(2).every((name) => stored.has(name));
      });
    }
    const count = publishers.reduce((sum, { sent }) => sum + sent.length, 0);
    const received = persistent.reduce((sum, { client }) => sum + client.received.length, 0);
    const repeated = persistent.reduce((sum, { client }) => sum + client.repeated, 0);
    console.log(
      `${count} messages published; persistent sessions received ${received}, and ${repeated} repeats at QoS 2`,
    );
  });
});

const namesOf = ({ received }: LastingMqtt): string[] =>
  received.map(({ payload }) => /"n":"([^"]+)"/.exec(payload)?.[1] ?? payload);

/** Those that are there more than once. */
function twice(names: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].filter(([, count]) => count > 1).map(([name]) => name);
}
