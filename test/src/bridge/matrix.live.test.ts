import { encode } from 'cbor-x';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, Millrace, Rest } from '../millrace.ts';
import { expectStoredOnce } from '../stored.ts';
import { type Client, type ClientKind, type Identity, type Inbox, matches, type Topic } from './clients/client.ts';
import { KINDS } from './clients/kinds.ts';
import { newChannel, newThing, placeOf } from './rights.ts';

const SUBTOPIC = 'room/temp';
/** Filters of each subscriber; one connection each, so that none of them overlap. */
const FILTERS = [
  ['the channel', ''],
  ['a subtopic', SUBTOPIC],
  ['a wildcard', '#'],
  ['a level', 'room/+'],
] as const;
const ROUNDS = 2;
const DELIVERY_MS_MAX = 60_000;

interface Sent {
  readonly subtopic: string;
  readonly contentType: string;
  readonly payload: Buffer;
  /** Readings that it makes. */
  readonly names: readonly string[];
}

const missing = KINDS.flatMap((kind) => (kind.missing === null ? [] : [kind.missing]));
const publishers = KINDS.filter((kind) => kind.missing === null && kind.publishes);
const subscribers = KINDS.filter((kind) => kind.missing === null && kind.subscribes);

describe.skipIf(missing.length > 0)(
  `every protocol to every other${missing.map((why) => ` (${why})`).join('')}`,
  () => {
    const millrace = new Millrace();
    const clients: Client[] = [];
    /** What each publisher sent, by its name. */
    const sent = new Map<string, readonly Sent[]>();
    const channels = new Map<string, string>();
    /** What came, by subscriber and filter. */
    const inboxes = new Map<string, Inbox>();
    let reader: Rest;

    beforeAll(async () => {
      await millrace.start();
      const admin = await Rest.asAdmin(millrace);
      for (const { name } of publishers) channels.set(name, await newChannel(admin, name));
      const publishing = await newThing(admin, 'publisher', [...channels.values()], ['publish']);
      const subscribing = await newThing(admin, 'subscriber', [...channels.values()], ['subscribe']);
      reader = admin.as(`Thing ${subscribing.key}`);

      // A few programs at a time: a small machine starts some fifty.
      for (const kind of subscribers) {
        await Promise.all(
          FILTERS.map(async ([, subtopic]) => {
            const client = await open(kind, subscribing);
            const topics = [...channels.values()].map((channel): Topic => ({ channel, subtopic }));
            inboxes.set(`${kind.name} ${subtopic}`, await client.subscribe(topics, { qos: 1 }));
          }),
        );
      }
      await Promise.all(
        publishers.map(async (kind, index) => {
          const client = await open(kind, publishing);
          const channel = channels.get(kind.name) as string;
          const messages = messagesOf(`p${index}`, kind.publishesEmpty);
          sent.set(kind.name, messages);
          for (const { subtopic, contentType, payload } of messages)
            await client.publish({ channel, subtopic }, payload, { contentType, qos: 1 });
        }),
      );
    }, 180_000);
    afterAll(async () => {
      await Promise.allSettled(clients.map((client) => client.close()));
      await millrace.dispose();
    }, 120_000);

    async function open(kind: ClientKind, identity: Identity): Promise<Client> {
      const client = await kind.connect(placeOf(millrace), identity);
      clients.push(client);
      return client;
    }

    describe.each(subscribers.map((kind) => kind.name))('%s', (subscriber) => {
      test.each(FILTERS)(
        'gets what every publisher sent to %s: once, in order, byte for byte',
        async (_what, filter) => {
          const inbox = inboxes.get(`${subscriber} ${filter}`) as Inbox;
          const wanted = new Map(
            publishers.map(({ name }) => [
              name,
              (sent.get(name) ?? []).filter(({ subtopic }) => matches(filter, subtopic)),
            ]),
          );
          const count = [...wanted.values()].reduce((sum, messages) => sum + messages.length, 0);
          expect(count).toBeGreaterThan(publishers.length * 4);
          await inbox.until(count, `${subscriber} on "${filter}"`, DELIVERY_MS_MAX);
          for (const { name } of publishers) {
            const came = inbox.messages.filter(({ channel }) => channel === channels.get(name));
            const messages = wanted.get(name) ?? [];
            expect(
              came.map(({ payload }) => payload.toString('latin1')),
              `from ${name}`,
            ).toEqual(messages.map(({ payload }) => payload.toString('latin1')));
            for (const [index, { subtopic, contentType, retain }] of came.entries()) {
              expect([messages[index]?.subtopic, null], `from ${name}`).toContain(subtopic);
              expect([messages[index]?.contentType, null], `from ${name}`).toContain(contentType);
              expect(retain).not.toBe(true);
            }
          }
          expect(inbox.messages.length).toBe(count);
          expect(inbox.over).toBeNull();
        },
      );
    });

    test.each(publishers.map((kind) => kind.name))(
      'what %s published is stored once, blobs as they are',
      async (name) => {
        const channel = channels.get(name) as string;
        const messages = sent.get(name) ?? [];
        const names = messages.flatMap((message) => message.names);
        expect(names.length).toBe(ROUNDS * 2 * 4);
        await expectStoredOnce(reader, channel, names, name);
        const wanted = messages.filter(
          ({ contentType, payload }) => !contentType.includes('senml') && payload.length > 0,
        );
        const bytes = await eventually(`the payloads of ${name}`, DELIVERY_MS_MAX, async () => {
          const path = `/channels/${channel}/payloads?limit=100`;
          const { payloads } = await reader.json<{ payloads: { id: string }[] }>('GET', path);
          const answers = await Promise.all(payloads.map(({ id }) => reader.raw('GET', `/messages/${id}/payload`)));
          const bodies = await Promise.all(answers.map(async (answer) => Buffer.from(await answer.arrayBuffer())));
          return payloads.length >= wanted.length && answers.every(({ ok }) => ok) && bodies;
        });
        const sorted = (payloads: readonly Buffer[]): string[] =>
          payloads.map((each) => each.toString('latin1')).toSorted();
        expect(sorted(bytes)).toEqual(sorted(wanted.map(({ payload }) => payload)));
      },
    );

    test('nothing became a dead letter', async () => {
      const admin = await Rest.asAdmin(millrace);
      const { dead_letters: letters } = await admin.json<{ dead_letters: unknown[] }>('GET', '/dead-letters');
      expect(letters).toEqual([]);
    });
  },
);

