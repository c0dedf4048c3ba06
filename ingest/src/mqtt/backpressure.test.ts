import { EnvelopeReader } from '@millrace/core';
import type { IPublishPacket } from 'mqtt-packet';
import { afterEach, describe, expect, test } from 'vitest';
import { KEY, THING } from '../testing/gate.ts';
import { type OpenMqtt, openMqtt, TOPIC } from './testing/open-mqtt.ts';
import { connectPacket, generate, RawMqtt } from './testing/raw-mqtt.ts';
import { until } from './testing/until.ts';

let mqtt: OpenMqtt;
afterEach(() => mqtt.close());

const publish = (messageId: number, fields: Partial<IPublishPacket> = {}): IPublishPacket => ({
  cmd: 'publish',
  topic: TOPIC,
  payload: `message ${messageId}`,
  qos: 1,
  retain: false,
  dup: false,
  messageId,
  ...fields,
});
const burst = (count: number): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, index) => generate(publish(index + 1))));
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

async function acknowledged(client: RawMqtt, count: number): Promise<number[]> {
  const ids: number[] = [];
  while (ids.length < count) ids.push((await client.next('puback')).messageId as number);
  return ids;
}

function stored(): string[] {
  const reader = new EnvelopeReader();
  return (mqtt.log.records ?? []).map((record) => {
    if (!reader.open(record)) throw new Error('no envelope');
    return Buffer.from(reader.payload).toString();
  });
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The node has read and dealt with all that the client sent before. */
async function pinged(client: RawMqtt): Promise<void> {
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
}

describe('publishes', () => {
  test('are acknowledged when they are durable, and not before', async () => {
    mqtt = await openMqtt();
    mqtt.log.stalled = true;
    const client = await mqtt.client();
    client.send(burst(3));
    await pinged(client);
    expect(mqtt.log.count).toBe(3);
    expect(client.packets).toEqual([]);
    mqtt.log.commit();
    expect(await acknowledged(client, 3)).toEqual([1, 2, 3]);
  });

  test('beyond those that may wait are not read', async () => {
    mqtt = await openMqtt({ MILLRACE_MQTT_PUBLISHES_IN_FLIGHT_MAX: '4' });
    mqtt.log.stalled = true;
    const client = await mqtt.client();
    client.send(burst(20));
    await until('four wait', () => mqtt.log.count === 4);
    for (let round = 0; round < 20; round++) await turn();
    expect(mqtt.log.count).toBe(4);
    mqtt.log.stalled = false;
    mqtt.log.commit();
    expect(await acknowledged(client, 20)).toEqual(upTo(20));
  });

  test('of all clients together beyond those that may wait are not read', async () => {
    mqtt = await openMqtt({ MILLRACE_MQTT_IN_FLIGHT_MESSAGES_MAX: '3' });
    mqtt.log.stalled = true;
    const clients = [await mqtt.client({ clientId: 'one' }), await mqtt.client({ clientId: 'two' })];
    for (const client of clients) client.send(burst(5));
    await until('three wait', () => mqtt.log.count === 3);
    for (let round = 0; round < 20; round++) await turn();
    expect(mqtt.log.count).toBe(3);
    mqtt.log.stalled = false;
    mqtt.log.commit();
    for (const client of clients) expect(await acknowledged(client, 5)).toEqual(upTo(5));
  });

  test('keep their order when who may is decided in the middle', async () => {
    mqtt = await openMqtt();
    const client = await mqtt.client();
    mqtt.gate.cold = true;
    client.send(burst(30));
    expect(await acknowledged(client, 30)).toEqual(upTo(30));
    expect(stored()).toEqual(upTo(30).map((index) => `message ${index}`));
  });

  test('faster than they may come wait, none is lost', async () => {
    mqtt = await openMqtt({ MILLRACE_MQTT_RATE_PER_SECOND: '200', MILLRACE_MQTT_RATE_BURST: '2' });
    const client = await mqtt.client();
    const start = performance.now();
    client.send(burst(30));
    expect(await acknowledged(client, 30)).toEqual(upTo(30));
    // 28 of them wait for 5 ms each.
    expect(performance.now() - start).toBeGreaterThan(100);
  });
});

describe('a log without room', () => {
  test('acknowledges nothing; what waited goes in order once there is room', async () => {
    mqtt = await openMqtt();
    const client = await mqtt.client();
    mqtt.log.refusal = 'LOG_FULL';
    client.send(burst(10));
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(client.packets).toEqual([]);
    expect(client.closed).toBe(false);
    mqtt.log.refusal = null;
    expect(await acknowledged(client, 10)).toEqual(upTo(10));
    expect(stored()).toEqual(upTo(10).map((index) => `message ${index}`));
    client.send(publish(11));
    expect(await acknowledged(client, 1)).toEqual([11]);
  });

  test('for too long ends the connection, so that the client comes again', async () => {
    mqtt = await openMqtt({ MILLRACE_MQTT_LOG_AWAY_MS_MAX: '1000' });
    const client = await mqtt.client();
    mqtt.log.refusal = 'LOG_FULL';
    client.send(burst(3));
    await client.end();
    expect(client.packets).toEqual([]);
    expect(mqtt.log.count).toBe(0);
  });

  test('drops QoS 0 and counts it', async () => {
    mqtt = await openMqtt();
    const client = await mqtt.client();
    mqtt.log.refusal = 'LOG_FULL';
    client.send(...upTo(5).map(() => publish(0, { qos: 0 })));
    const labels = { protocol: 'mqtt', outcome: 'refused', reason: 'log_full' };
    await until('they are counted', async () => (await mqtt.count('millrace_ingest_messages_total', labels)) === 5);
    mqtt.log.refusal = null;
    client.send(publish(1));
    expect(await acknowledged(client, 1)).toEqual([1]);
  });

  test('gives a QoS 2 publish that it refused for good no place in the session', async () => {
    mqtt = await openMqtt({ MILLRACE_MQTT_LOG_AWAY_MS_MAX: '1000' });
    const first = await mqtt.client({ clientId: 'kept', clean: false });
    mqtt.log.refusal = 'LOG_FULL';
    first.send(publish(7, { qos: 2 }));
    await first.end();
    mqtt.log.refusal = null;
    const second = await mqtt.client({ clientId: 'kept', clean: false });
    second.send(publish(7, { qos: 2, dup: true }));
    expect((await second.next('pubrec')).messageId).toBe(7);
    expect(stored()).toEqual(['message 7']);
  });
});

test('a message that the log can never take ends the connection at once', async () => {
  mqtt = await openMqtt();
  mqtt.log.recordBytesMax = 1_000;
  const client = await mqtt.client();
  client.send(publish(1, { payload: Buffer.alloc(2_000) }));
  await client.end();
  expect(await mqtt.count('millrace_mqtt_closes_total', { reason: 'too_large' })).toBe(1);
});

test('who is not known yet can make the node hold little', async () => {
  mqtt = await openMqtt();
  const client = new RawMqtt(mqtt.port);
  client.send(Buffer.from([0x10, 0xff, 0xff, 0x3f]));
  await client.end();
  expect(await mqtt.count('millrace_mqtt_closes_total', { reason: 'too_large' })).toBe(1);
});

test('a filter for topics that there are not is refused alone', async () => {
  mqtt = await openMqtt();
  const client = await mqtt.client();
  const subscriptions = ['elsewhere/#', TOPIC, '$other/a'].map((topic) => ({ topic, qos: 1 as const }));
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions });
  expect((await client.next('suback')).granted).toEqual([128, 1, 128]);
});

test('QoS 0 publishes are stored though the client leaves right behind them', async () => {
  mqtt = await openMqtt();
  mqtt.gate.cold = true;
  const client = new RawMqtt(mqtt.port);
  client.send(
    connectPacket({ username: THING, password: Buffer.from(KEY) }),
    ...upTo(5).map((index) => publish(0, { qos: 0, payload: `message ${index}` })),
    { cmd: 'disconnect' },
  );
  client.socket.end();
  await client.end();
  await until('all are there', () => mqtt.log.count === 5);
  expect(stored()).toEqual(upTo(5).map((index) => `message ${index}`));
  expect(await mqtt.count('millrace_mqtt_closes_total', { reason: 'client' })).toBe(1);
});
