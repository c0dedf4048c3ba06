import { once } from 'node:events';
import { EnvelopeReader, Protocol } from '@millrace/core';
import fc from 'fast-check';
import mqttJs from 'mqtt';
import type { IPublishPacket, Packet } from 'mqtt-packet';
import { afterEach, describe, expect, test } from 'vitest';
import { CHANNEL, KEY, THING } from '../testing/gate.ts';
import { type OpenMqtt, openMqtt, TOPIC } from './testing/open-mqtt.ts';
import { connectPacket, generate, RawMqtt } from './testing/raw-mqtt.ts';
import { RegistryAway } from './testing/registry-away.ts';
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

function stored(): { subtopic: string; contentType: string; qos: number; retain: boolean; text: string }[] {
  const reader = new EnvelopeReader();
  return (mqtt.log.records ?? []).map((record) => {
    if (!reader.open(record)) throw new Error('no envelope');
    expect(reader.protocol).toBe(Protocol.mqtt);
    const { subtopic, contentType, qos, retain } = reader;
    return { subtopic, contentType, qos, retain, text: Buffer.from(reader.payload).toString() };
  });
}
const refused = (reason: string): Promise<number> =>
  mqtt.count('millrace_ingest_messages_total', { protocol: 'mqtt', outcome: 'refused', reason });

describe('a publish', () => {
  test('carries subtopic, content type, QoS and RETAIN to the log', async () => {
    mqtt = await openMqtt();
    const client = await mqtt.client();
    client.send(
      publish(1, { topic: `${TOPIC}/a/b/senml-json` }),
      publish(2, { topic: 'channels/room/messages/ct/text_plain', qos: 0, retain: true, payload: 'kept' }),
      publish(3, { topic: `channel/${CHANNEL}/messages` }),
    );
    await client.next('puback');
    await client.next('puback');
    expect(stored()).toEqual([
      { subtopic: 'a/b', contentType: 'application/senml+json', qos: 1, retain: false, text: 'message 1' },
      { subtopic: '', contentType: 'text/plain', qos: 0, retain: true, text: 'kept' },
      { subtopic: '', contentType: 'application/senml+json', qos: 1, retain: false, text: 'message 3' },
    ]);
    expect([...mqtt.retained.messages.values()].map(({ payload }) => payload.toString())).toEqual(['kept']);
  });

  test('may be empty', async () => {
    mqtt = await openMqtt();
    const client = await mqtt.client();
    client.send(publish(1, { payload: '' }));
    await client.next('puback');
    expect(stored()).toMatchObject([{ text: '' }]);
  });

  test.each([
    ['channels/secret/messages', 'forbidden', 'forbidden'],
    ['channels/off/messages', 'forbidden', 'forbidden'],
    ['$SYS/broker', 'forbidden', 'forbidden'],
    ['channels/nowhere/messages', 'no_such_channel', 'forbidden'],
    [`m/other-org/c/${CHANNEL}`, 'no_such_channel', 'forbidden'],
    ['elsewhere', 'malformed_topic', 'malformed'],
    [`${TOPIC}//x`, 'malformed_topic', 'malformed'],
  ])('to %s ends the connection, and is counted as %s', async (topic, reason, close) => {
    mqtt = await openMqtt();
    const client = await mqtt.client();
    client.send(publish(1, { topic }), publish(2));
    await client.end();
    expect(client.packets).toEqual([]);
    expect(mqtt.log.count).toBe(0);
    expect(await refused(reason)).toBe(1);
    expect(await mqtt.count('millrace_mqtt_closes_total', { reason: close })).toBe(1);
  });

  test('is for naught once the key is revoked: the client is cut off within a second', async () => {
    mqtt = await openMqtt();
    const client = await mqtt.client();
    const { gate } = mqtt;
    const identify = gate.identify.bind(gate);
    gate.revoke(KEY);
    gate.identify = (credential) =>
      credential.kind === 'key' && credential.key === KEY
        ? { kind: 'refused', reason: 'unknown' }
        : identify(credential);
    await client.end();
    expect(await mqtt.count('millrace_mqtt_closes_total', { reason: 'revoked' })).toBe(1);
  });

  test('goes on when only something about the client has changed', async () => {
    mqtt = await openMqtt();
    const client = await mqtt.client();
    mqtt.gate.revoke(KEY);
    client.send(publish(1));
    await client.next('puback');
  });

  test('waits while the client changed and the registry is away', async () => {
    mqtt = await openMqtt();
    const client = await mqtt.client();
    mqtt.gate.failure = new RegistryAway();
    mqtt.gate.revoke(KEY);
    client.send(publish(1));
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(client.packets).toEqual([]);
    mqtt.gate.failure = null;
    await client.next('puback');
    expect(mqtt.log.count).toBe(1);
  });
});