/** Everything that a client may publish, marked so that each reading's name tells who sent it. */
function messagesOf(mark: string, empty: boolean): Sent[] {
  const messages: Sent[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (const subtopic of ['', SUBTOPIC]) {
      const name = `${mark}-${round}-${subtopic.replace('/', '-')}`;
      const add = (contentType: string, payload: Buffer, ...names: string[]): void => {
        messages.push({ subtopic, contentType, payload, names });
      };
      add('application/senml+json', Buffer.from(`[ {"n":"${name}-j", "u":"Cel", "v":21.50} ]`), `${name}-j`);
      add(
        'application/senml+cbor',
        encode([
          new Map<number, unknown>([
            [0, `${name}-c`],
            [2, 0.5],
          ]),
        ]),
        `${name}-c`,
      );
      add(
        'application/json',
        Buffer.from(`{ "${name}-o": {"x": 1.0, "text":"ü€😀"} }`),
        `${name}-o.x`,
        `${name}-o.text`,
      );
      add(
        'application/octet-stream',
        Buffer.from(Uint8Array.from({ length: 300 }, (_, index) => (index * 7 + round) & 0xff)),
      );
      add('application/octet-stream', Buffer.from([0]));
      add('application/octet-stream', Buffer.from('\0\r\n\0'));
      if (empty) add('application/octet-stream', Buffer.alloc(0));
    }
  }
  return messages;
}
