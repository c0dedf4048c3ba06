import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { FakeBroker } from './testing/fake-broker.ts';
import { brokered, MemoryDirectory } from './testing/memory-directory.ts';
import { type OpenLora, openLora, until } from './testing/open-lora.ts';

const DEV_EUI = '0101010101010101';
const UP = JSON.parse(
  readFileSync(new URL('../../../test/lora/chirpstack-v4/up.json', import.meta.url), 'utf8'),
) as Record<string, unknown>;
const TOPIC = `application/app/device/${DEV_EUI}/event/up`;

function uplink(fCnt: number, devEui = DEV_EUI): string {
  const deviceInfo = { devEui, applicationId: 'app', deviceName: 'a sensor' };
  return JSON.stringify({ ...UP, deduplicationId: randomUUID(), fCnt, deviceInfo });
}

async function world(
  broker: FakeBroker,
  settings: Readonly<Record<string, string>> = {},
): Promise<OpenLora & { url: string }> {
  const url = await broker.start();
  const directory = new MemoryDirectory();
  directory.addChannel('app');
  directory.addThing(DEV_EUI);
  directory.addServer(brokered('one', url));
  const lora = await openLora({ MILLRACE_LORA_RECONNECT_MS_MAX: '200', ...settings }, { directory });
  return Object.assign(lora, { url });
}
const stateOf = ({ directory }: OpenLora, id = 'one') => directory.reports.get(id)?.state;
const connected = (lora: OpenLora, id = 'one') => until(`${id} is connected`, () => stateOf(lora, id) === 'connected');
const counters = (lora: OpenLora) =>
  lora
    .appended()
    .filter(({ subtopic, dead }) => subtopic === 'radio' && dead === '')
    .map(({ text }) => (JSON.parse(text) as { n: string; v: number }[]).find(({ n }) => n === 'f_cnt')?.v);