describe('QoS 2', () => {
  test('is appended once, however often it is sent, until it is released', async () => {
    mqtt = await openMqtt();
    const client = await mqtt.client();
    mqtt.log.stalled = true;
    client.send(publish(5, { qos: 2 }), publish(5, { qos: 2, dup: true }), { cmd: 'pingreq' });
    await client.next('pingresp');
    expect(client.packets).toEqual([]);
    mqtt.log.stalled = false;
    mqtt.log.commit();
    await client.next('pubrec');
    client.send(publish(5, { qos: 2, dup: true }));
    await client.next('pubrec');
    expect(mqtt.log.count).toBe(1);
    client.send({ cmd: 'pubrel', messageId: 5 });
    await client.next('pubcomp');
    client.send(publish(5, { qos: 2 }));
    await client.next('pubrec');
    expect(mqtt.log.count).toBe(2);
  });

  test('is appended once though the client sends it again in its next connection', async () => {
    mqtt = await openMqtt();
    const first = await mqtt.client({ clientId: 'kept', clean: false });
    first.send(publish(5, { qos: 2 }));
    await first.next('pubrec');
    first.destroy();
    const second = await mqtt.client({ clientId: 'kept', clean: false });
    second.send(publish(5, { qos: 2, dup: true }), { cmd: 'pubrel', messageId: 5 });
    await second.next('pubrec');
    await second.next('pubcomp');
    expect(mqtt.log.count).toBe(1);
  });

  test('that a client takes over while it is on its way is answered when it is durable', async () => {
    mqtt = await openMqtt();
    const first = await mqtt.client({ clientId: 'kept', clean: false });
    mqtt.log.stalled = true;
    first.send(publish(5, { qos: 2 }), { cmd: 'pingreq' });
    await first.next('pingresp');
    const second = await mqtt.client({ clientId: 'kept', clean: false });
    second.send(publish(5, { qos: 2, dup: true }), { cmd: 'pingreq' });
    await second.next('pingresp');
    expect(second.packets).toEqual([]);
    mqtt.log.stalled = false;
    mqtt.log.commit();
    await second.next('pubrec');
    expect(mqtt.log.count).toBe(1);
  });

  test('beyond those that may be open ends the connection', async () => {
    mqtt = await openMqtt({ MILLRACE_MQTT_RECEIVED_MAX: '2' });
    const client = await mqtt.client();
    client.send(publish(1, { qos: 2 }), publish(2, { qos: 2 }), publish(3, { qos: 2 }));
    await client.end();
    expect(mqtt.log.count).toBe(2);
  });
});

describe('a retained publish', () => {
  test('is acknowledged once it is kept, those behind it after it', async () => {
    mqtt = await openMqtt();
    const client = await mqtt.client();
    mqtt.retained.away = true;
    client.send(publish(1, { retain: true }), publish(2), { cmd: 'pingreq' });
    await client.next('pingresp');
    await until('both are on the log', () => mqtt.log.count === 2);
    expect(client.packets).toEqual([]);
    mqtt.retained.away = false;
    expect((await client.next('puback')).messageId).toBe(1);
    expect((await client.next('puback')).messageId).toBe(2);
    expect(mqtt.retained.messages.size).toBe(1);
  });

  test('of QoS 1 ends the connection when it can’t be kept for too long', async () => {
    mqtt = await openMqtt({ MILLRACE_MQTT_LOG_AWAY_MS_MAX: '1000' });
    const client = await mqtt.client();
    mqtt.retained.away = true;
    client.send(publish(1, { retain: true }));
    await client.end();
    expect(client.packets).toEqual([]);
  });
});

