import type { IPublishPacket } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import type { Qos } from '../clients/client.ts';
import { textOf } from '../clients/raw-mqtt.ts';
import { type Broker, connected, messages, messagesBefore, ownTopic } from './broker.ts';

const LEVELS = [0, 1, 2] as const;

/** How messages find their subscribers. @source MQTT 3.1.1 §3.3, §3.8, §4.3, §4.7; Eclipse Paho's client_test.py */
export function describeMessages(at: () => Broker): void {
  describe('messages', () => {
    test('come with the QoS of the publisher or that of the subscription, whichever is less', async () => {
      const topic = ownTopic(at());
      const publisher = await connected(at());
      const subscribers = await Promise.all(LEVELS.map(() => connected(at())));
      for (const qos of LEVELS) expect(await subscribers[qos]?.subscribe([[topic, qos]])).toEqual([qos]);
      for (const qos of LEVELS) await publisher.publish(topic, `qos ${qos}`, qos);
      for (const granted of LEVELS) {
        const came = await messages(subscribers[granted] as (typeof subscribers)[0], 3);
        expect(came.map((packet) => [textOf(packet), packet.qos])).toEqual(
          LEVELS.map((qos) => [`qos ${qos}`, Math.min(qos, granted)]),
        );
        expect(came.every((packet) => !packet.dup && !packet.retain)).toBe(true);
      }
    });

    test('keep their order', async () => {
      const topic = ownTopic(at());
      const [publisher, subscriber] = [await connected(at()), await connected(at())];
      await subscriber.subscribe([[topic, 2]]);
      const wanted = Array.from({ length: 200 }, (_, index) => String(index));
      await Promise.all(wanted.map((text) => publisher.publish(topic, text, 1)));
      expect((await messages(subscriber, 200)).map(textOf)).toEqual(wanted);
    });

    test('of QoS 2 come once, however often PUBLISH and PUBREL are repeated', async () => {
      const topic = ownTopic(at());
      const [publisher, subscriber] = [await connected(at()), await connected(at())];
      await subscriber.subscribe([[topic, 2]]);
      const send = (dup: boolean): void =>
        publisher.send({ cmd: 'publish', topic, payload: 'once', qos: 2, retain: false, dup, messageId: 77 });
      send(false);
      await publisher.next('pubrec');
      send(true);
      await publisher.next('pubrec');
      for (let round = 0; round < 2; round++) {
        publisher.send({ cmd: 'pubrel', messageId: 77 });
        await publisher.next('pubcomp');
      }
      await publisher.publish(topic, 'fence', 2);
      expect((await messagesBefore(subscriber, 'fence')).map(textOf)).toEqual(['once']);
      // The id is free again.
      send(false);
      await publisher.next('pubrec');
      publisher.send({ cmd: 'pubrel', messageId: 77 });
      await publisher.next('pubcomp');
      await subscriber.until('the third', () => subscriber.messages.length === 3);
    });

    test('PUBREL of an unknown id is answered', async () => {
      const client = await connected(at());
      client.send({ cmd: 'pubrel', messageId: 4_711 });
      expect((await client.next('pubcomp')).messageId).toBe(4_711);
    });

    test('of 200,000 bytes arrive as they are', async () => {
      const topic = ownTopic(at());
      const client = await connected(at());
      await client.subscribe([[topic, 1]]);
      const payload = Buffer.from(Uint8Array.from({ length: 200_000 }, (_, index) => (index * 31) & 0xff));
      await client.publish(topic, payload, 1);
      const [came] = await messages(client, 1);
      expect(Buffer.compare(came?.payload as Buffer, payload)).toBe(0);
    });

    test.each([
      ['', ['', 'a', 'a/b']],
      ['/#', ['', 'a', 'a/b', 'b', 'b/c/d']],
      ['/+', ['a', 'b']],
      ['/+/b', ['a/b']],
      ['/a/#', ['a', 'a/b']],
      ['/+/+/#', ['a/b', 'b/c/d']],
      ['/b/+/d', ['b/c/d']],
    ])('a filter that ends in "%s" takes what it stands for', async (filter, wanted) => {
      const root = ownTopic(at());
      const client = await connected(at());
      await client.subscribe([[root + filter, 1]]);
      await client.subscribe([[`${root}-fence`, 1]]);
      for (const topic of ['', '/a', '/a/b', '/b', '/b/c/d']) await client.publish(root + topic, 'x', 1);
      await client.publish(`${root}-fence`, 'fence', 1);
      const came = (await messagesBefore(client, 'fence')).map((packet) => packet.topic.slice(root.length + 1));
      expect(came).toEqual(filter === '' ? [''] : wanted);
    });

    test('of overlapping filters come with the highest QoS', async () => {
      const topic = ownTopic(at());
      const [publisher, subscriber] = [await connected(at()), await connected(at())];
      expect(
        await subscriber.subscribe([
          [`${topic}/#`, 2],
          [`${topic}/a`, 1],
        ]),
      ).toEqual([2, 1]);
      await publisher.publish(`${topic}/a`, 'both', 2);
      await publisher.publish(`${topic}/b`, 'fence', 2);
      const came = await messagesBefore(subscriber, 'fence');
      // A broker may send one, or one for each filter.
      expect([1, 2]).toContain(came.length);
      expect(Math.max(...came.map((packet) => packet.qos))).toBe(2);
    });

    test('stop with UNSUBSCRIBE, of that filter alone', async () => {
      const topic = ownTopic(at());
      const client = await connected(at());
      await client.subscribe([
        [`${topic}/a`, 2],
        [`${topic}/b`, 2],
        [`${topic}/c`, 2],
      ]);
      await client.unsubscribe([`${topic}/a`, `${topic}/never`]);
      for (const name of ['a', 'b', 'c']) await client.publish(`${topic}/${name}`, name, 1);
      expect((await messagesBefore(client, 'c')).map(textOf)).toEqual(['b']);
    });

    test('of $ topics are hidden from wildcards', async () => {
      const topic = ownTopic(at());
      const client = await connected(at());
      await client.subscribe([
        ['#', 0],
        ['+/#', 0],
        ['+/broker/#', 0],
      ]);
      await client.publish(topic, 'fence', 1);
      await messages(client, 1);
      await client.ping();
      expect(client.messages.filter((packet) => packet.topic.startsWith('$'))).toEqual([]);
    });
  });

  describe('retained messages', () => {
    const retained = async (topic: string, count: number): Promise<IPublishPacket[]> => {
      const late = await connected(at());
      await late.subscribe([[topic, 2]]);
      const came = [...(await messages(late, count))];
      await late.ping();
      expect(late.messages.length).toBe(came.length);
      return came.toSorted((a, b) => (a.topic < b.topic ? -1 : 1));
    };

    test('are sent to later subscribers, marked, with their QoS; the last of each topic; until they are cleared', async () => {
      const topic = ownTopic(at());
      const publisher = await connected(at());
      for (const qos of [1, 2] as const) {
        await publisher.publish(`${topic}/q${qos}`, 'old', qos, true);
        await publisher.publish(`${topic}/q${qos}`, `qos ${qos}`, qos, true);
      }
      const came = await retained(`${topic}/+`, 2);
      expect(came.map((packet) => [packet.topic, textOf(packet), packet.qos, packet.retain])).toEqual([
        [`${topic}/q1`, 'qos 1', 1, true],
        [`${topic}/q2`, 'qos 2', 2, true],
      ]);
      await publisher.publish(`${topic}/q1`, '', 1, true);
      expect((await retained(`${topic}/+`, 1)).map(textOf)).toEqual(['qos 2']);
      await publisher.publish(`${topic}/q2`, '', 1, true);
      await publisher.publish(`${topic}/fence`, 'fence', 1, true);
      expect((await retained(`${topic}/+`, 1)).map(textOf)).toEqual(['fence']);
      await publisher.publish(`${topic}/fence`, '', 1, true);
    });

    test('come as any other message to who is subscribed already, also those that clear', async () => {
      const topic = ownTopic(at());
      const client = await connected(at());
      await client.subscribe([[topic, 1]]);
      await client.publish(topic, 'now', 1, true);
      await client.publish(topic, '', 1, true);
      expect((await messages(client, 2)).map((packet) => [textOf(packet), packet.retain])).toEqual([
        ['now', false],
        ['', false],
      ]);
    });

    test('are sent again when one subscribes again, with the QoS of the new subscription', async () => {
      const topic = ownTopic(at());
      const client = await connected(at());
      await client.publish(topic, 'kept', 1, true);
      for (const [index, qos] of ([1, 0] as const satisfies Qos[]).entries()) {
        await client.subscribe([[topic, qos]]);
        const came = await messages(client, index + 1);
        expect([came[index]?.retain, came[index]?.qos]).toEqual([true, qos]);
      }
      await client.publish(topic, '', 1, true);
    });
  });
}
