import fc from 'fast-check';
import type { Packet } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { Stage, type TestClient, until } from './testing/stage.ts';

const CHANNELS = ['chan-a', 'chan-b', 'chan-c'] as const;

type Step =
  | { readonly what: 'publish'; readonly channel: number; readonly qos: 1 | 2 }
  | { readonly what: 'answer'; readonly count: number }
  | { readonly what: 'leave' | 'kill' | 'takeover' | 'move' | 'away' | 'back' | 'pause' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      what: fc.constant('publish' as const),
      channel: fc.nat(CHANNELS.length - 1),
      qos: fc.constantFrom(1 as const, 2 as const),
    }),
  },
  { weight: 8, arbitrary: fc.record({ what: fc.constant('answer' as const), count: fc.integer({ min: 1, max: 8 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      what: fc.constantFrom('leave', 'kill', 'takeover', 'move', 'away', 'back', 'pause', 'pause'),
    }),
  },
);

/** A client that keeps its half of the protocol over all its connections. */
class LastingClient {
  readonly seen: { readonly topic: string; readonly text: string; readonly qos: number }[] = [];
  client!: TestClient;
  readonly #open = new Set<number>();
  #handled = 0;

  use(client: TestClient): void {
    this.client = client;
    this.#handled = 0;
  }

  /** Reads all that came; answers the next `count` packets. */
  answer(count: number): void {
    let left = count;
    for (; this.#handled < this.client.packets.length && left > 0; this.#handled++, left--) {
      const packet = this.client.packets[this.#handled] as Packet;
      const id = packet.messageId as number;
      if (packet.cmd === 'publish' && !(packet.qos === 2 && this.#open.has(id))) {
        if (packet.qos === 2) this.#open.add(id);
        this.seen.push({ topic: packet.topic, text: packet.payload.toString(), qos: packet.qos });
      } else if (packet.cmd === 'pubrel') this.#open.delete(id);
      this.client.acknowledge(packet);
    }
  }
}

async function run(steps: readonly Step[]): Promise<void> {
  const config = { MILLRACE_MQTT_IN_FLIGHT_MAX: 6, MILLRACE_MQTT_SAVE_MS: 10 };
  let stage = new Stage({ config });
  const { log, store, gate } = stage;
  let other = new Stage({ log, store, gate, config });
  const lasting = new LastingClient();
  const connect = async (): Promise<void> => lasting.use(await stage.connect('one', { acks: false }));
  await connect();
  await lasting.client.subscribeAll(CHANNELS.map((channel) => ({ topic: `channels/${channel}/messages`, qos: 2 })));
  const sent = new Map<string, { text: string; qos: number }[]>(CHANNELS.map((channel) => [channel, []]));
  let serial = 0;
  for (const each of steps) {
    if (each.what === 'publish') {
      const channel = CHANNELS[each.channel] as string;
      const text = `m${serial++}`;
      sent.get(channel)?.push({ text, qos: each.qos });
      await stage.publish(channel, '', text, { qos: each.qos });
    } else if (each.what === 'answer') lasting.answer(each.count);
    else if (each.what === 'pause') await new Promise((resolve) => setTimeout(resolve, 3));
    else if (each.what === 'away') store.away = true;
    else if (each.what === 'back') store.away = false;
    else {
      if (each.what === 'leave') lasting.client.leave();
      if (each.what === 'kill') {
        await stage.kill();
        lasting.client.close('fault');
        stage = new Stage({ log, store, gate, config });
      }
      if (each.what === 'move') [stage, other] = [other, stage];
      // A session that only the store has can't be opened while it is away.
      if (each.what !== 'takeover') store.away = false;
      await connect();
      expect(lasting.client.present).toBe(true);
    }
  }
  store.away = false;
  const distinct = (): number => new Set(lasting.seen.map(({ text }) => text)).size;
  await until(`all ${serial} came`, () => {
    lasting.answer(1_000);
    return distinct() === serial;
  });
  for (const [channel, messages] of sent) {
    const got = lasting.seen.filter(({ topic }) => topic === `channels/${channel}/messages`).map(({ text }) => text);
    expect([...new Set(got)], `first occurrences in ${channel}`).toEqual(messages.map(({ text }) => text));
    for (const { text, qos } of messages) {
      if (qos === 2)
        expect(
          got.filter((each) => each === text),
          `QoS 2 in ${channel}`,
        ).toHaveLength(1);
    }
  }
  await stage.kill();
  await other.kill();
}

test('loses nothing, keeps the order and shows QoS 2 once, whatever befalls client, node and store', async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 120 }), run), {
    numRuns: 40,
    endOnFailure: true,
  });
}, 120_000);