describe('the connection with a broker', () => {
  test('subscribes to the events as one of a group, and keeps its session', async () => {
    await using broker = new FakeBroker();
    await using lora = await world(broker);
    await connected(lora);
    const [connect] = broker.connects;
    expect(connect).toMatchObject({ protocolVersion: 5, clean: false });
    expect(connect?.clientId).toMatch(/^millrace-one-.+-test$/);
    const subscribe = broker.received.find(({ cmd }) => cmd === 'subscribe');
    const topic = '$share/millrace/application/+/device/+/event/+';
    expect(subscribe).toMatchObject({ subscriptions: [{ topic, qos: 1 }] });
  });

  test('stores an uplink, which is two messages, on a channel that takes one a second', async () => {
    await using broker = new FakeBroker();
    await using lora = await world(broker);
    lora.gate.limits = { messagesPerSecond: 1 };
    lora.gate.changed();
    await connected(lora);
    broker.publish(TOPIC, uplink(1));
    broker.publish(TOPIC, uplink(2));
    await until('both are stored', () => counters(lora).length === 2);
    expect(counters(lora)).toEqual([1, 2]);
  });

  test('speaks 3.1.1 to a broker that knows nothing newer', async () => {
    await using broker = new FakeBroker();
    broker.protocolMax = 4;
    await using lora = await world(broker);
    await connected(lora);
    expect(broker.connects.map(({ protocolVersion }) => protocolVersion)).toEqual([5, 4]);
  });

  test('tells that it is refused, and tries on', async () => {
    await using broker = new FakeBroker();
    broker.refusal = 134;
    await using lora = await world(broker);
    await until('it is refused', () => stateOf(lora) === 'refused');
    expect(lora.directory.reports.get('one')?.detail).not.toBe('');
    broker.refusal = 0;
    await connected(lora);
  });

  test('tells that its subscription is not granted', async () => {
    await using broker = new FakeBroker();
    broker.granted = 135;
    await using lora = await world(broker);
    await until('it is refused', () => stateOf(lora) === 'refused');
    expect(lora.directory.reports.get('one')?.detail).toContain('subscribe');
  });

  test('is opened again when it is lost', async () => {
    await using broker = new FakeBroker();
    await using lora = await world(broker);
    await connected(lora);
    broker.cut();
    await until('it comes again', () => broker.connects.length === 2);
    await connected(lora);
  });

  test('ends with a packet that is too large, before anybody gathers it', async () => {
    await using broker = new FakeBroker();
    await using lora = await world(broker, { MILLRACE_LORA_EVENT_BYTES_MAX: '1024' });
    await connected(lora);
    // PUBLISH of 200 MiB, of which nothing follows.
    broker.socket?.write(Buffer.from([0x32, 0x80, 0x80, 0x80, 0x64]));
    await until('it comes again', () => broker.connects.length === 2);
    expect(lora.appended()).toEqual([]);
  });

  test('follows its server: changed, disabled, gone; one that is wrong disturbs no other', async () => {
    await using broker = new FakeBroker();
    await using lora = await world(broker);
    await connected(lora);
    lora.directory.addServer(brokered('two', 'mqtt://127.0.0.1:1'));
    lora.directory.addServer(brokered('three', 'no URL at all'));
    await until('the others are not connected', () =>
      ['two', 'three'].every((id) => stateOf(lora, id) === 'disconnected'),
    );
    broker.publish(TOPIC, uplink(1));
    await until('the event is acknowledged', () => broker.acknowledged.length === 1);
    lora.directory.addServer(brokered('one', lora.url, { topic: 'eu868/#', share: '' }, { version: 2 }));
    await until('it subscribes anew', () =>
      broker.received.some((packet) => packet.cmd === 'subscribe' && packet.subscriptions[0]?.topic === 'eu868/#'),
    );
    lora.directory.addServer(brokered('one', lora.url, {}, { version: 3, enabled: false }));
    await until('it leaves', () => broker.received.at(-1)?.cmd === 'disconnect');
  });

  test('is not made to a private address where that is off', async () => {
    await using broker = new FakeBroker();
    await using lora = await world(broker, { MILLRACE_LORA_PRIVATE_ADDRESSES: 'off' });
    const port = lora.url.split(':').at(-1);
    lora.directory.addServer(brokered('name', `mqtt://localhost:${port}`));
    await until('both are told', () => ['one', 'name'].every((id) => stateOf(lora, id) === 'disconnected'));
    for (const id of ['one', 'name']) expect(lora.directory.reports.get(id)?.detail).toContain('no public address');
    expect(broker.connects).toEqual([]);
  });
});