test('what one client publishes another gets, through a client of others’ making', async () => {
  mqtt = await openMqtt();
  const options = { username: THING, password: KEY, reconnectPeriod: 0 };
  const [subscriber, publisher] = await Promise.all([
    mqttJs.connectAsync(`mqtt://127.0.0.1:${mqtt.port}`, { ...options, clientId: 'subscriber' }),
    mqttJs.connectAsync(`mqtt://127.0.0.1:${mqtt.port}`, { ...options, clientId: 'publisher' }),
  ]);
  const got: string[] = [];
  subscriber.on('message', (topic, payload) => got.push(`${topic} ${payload.toString()}`));
  const granted = await subscriber.subscribeAsync(`${TOPIC}/#`, { qos: 2 });
  expect(granted).toMatchObject([{ qos: 2 }]);
  const wanted: string[] = [];
  for (let index = 0; index < 30; index++) {
    wanted.push(`${TOPIC}/${index % 4} ${index}`);
    await publisher.publishAsync(`${TOPIC}/${index % 4}`, String(index), { qos: (index % 3) as 0 | 1 | 2 });
  }
  await until('all came', () => got.length >= wanted.length);
  expect(got).toEqual(wanted);
  await Promise.all([subscriber.endAsync(), publisher.endAsync()]);
});

describe('bad bytes', () => {
  const packets: readonly Packet[] = [
    connectPacket({
      username: THING,
      password: Buffer.from(KEY),
      will: { topic: TOPIC, payload: Buffer.from('w'), qos: 1, retain: false },
    }),
    publish(1),
    publish(2, { qos: 2, topic: `${TOPIC}/a/b` }),
    { cmd: 'subscribe', messageId: 3, subscriptions: [{ topic: `${TOPIC}/#`, qos: 1 }] },
    { cmd: 'unsubscribe', messageId: 4, unsubscriptions: [`${TOPIC}/#`] },
    { cmd: 'pubrel', messageId: 2 },
    { cmd: 'puback', messageId: 9 },
    { cmd: 'pingreq' },
  ];

  test('are no fault of ours, and disturb nobody else', async () => {
    mqtt = await openMqtt();
    const bystander = await mqtt.client({ clientId: 'bystander' });
    const all = packets.map((packet) => generate(packet));
    const change = fc.record({ at: fc.nat(400), byte: fc.nat(255), cut: fc.boolean() });
    let turn = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray(all.slice(1)),
        fc.array(change, { maxLength: 6 }),
        async (chosen, changes) => {
          const bytes = Buffer.concat([all[0] as Buffer, ...chosen]);
          for (const { at, byte, cut } of changes) if (!cut) bytes[at % bytes.length] = byte;
          const cut = changes.find((each) => each.cut);
          const client = new RawMqtt(mqtt.port);
          await once(client.socket, 'connect');
          client.send(cut === undefined ? bytes : bytes.subarray(0, 1 + (cut.at % bytes.length)));
          client.socket.end();
          await client.end();
          if (++turn % 50 !== 0) return;
          bystander.send(publish(1));
          await bystander.next('puback');
        },
      ),
      { numRuns: 400 },
    );
    expect(await mqtt.count('millrace_mqtt_faults_total', {})).toBe(0);
    await until(
      'nobody else is left',
      async () => (await mqtt.count('millrace_ingest_connections', { protocol: 'mqtt' })) === 1,
    );
  });

  test.each([
    ['QoS 3', [0x36, 5, 0, 1, 97, 0, 1]],
    ['DUP at QoS 0', [0x38, 3, 0, 1, 97]],
    ['packet id 0', [0x32, 5, 0, 1, 97, 0, 0]],
    ['a topic beyond the packet', [0x30, 3, 0, 9, 97]],
    ['no topic', [0x30, 1, 0]],
    ['a topic that is not UTF-8', [0x30, 4, 0, 2, 0xc3, 0x28]],
    ['PUBACK of one byte', [0x40, 1, 0]],
    ['PUBREL with wrong flags', [0x60, 2, 0, 1]],
    ['SUBSCRIBE without a filter', [0x82, 2, 0, 1]],
    ['SUBSCRIBE with packet id 0', [0x82, 6, 0, 0, 0, 1, 97, 0]],
    ['SUBSCRIBE with # before the end', [0x82, 8, 0, 1, 0, 3, 35, 47, 97, 0]],
    ['SUBSCRIBE with QoS 3', [0x82, 6, 0, 1, 0, 1, 97, 3]],
    ['UNSUBSCRIBE without a filter', [0xa2, 2, 0, 1]],
    ['a packet of the server', [0xd0, 0]],
    ['a packet of no type', [0x00, 0]],
    ['AUTH', [0xf0, 0]],
  ])('%s ends the connection', async (_what, bytes) => {
    mqtt = await openMqtt();
    const client = await mqtt.client();
    client.send(Buffer.from(bytes), publish(9));
    await client.end();
    expect(mqtt.log.count).toBe(0);
    expect(await mqtt.count('millrace_mqtt_faults_total', {})).toBe(0);
  });
});
