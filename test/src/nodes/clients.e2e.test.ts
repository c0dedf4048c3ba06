import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RawMqtt, textOf } from '../bridge/clients/raw-mqtt.ts';
import { ADMIN, logIn, TwoNodes } from '../control/two-nodes.ts';
import { eventually, newPublisher, type Publisher, type Rest } from '../millrace.ts';

const SOON_MS = 30_000;
/** A node that is killed is dead for the others after its lease; then its wills come. */
const DEATH_MS = 60_000;

const topicOf = ({ channel }: Publisher): string => `channels/${channel}/messages`;

describe('clients over two nodes of one registry', { timeout: 180_000 }, () => {
  let nodes: TwoNodes;
  let admin: Rest;

  beforeAll(async () => {
    nodes = await new TwoNodes({ MILLRACE_ROLES: 'ingest,registry' }).start();
    admin = await logIn(nodes.b, ADMIN);
  }, 180_000);
  afterAll(() => nodes?.dispose(), 120_000);

  test.each([
    ['clean', 'clean', true, true],
    ['clean', 'lasting', true, false],
    ['lasting', 'clean', false, true],
    ['lasting', 'lasting', false, false],
  ])(
    'a %s connection ends when its client opens a %s one on the other node',
    async (_before, _after, first, second) => {
      const thing = await newPublisher(admin, 'moving');
      const clientId = randomUUID();
      const { client: here } = await RawMqtt.connect(nodes.a, thing, { clientId, clean: first });
      const { client: bystander } = await RawMqtt.connect(nodes.a, thing, { clientId: randomUUID() });
      const { client: there } = await RawMqtt.connect(nodes.b, thing, { clientId, clean: second });
      await here.closed(SOON_MS);
      const { client: back } = await RawMqtt.connect(nodes.a, thing, { clientId, clean: first });
      await there.closed(SOON_MS);
      await back.ping();
      await bystander.ping();
      for (const client of [back, bystander]) await client.disconnect();
    },
  );

  test('of one client that comes to both at once again and again, one connection stays', async () => {
    const thing = await newPublisher(admin, 'storm');
    const clientId = randomUUID();
    const all: RawMqtt[] = [];
    for (let round = 0; round < 10; round++) {
      const both = await Promise.all([nodes.a, nodes.b].map((node) => RawMqtt.connect(node, thing, { clientId })));
      for (const { client } of both) all.push(client);
    }
    await eventually('one is left', SOON_MS, async () => all.filter(({ over }) => !over).length === 1);
    const left = all.find(({ over }) => !over) as RawMqtt;
    await left.ping();
    await left.disconnect();
  });

  test('a node that was stopped for so long that it was taken for dead ends the connections whose wills were published', async () => {
    const thing = await newPublisher(admin, 'stopped');
    const { client: watching } = await RawMqtt.connect(nodes.b, thing, { clientId: 'watching' });
    await watching.subscribe([[topicOf(thing), 1]]);
    const will = { topic: topicOf(thing), payload: Buffer.from('gone'), qos: 1 as const, retain: false };
    const { client: willed } = await RawMqtt.connect(nodes.a, thing, { clientId: 'willed', will });
    const { client: plain } = await RawMqtt.connect(nodes.a, thing, { clientId: 'plain' });
    await eventually('the will is kept', SOON_MS, async () => (await kept(nodes)) === 1);
    nodes.a.signal('SIGSTOP');
    try {
      await watching.until('the will', () => watching.messages.length > 0, DEATH_MS);
    } finally {
      nodes.a.signal('SIGCONT');
    }
    await willed.closed(SOON_MS);
    await plain.ping();
    await watching.ping();
    expect(watching.messages.map(textOf)).toEqual(['gone']);
    await eventually('nothing is kept', SOON_MS, async () => (await kept(nodes)) === 0);
    for (const client of [plain, watching]) await client.disconnect();
  });

  test('wills of a node that is killed are published by the other, once, by who may, and for who has not come back', async () => {
    const [loud, back, mute] = [
      await newPublisher(admin, 'loud'),
      await newPublisher(admin, 'back'),
      await newPublisher(admin, 'mute'),
    ];
    const watcher = await newPublisher(admin, 'watcher');
    for (const { channel } of [loud, back, mute])
      await admin.json('POST', '/connect', { channel_ids: [channel], thing_ids: [watcher.thing] });
    const { client: watching } = await RawMqtt.connect(nodes.b, watcher, { clientId: 'watcher' });
    expect(await watching.subscribe([loud, back, mute].map((each) => [topicOf(each), 1] as const))).toEqual([1, 1, 1]);
    const connect = (who: Publisher, node: 'a' | 'b', text: string) =>
      RawMqtt.connect(nodes[node], who, {
        clientId: `client-${who.thing}`,
        will: { topic: topicOf(who), payload: Buffer.from(text), qos: 1, retain: false },
      });
    await connect(loud, 'a', 'loud is gone');
    await connect(back, 'a', 'back is gone');
    await connect(mute, 'a', 'mute is gone');
    const { client: polite } = await connect(watcher, 'a', 'never said');
    await polite.disconnect();
    await eventually('the wills are kept', SOON_MS, async () => (await kept(nodes)) === 3);
    nodes.a.signal('SIGKILL');
    await nodes.a.ended();
    const { client: again } = await connect(back, 'b', 'back is gone again');
    await admin.json('POST', '/disconnect', { channel_ids: [mute.channel], thing_ids: [mute.thing] });
    await watching.until('the will', () => watching.messages.length > 0, DEATH_MS);
    await eventually('nothing is left of the dead', SOON_MS, async () => (await kept(nodes)) === 1);
    await again.ping();
    await watching.ping();
    expect(watching.messages.map(textOf)).toEqual(['loud is gone']);
    await again.cut();
    await watching.until('the second will', () => watching.messages.length > 1, SOON_MS);
    expect(watching.messages.map(textOf)).toEqual(['loud is gone', 'back is gone again']);
    await nodes.a.start();
  });
});

/** Clients with a will whose place is known. */
async function kept(nodes: TwoNodes): Promise<number> {
  return nodes.counted('registry.mqtt_clients WHERE will IS NOT NULL');
}