describe('an event', () => {
  test('is acknowledged only once all of it is durable', async () => {
    await using broker = new FakeBroker();
    await using lora = await world(broker);
    await connected(lora);
    lora.log.stalled = true;
    const id = broker.publish(TOPIC, uplink(1));
    await until('it is appended', () => lora.log.count === 2);
    expect(broker.acknowledged).toEqual([]);
    lora.log.stalled = false;
    lora.log.commit();
    await until('it is acknowledged', () => broker.acknowledged.includes(id));
    const [content, radio] = lora.appended();
    expect([content?.subtopic, radio?.subtopic]).toEqual(['up/1', 'radio']);
    expect(content?.dedupKey).toMatch(/^lora\/.+\/up\/up$/);
    expect(content?.timeUs).toBe(Date.parse('2026-07-18T09:34:15.775Z') * 1_000 + 23);
  });

  test('waits for a log that is full, in the order of its device, and nothing is acknowledged', async () => {
    await using broker = new FakeBroker();
    await using lora = await world(broker);
    await connected(lora);
    lora.log.refusal = 'LOG_FULL';
    const ids = [1, 2, 3].map((fCnt) => broker.publish(TOPIC, uplink(fCnt)));
    const asked = lora.gate.asked;
    await until('they have tried', () => lora.gate.asked > asked || lora.directory.asked > 3);
    expect(broker.acknowledged).toEqual([]);
    lora.log.refusal = null;
    await until('all are acknowledged', () => broker.acknowledged.length === 3);
    expect(broker.acknowledged).toEqual(ids);
    expect(counters(lora)).toEqual([1, 2, 3]);
  });

  test('that comes again while the first one waits, by another connection, is stored once', async () => {
    await using broker = new FakeBroker();
    await using lora = await world(broker);
    await connected(lora);
    lora.log.stalled = true;
    const event = uplink(1);
    broker.publish(TOPIC, event);
    await until('it is appended', () => lora.log.count === 2);
    broker.cut();
    await until('it comes again', () => broker.connects.length === 2);
    await connected(lora);
    const again = broker.publish(TOPIC, event);
    lora.log.stalled = false;
    lora.log.commit();
    await until('it is acknowledged', () => broker.acknowledged.includes(again));
    expect(lora.log.count).toBe(2);
  });

  test('is not read while as many wait as may', async () => {
    await using broker = new FakeBroker();
    await using lora = await world(broker, { MILLRACE_LORA_EVENTS_IN_FLIGHT_MAX: '2' });
    await connected(lora);
    expect(broker.connects[0]?.properties).toMatchObject({ receiveMaximum: 2 });
    lora.log.stalled = true;
    const euis = Array.from({ length: 8 }, (_, index) => `020202020202020${index}`);
    for (const devEui of euis) lora.directory.addThing(devEui);
    for (const devEui of euis) broker.publish(TOPIC, uplink(1, devEui));
    await until('two are appended', () => lora.log.count === 4);
    // Those that were not read are nowhere yet.
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(lora.log.count).toBe(4);
    lora.log.stalled = false;
    lora.log.commit();
    await until('all are acknowledged', () => broker.acknowledged.length === 8);
  });

  test('waits for a registry that is away', async () => {
    await using broker = new FakeBroker();
    await using lora = await world(broker);
    await connected(lora);
    const { MillraceError } = await import('@millrace/core');
    lora.directory.failure = new MillraceError('REGISTRY_UNREACHABLE', 'later');
    const { asked } = lora.directory;
    broker.publish(TOPIC, uplink(1));
    await until('it was asked twice', () => lora.directory.asked >= asked + 2);
    expect(broker.acknowledged).toEqual([]);
    lora.directory.failure = null;
    await until('it is acknowledged', () => broker.acknowledged.length === 1);
    expect(counters(lora)).toEqual([1]);
  });

  test('of QoS 0 is taken too', async () => {
    await using broker = new FakeBroker();
    await using lora = await world(broker);
    await connected(lora);
    broker.publish(TOPIC, uplink(4), 0);
    await until('it is stored', () => counters(lora).includes(4));
  });
});

test('a downlink is published to its device, and waits for a broker that is away', async () => {
  await using broker = new FakeBroker();
  await using lora = await world(broker);
  await connected(lora);
  const command = {
    id: '019f7a10-5c8e-7abc-9def-0123456789ab',
    org: brokered('one', '').org,
    thing: `many-${DEV_EUI}`,
    kind: 'lora.downlink',
    expiresMs: Date.now() + 60_000,
  } as const;
  await lora.commands.put({ ...command, arguments: { f_port: 7, hex: 'ff', confirmed: true } });
  await until('it is settled', () => lora.commands.settled.length === 1);
  const [sent] = broker.published;
  expect(sent?.topic).toBe(`application/app/device/${DEV_EUI}/command/down`);
  expect(JSON.parse(String(sent?.payload))).toMatchObject({ id: command.id, fPort: 7, data: '/w==', confirmed: true });
  expect(lora.commands.settled[0]).toEqual([command.id, expect.objectContaining({ state: 'sent' })]);
  await lora.commands.put({ ...command, arguments: { f_port: 7, hex: 'ff', flush: true } });
  await until('it has failed', () => lora.commands.settled.length === 2);
  expect(lora.commands.settled[1]?.[1]).toMatchObject({ state: 'failed', detail: expect.stringContaining('http.url') });
  broker.cut();
  await until('the node has noticed', () => stateOf(lora) === 'disconnected');
  await lora.commands.put({ ...command, arguments: { f_port: 7, hex: 'ff' } });
  await until('it is taken once the broker is back', () => lora.commands.settled.length === 3);
  expect(lora.commands.settled[2]?.[1]).toMatchObject({ state: 'sent' });
  expect(broker.published).toHaveLength(2);
});
