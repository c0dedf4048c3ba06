import { generate } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { textOf } from '../clients/raw-mqtt.ts';
import { type Broker, connected, messages, opened, ownTopic, reconnected, uniqueId } from './broker.ts';

/** CONNECT as no library would write it. */
function hello(name: string, level: number, flags = 2, words: readonly string[] = ['odd']): Buffer {
  const body = Buffer.concat([text(name), Buffer.from([level, flags, 0, 0]), ...words.map(text)]);
  const size = body.length < 128 ? [body.length] : [(body.length & 0x7f) | 0x80, body.length >> 7];
  return Buffer.concat([Buffer.from([0x10, ...size]), body]);
}
const text = (value: string): Buffer => Buffer.concat([Buffer.from([0, value.length]), Buffer.from(value)]);

/** How connections begin and end. @source MQTT 3.1.1 §3.1, §4.8; Eclipse Paho's client_test.py */
export function describeConnections(at: () => Broker): void {
  describe('connections', () => {
    test('one client id connects and says good-bye again and again', async () => {
      const clientId = uniqueId('again');
      for (let round = 0; round < 5; round++) {
        const client = await connected(at(), { clientId });
        await client.ping();
        await client.disconnect();
      }
    });

    test('the second connection with a client id ends the first', async () => {
      const clientId = uniqueId('two');
      const first = await connected(at(), { clientId });
      const second = await connected(at(), { clientId });
      await first.closed();
      await second.ping();
    });

    test('a second CONNECT on a connection ends it', async () => {
      const client = await connected(at(), { clientId: uniqueId('twice') });
      client.send({ cmd: 'connect', clientId: 'b', protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 0 });
      await client.closed();
    });

    test('an empty client id works with a clean session alone', async () => {
      const broker = at();
      const kept = await opened(broker);
      const { thing, key } = broker.identity;
      kept.socket.write(hello('MQTT', 4, 0xc0, ['', thing, key]));
      expect((await kept.next('connack')).returnCode).toBe(2);
      await kept.closed();
      const [first, second] = [await connected(broker, { clientId: '' }), await connected(broker, { clientId: '' })];
      await first.ping();
      await second.ping();
    });

    test('MQTT 3.1 is spoken too', async () => {
      const client = await connected(at(), { clientId: uniqueId('31').slice(0, 23), version: 3 });
      const topic = ownTopic(at());
      expect(await client.subscribe([[topic, 1]])).toEqual([1]);
      await client.publish(topic, 'three', 1);
      expect((await messages(client, 1)).map(textOf)).toEqual(['three']);
    });

    test('a level that nobody knows is refused with return code 1, another protocol by the end alone', async () => {
      const level = await opened(at());
      level.socket.write(hello('MQTT', 9));
      expect((await level.next('connack')).returnCode).toBe(1);
      await level.closed();
      const other = await opened(at());
      other.socket.write(hello('hj', 4));
      await other.closed();
      expect(other.packets.filter((packet) => packet.cmd === 'connack' && packet.returnCode === 0)).toEqual([]);
    });

    test.each([
      ['a will of QoS 3', 0x1e, ['odd', 'WILL', 'x']],
      ['a will of QoS 3 that is to be retained', 0x3e, ['odd', 'WILL', 'x']],
      ['a QoS for no will', 0x0a, ['odd']],
      ['no will that is to be retained', 0x22, ['odd']],
      ['the reserved flag', 0x03, ['odd']],
    ])('a CONNECT with %s is not let in', async (_what, flags, words) => {
      const broker = at();
      const { thing, key } = broker.identity;
      const client = await opened(broker);
      const named = words.map((word) => word.replace('WILL', ownTopic(broker)));
      client.socket.write(hello('MQTT', 4, flags | 0xc0, [...named, thing, key]));
      await client.until('the end', () => client.over || client.packets.length > 0);
      await client.cut();
      expect(client.packets.filter((packet) => packet.cmd === 'connack' && packet.returnCode === 0)).toEqual([]);
      // Nor does it do any harm.
      await (await connected(broker)).ping();
    });

    test('whoever does not begin with CONNECT is cut off', async () => {
      for (const packet of [{ cmd: 'pingreq' }, { cmd: 'disconnect' }] as const) {
        const client = await opened(at());
        client.send(packet);
        await client.closed();
      }
    });

    test('who is silent for one and a half times its keep-alive is cut off, and its will is published', async () => {
      const topic = ownTopic(at());
      const watcher = await connected(at());
      await watcher.subscribe([[topic, 2]]);
      const will = { topic, payload: Buffer.from('silent'), qos: 1 as const, retain: false };
      const client = await connected(at(), { clientId: uniqueId('silent'), keepalive: 1, will });
      const begin = performance.now();
      await client.closed(30_000);
      expect(performance.now() - begin).toBeGreaterThan(900);
      expect((await messages(watcher, 1)).map(textOf)).toEqual(['silent']);
    });

    test('who sends PINGREQ within its keep-alive stays', async () => {
      const client = await connected(at(), { keepalive: 3 });
      const end = performance.now() + 5_500;
      while (performance.now() < end) {
        await client.ping();
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
      expect(client.over).toBe(false);
    });

    test('a will is published when the connection is lost, and not after DISCONNECT', async () => {
      const [lost, left, fence] = [ownTopic(at()), ownTopic(at()), ownTopic(at())];
      const watcher = await connected(at());
      await watcher.subscribe([lost, left, fence].map((topic) => [topic, 2]));
      const will = (topic: string) => ({ topic, payload: Buffer.from('gone'), qos: 2 as const, retain: false });
      const leaving = await connected(at(), { clientId: uniqueId('left'), will: will(left) });
      await leaving.disconnect();
      const losing = await connected(at(), { clientId: uniqueId('lost'), will: will(lost) });
      await losing.cut();
      const [first] = await messages(watcher, 1);
      expect(first).toMatchObject({ topic: lost, qos: 2, retain: false });
      await watcher.publish(fence, 'fence', 1);
      expect((await messages(watcher, 2)).map((packet) => packet.topic)).toEqual([lost, fence]);
    });

    test('a will is published when another connection takes the client id over', async () => {
      const topic = ownTopic(at());
      const watcher = await connected(at());
      await watcher.subscribe([[topic, 0]]);
      const clientId = uniqueId('taken');
      const will = { topic, payload: Buffer.from('taken'), qos: 0 as const, retain: false };
      await connected(at(), { clientId, will });
      await connected(at(), { clientId });
      expect((await messages(watcher, 1)).map(textOf)).toEqual(['taken']);
    });

    test('a will that is to be retained is', async () => {
      const topic = ownTopic(at());
      const will = { topic, payload: Buffer.from('last word'), qos: 1 as const, retain: true };
      const watcher = await connected(at());
      await watcher.subscribe([[topic, 1]]);
      await (await connected(at(), { clientId: uniqueId('retained'), will })).cut();
      await messages(watcher, 1);
      // It is kept soon after it is delivered.
      let kept: string[] = [];
      for (let round = 0; round < 100 && kept.length === 0; round++) {
        const late = await connected(at());
        await late.subscribe([[topic, 1]]);
        await new Promise((resolve) => setTimeout(resolve, 50 + 10 * round));
        kept = late.messages.filter((packet) => packet.retain).map(textOf);
        await late.cut();
      }
      expect(kept).toEqual(['last word']);
      await watcher.publish(topic, '', 1, true);
    });

    test('session present tells whether there was one', async () => {
      const clientId = uniqueId('present');
      const present = async (clean: boolean): Promise<boolean> => {
        const told = await reconnected(at(), { clientId, clean });
        await told.client.disconnect();
        return told.present;
      };
      expect(await present(false)).toBe(false);
      expect(await present(false)).toBe(true);
      expect(await present(true)).toBe(false);
      expect(await present(false)).toBe(false);
      expect(await present(true)).toBe(false);
    });

    test.each([
      [
        'PUBLISH to a topic with a wildcard',
        () => generate({ cmd: 'publish', topic: 'a/b', payload: 'x', qos: 0, retain: false, dup: false }),
        (bytes: Buffer) => bytes.fill('#', 6, 7),
      ],
      [
        'PUBLISH with QoS 3',
        () => generate({ cmd: 'publish', topic: 'a/b', payload: 'x', qos: 2, retain: false, dup: false, messageId: 1 }),
        (bytes: Buffer) => bytes.fill(0x36, 0, 1),
      ],
      [
        'PUBLISH with packet id 0',
        () => generate({ cmd: 'publish', topic: 'a/b', payload: 'x', qos: 1, retain: false, dup: false, messageId: 1 }),
        (bytes: Buffer) => bytes.fill(0, 8, 9),
      ],
      [
        'PUBLISH with NUL in its topic',
        () => generate({ cmd: 'publish', topic: 'a/b', payload: 'x', qos: 0, retain: false, dup: false }),
        (bytes: Buffer) => bytes.fill(0, 4, 5),
      ],
      ['SUBSCRIBE without a filter', () => Buffer.from([0x82, 2, 0, 1]), (bytes: Buffer) => bytes],
      [
        'SUBSCRIBE with wrong flags',
        () => generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a', qos: 0 }] }),
        (bytes: Buffer) => bytes.fill(0x80, 0, 1),
      ],
      [
        'SUBSCRIBE with QoS 3',
        () => generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a', qos: 0 }] }),
        (bytes: Buffer) => bytes.fill(3, bytes.length - 1),
      ],
      [
        'SUBSCRIBE with # before the end',
        () => generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '#/a', qos: 0 }] }),
        (bytes: Buffer) => bytes,
      ],
      ['UNSUBSCRIBE without a filter', () => Buffer.from([0xa2, 2, 0, 1]), (bytes: Buffer) => bytes],
      ['PUBREL with wrong flags', () => Buffer.from([0x60, 2, 0, 1]), (bytes: Buffer) => bytes],
      ['a packet of type 15', () => Buffer.from([0xf0, 0]), (bytes: Buffer) => bytes],
      ['a length of five bytes', () => Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01]), (bytes: Buffer) => bytes],
    ])('%s ends the connection', async (_name, make, change) => {
      const client = await connected(at(), { clientId: uniqueId('odd') });
      client.socket.write(change(make()));
      await client.closed();
    });

    test('packets may come byte by byte, and many at once', async () => {
      const topic = ownTopic(at());
      const client = await connected(at());
      await client.subscribe([[topic, 1]]);
      const packet = (payload: string, messageId: number): Buffer =>
        generate({ cmd: 'publish', topic, payload, qos: 1, retain: false, dup: false, messageId });
      for (const byte of packet('slow', 100)) {
        client.socket.write(Buffer.from([byte]));
        await new Promise((resolve) => setImmediate(resolve));
      }
      client.socket.write(
        Buffer.concat(Array.from({ length: 50 }, (_, index) => packet(`fast ${index}`, 200 + index))),
      );
      const wanted = ['slow', ...Array.from({ length: 50 }, (_, index) => `fast ${index}`)];
      expect((await messages(client, 51)).map(textOf)).toEqual(wanted);
    });
  });
}
