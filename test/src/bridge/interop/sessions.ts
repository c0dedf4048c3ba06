import { describe, expect, test } from 'vitest';
import { textOf } from '../clients/raw-mqtt.ts';
import { type Broker, connected, messages, ownTopic, reconnected, uniqueId } from './broker.ts';

/** What outlives a connection. @source MQTT 3.1.1 §3.1.2.4, §4.4; Eclipse Paho's client_test.py */
export function describeSessions(at: () => Broker): void {
  describe('sessions', () => {
    test('messages for who is away wait, in order, without another SUBSCRIBE', async () => {
      const topic = ownTopic(at());
      const clientId = uniqueId('away');
      const first = await connected(at(), { clientId, clean: false });
      await first.subscribe([[`${topic}/#`, 2]]);
      await first.disconnect();
      const publisher = await connected(at());
      for (let index = 0; index < 20; index++)
        await publisher.publish(`${topic}/${index % 3}`, String(index), index % 2 === 0 ? 1 : 2);
      const { client, present } = await reconnected(at(), { clientId, clean: false });
      expect(present).toBe(true);
      const came = await messages(client, 20);
      expect(came.map((packet) => [textOf(packet), packet.qos, packet.dup])).toEqual(
        Array.from({ length: 20 }, (_, index) => [String(index), index % 2 === 0 ? 1 : 2, false]),
      );
      await client.disconnect();
    });

    test('what was not acknowledged is sent again, marked, under its id, before anything new', async () => {
      const topic = ownTopic(at());
      const clientId = uniqueId('redelivery');
      const first = await connected(at(), { clientId, clean: false });
      first.answers = false;
      await first.subscribe([[topic, 2]]);
      const publisher = await connected(at());
      for (const [text, qos] of [
        ['a', 1],
        ['b', 2],
        ['c', 1],
      ] as const)
        await publisher.publish(topic, text, qos);
      const before = await messages(first, 3);
      await first.cut();
      await publisher.publish(topic, 'd', 1);
      const { client, present } = await reconnected(at(), { clientId, clean: false });
      expect(present).toBe(true);
      const again = await messages(client, 4);
      expect(again.map((packet) => [textOf(packet), packet.qos, packet.dup])).toEqual([
        ['a', 1, true],
        ['b', 2, true],
        ['c', 1, true],
        ['d', 1, false],
      ]);
      expect(again.slice(0, 3).map((packet) => packet.messageId)).toEqual(before.map((packet) => packet.messageId));
      await client.until('PUBREL', () => client.packets.some((packet) => packet.cmd === 'pubrel'));
    });

    test('a QoS 2 message that the client has is not sent again: PUBREL is', async () => {
      const topic = ownTopic(at());
      const clientId = uniqueId('released');
      const first = await connected(at(), { clientId, clean: false });
      first.answers = false;
      await first.subscribe([[topic, 2]]);
      await (await connected(at())).publish(topic, 'once', 2);
      const [packet] = await messages(first, 1);
      const messageId = packet?.messageId as number;
      first.send({ cmd: 'pubrec', messageId });
      await first.answer('pubrel', messageId);
      await first.cut();
      const { client } = await reconnected(at(), { clientId, clean: false });
      await client.answer('pubrel', messageId);
      // PUBCOMP has left behind it.
      await client.ping();
      expect(client.messages).toEqual([]);
      await client.disconnect();
      const third = await connected(at(), { clientId, clean: false });
      await third.publish(topic, 'fence', 1);
      await messages(third, 1);
      expect(third.packets.filter((each) => each.cmd === 'pubrel' && each.messageId === messageId)).toEqual([]);
    });

    test('a QoS 2 message that the client sent again in its next connection is published once', async () => {
      const topic = ownTopic(at());
      const subscriber = await connected(at());
      await subscriber.subscribe([[topic, 2]]);
      const clientId = uniqueId('resend');
      const first = await connected(at(), { clientId, clean: false });
      first.send({ cmd: 'publish', topic, payload: 'once', qos: 2, retain: false, dup: false, messageId: 9 });
      await first.next('pubrec');
      await first.cut();
      const { client, present } = await reconnected(at(), { clientId, clean: false });
      expect(present).toBe(true);
      client.send({ cmd: 'publish', topic, payload: 'once', qos: 2, retain: false, dup: true, messageId: 9 });
      await client.next('pubrec');
      client.send({ cmd: 'pubrel', messageId: 9 });
      await client.next('pubcomp');
      await client.publish(topic, 'fence', 1);
      expect((await messages(subscriber, 2)).map(textOf)).toEqual(['once', 'fence']);
    });

    test('a clean session wipes what was kept, and keeps nothing', async () => {
      const topic = ownTopic(at());
      const clientId = uniqueId('wiped');
      const first = await connected(at(), { clientId, clean: false });
      await first.subscribe([[topic, 1]]);
      await first.disconnect();
      const publisher = await connected(at());
      await publisher.publish(topic, 'lost', 1);
      const clean = await reconnected(at(), { clientId, clean: true });
      expect(clean.present).toBe(false);
      await clean.client.subscribe([[`${topic}/clean`, 1]]);
      await clean.client.disconnect();
      const last = await reconnected(at(), { clientId, clean: false });
      expect(last.present).toBe(false);
      await last.client.subscribe([[`${topic}/fence`, 1]]);
      for (const name of ['', '/clean', '/fence']) await publisher.publish(topic + name, name, 1);
      expect((await messages(last.client, 1)).map(textOf)).toEqual(['/fence']);
    });

    test('a filter that was given up stays so in the next connection', async () => {
      const topic = ownTopic(at());
      const clientId = uniqueId('given-up');
      const first = await connected(at(), { clientId, clean: false });
      await first.subscribe([
        [`${topic}/a`, 1],
        [`${topic}/b`, 1],
      ]);
      await first.unsubscribe([`${topic}/a`]);
      await first.disconnect();
      const client = await connected(at(), { clientId, clean: false });
      for (const name of ['a', 'b']) await client.publish(`${topic}/${name}`, name, 1);
      expect((await messages(client, 1)).map(textOf)).toEqual(['b']);
    });
  });
}
