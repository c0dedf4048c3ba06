import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Millrace, Rest } from '../millrace.ts';
import { MosquittoBroker, missingBroker } from './clients/mosquitto-broker.ts';
import { textOf } from './clients/raw-mqtt.ts';
import { type Broker, connected, endConnections, messagesBefore, ownTopic } from './interop/broker.ts';
import { describeConnections } from './interop/connections.ts';
import { describeMessages } from './interop/messages.ts';
import { describeSessions } from './interop/sessions.ts';
import { newChannel, newThing } from './rights.ts';

endConnections();

describe.skipIf(missingBroker !== null)(
  `MQTT 3.1.1 as Mosquitto speaks it${missingBroker === null ? '' : ` (${missingBroker})`}`,
  () => {
    const reference = new MosquittoBroker();
    let broker: Broker;
    beforeAll(async () => {
      await reference.start();
      broker = { mqtt: reference.mqtt, identity: { thing: 'anybody', key: 'none' }, root: 'channels/c/messages' };
    });
    afterAll(() => reference.dispose());
    describeConnections(() => broker);
    describeMessages(() => broker);
    describeSessions(() => broker);
  },
);

describe('MQTT 3.1.1 as a node speaks it', () => {
  const millrace = new Millrace();
  let broker: Broker;
  beforeAll(async () => {
    await millrace.start();
    const admin = await Rest.asAdmin(millrace);
    const channel = await newChannel(admin, 'interoperability');
    const identity = await newThing(admin, 'interoperability', [channel]);
    broker = { mqtt: millrace.mqtt, identity, root: `channels/${channel}/messages` };
  }, 120_000);
  afterAll(() => millrace.dispose(), 120_000);
  describeConnections(() => broker);
  describeMessages(() => broker);
  describeSessions(() => broker);

  test('a message that several filters of a client match comes once, with the highest QoS', async () => {
    const topic = ownTopic(broker);
    const [publisher, subscriber] = [await connected(broker), await connected(broker)];
    await subscriber.subscribe([
      [`${topic}/#`, 0],
      [`${topic}/+`, 2],
      [`${topic}/a`, 1],
    ]);
    await publisher.publish(`${topic}/a`, 'once', 2);
    await publisher.publish(`${topic}/fence`, 'fence', 2);
    const came = await messagesBefore(subscriber, 'fence');
    expect(came.map((packet) => [textOf(packet), packet.qos])).toEqual([['once', 2]]);
  });
});
