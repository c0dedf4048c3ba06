import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, Millrace, Rest } from '../millrace.ts';
import type { Client, ClientKind, Identity, Inbox } from './clients/client.ts';
import { fetchClient } from './clients/fetch.ts';
import { mqttJs } from './clients/mqtt-js.ts';
import { wsChannel, wsMany } from './clients/ws.ts';
import { newChannel, newThing, placeOf } from './rights.ts';

const KINDS = [mqttJs('tcp'), mqttJs('ws'), wsChannel, wsMany, fetchClient];
const REVOKED_MS_MAX = 1_000;
/** How long it is looked at what still comes. */
const AFTERWARDS_MS = 2_500;
const INTERVAL_MS = 15;

interface Way {
  readonly name: string;
  /** Whether the client is nobody any more, so that its connection ends; else its subscription alone does. */
  readonly nobody: boolean;
  revoke(admin: Rest, thing: string, channel: string): Promise<unknown>;
}
const pair = (channel: string, thing: string) => ({ channel_ids: [channel], thing_ids: [thing] });
const WAYS: readonly Way[] = [
  {
    name: 'its connection to the channel is removed',
    nobody: false,
    revoke: (admin, thing, channel) => admin.json('POST', '/disconnect', pair(channel, thing)),
  },
  {
    name: 'it may only publish',
    nobody: false,
    revoke: (admin, thing, channel) =>
      admin.json('POST', '/disconnect', { ...pair(channel, thing), types: ['subscribe'] }),
  },
  { name: 'it is disabled', nobody: true, revoke: (admin, thing) => admin.json('POST', `/things/${thing}/disable`) },
  {
    name: 'its key is changed',
    nobody: true,
    revoke: (admin, thing) => admin.json('PATCH', `/things/${thing}/key`, {}),
  },
  { name: 'it is deleted', nobody: true, revoke: (admin, thing) => admin.json('DELETE', `/things/${thing}`) },
];

interface Subscriber {
  readonly kind: ClientKind;
  readonly way: Way | null;
  readonly identity: Identity;
  readonly client: Client;
  readonly inbox: Inbox;
  /** When its revocation was answered. */
  revokedMs: number;
}

describe('a subscriber that may no longer read', () => {
  const millrace = new Millrace();
  const subscribers: Subscriber[] = [];
  /** When each message was about to be published, by its number. */
  const sentMs: number[] = [];
  /** The longest that a message took to be acknowledged: what this machine adds to every time that is taken. */
  let slowestMs = 0;
  let channel: string;

  beforeAll(async () => {
    await millrace.start();
    const admin = await Rest.asAdmin(millrace);
    channel = await newChannel(admin, 'watched');
    const publisher = await fetchClient.connect(
      placeOf(millrace),
      await newThing(admin, 'publisher', [channel], ['publish']),
    );
    for (const kind of KINDS) {
      for (const way of [null, ...WAYS]) {
        const identity = await newThing(admin, `${kind.name}, ${way?.name}`, [channel]);
        const client = await kind.connect(placeOf(millrace), identity);
        const inbox = await client.subscribe([{ channel, subtopic: '' }]);
        subscribers.push({ kind, way, identity, client, inbox, revokedMs: 0 });
      }
    }
    let over = false;
    const publishing = (async () => {
      while (!over) {
        const begin = performance.now();
        sentMs.push(begin);
        await publisher.publish({ channel, subtopic: '' }, Buffer.from(`[{"n":"n","v":${sentMs.length - 1}}]`));
        slowestMs = Math.max(slowestMs, performance.now() - begin);
        await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
      }
    })();
    publishing.catch(() => {});
    await Promise.all(subscribers.map(({ inbox, kind }) => inbox.until(10, `${kind.name}, before`)));
    await Promise.all(
      subscribers.map(async (subscriber) => {
        await subscriber.way?.revoke(admin, subscriber.identity.thing, channel);
        subscriber.revokedMs = performance.now();
      }),
    );
    await new Promise((resolve) => setTimeout(resolve, AFTERWARDS_MS));
    over = true;
    await publishing;
    const others = subscribers.filter(({ way }) => way === null);
    await Promise.all(others.map(({ inbox, kind }) => inbox.until(sentMs.length, `${kind.name}, afterwards`)));
    await publisher.close();
  }, 180_000);
  afterAll(async () => {
    await Promise.allSettled(subscribers.map(({ client }) => client.close()));
    await millrace.dispose();
  }, 120_000);

  const numbers = ({ inbox }: Subscriber): number[] =>
    inbox.messages.map(({ payload }) => (JSON.parse(payload.toString('utf8')) as [{ v: number }])[0].v);
  const of = (kind: string, way: Way | null): Subscriber => {
    const found = subscribers.find((each) => each.kind.name === kind && each.way === way);
    if (found === undefined) throw new Error(`no ${kind}`);
    return found;
  };

  describe.each(KINDS.map(({ name }) => name))('by %s', (kind) => {
    test.each(WAYS)('gets nothing more within a second when $name', (way) => {
      const subscriber = of(kind, way);
      const came = numbers(subscriber);
      expect(came).toEqual(sentMs.slice(0, came.length).map((_, index) => index));
      expect(came.length).toBeLessThan(sentMs.length);
      const lastMs = (sentMs[came.length - 1] as number) - subscriber.revokedMs;
      expect(lastMs, `the last message was sent ${lastMs.toFixed(0)} ms after`).toBeLessThan(
        REVOKED_MS_MAX + slowestMs,
      );
    });

    test.each(WAYS)('is told the end in the way of its protocol when $name', async (way) => {
      const { inbox, client } = of(kind, way);
      const told = way.nobody || !kind.startsWith('mqtt');
      if (told) await eventually('the end', 10_000, async () => inbox.over !== null);
      else {
        // MQTT 3.1.1 has no word for a subscription that ends, but it has one for the next SUBSCRIBE.
        expect(inbox.over).toBeNull();
        await expect(client.subscribe([{ channel, subtopic: '' }])).rejects.toThrow(/refused|128|Subscribe error/i);
      }
    });

    test('and the others get every message, in order', () => {
      const came = numbers(of(kind, null));
      expect(came).toEqual(sentMs.map((_, index) => index));
    });
  });
});
