import { createHash } from 'node:crypto';
import { type DeliveredMessage, Protocol } from '@millrace/core';
import fc from 'fast-check';
import { type IPublishPacket, parser } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { encodePublish, followsAtMostOnce, followsWithId, Packets, pubrel } from './publish-packet.ts';

function decoded(...parts: readonly Buffer[]): IPublishPacket[] {
  const packets: IPublishPacket[] = [];
  const reader = parser({ protocolVersion: 4 });
  reader.on('packet', (packet) => packets.push(packet as IPublishPacket));
  for (const part of parts) reader.parse(part);
  return packets;
}

/** As a short text: the runner compares buffers byte by byte, slowly. */
const digest = (payload: Buffer | string): string => createHash('sha1').update(payload).digest('hex');
const digested = (packets: readonly IPublishPacket[]) =>
  packets.map((packet) => ({ ...packet, payload: digest(packet.payload) }));

function message(payload: Buffer): DeliveredMessage {
  const text = { id: 'i', org: 'o', channel: 'c', subtopic: '', publisher: 'p', contentType: '' };
  const encoded = new Map<string, Buffer>();
  return {
    ...text,
    partition: 0,
    offset: 0,
    protocol: Protocol.mqtt,
    receivedUs: 0,
    qos: 2,
    retain: false,
    payload,
    encoded,
  };
}

test('writes what the codec of others reads, whatever topic and payload', () => {
  const topic = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 300 }).filter((text) => !text.includes('\0'));
  const size = fc.oneof(fc.nat(300), fc.constantFrom(120, 127, 128, 511, 512, 513, 16_384, 16_385, 2_097_152));
  fc.assert(
    fc.property(
      topic,
      size,
      fc.constantFrom(0, 1, 2),
      fc.boolean(),
      fc.integer({ min: 1, max: 65_535 }),
      (name, bytes, qos, retain, packetId) => {
        const payload = Buffer.alloc(bytes, 7);
        const head = encodePublish({ topic: name, qos, retain, duplicate: qos > 0, packetId }, payload);
        const [packet, none] = bytes > 512 ? decoded(head, payload) : decoded(head);
        expect(none).toBeUndefined();
        expect(packet).toMatchObject({ cmd: 'publish', topic: name, qos, retain, dup: qos > 0 });
        expect(packet?.messageId).toBe(qos === 0 ? undefined : packetId);
        expect(packet?.payload.length).toBe(bytes);
      },
    ),
    { numRuns: 150 },
  );
});

test('shares one QoS 0 packet among all subscribers of a topic, whatever others get between', () => {
  for (const size of [0, 10, 512, 513, 20_000]) {
    const packets = new Packets();
    const one = message(Buffer.alloc(size, 1));
    const rest = followsAtMostOnce(one) ? [one.payload] : [];
    for (const topic of ['channels/c/messages', 'm/o/c/c']) {
      const bytes = packets.atMostOnce(one, topic);
      expect(digested(decoded(bytes, ...rest))).toMatchObject([{ qos: 0, topic, payload: digest(one.payload) }]);
      packets.withId(one, 'm/o/c/c', 1, 7);
      packets.atMostOnce(one, 'another');
      expect(packets.atMostOnce(one, topic)).toBe(bytes);
    }
    expect(packets.atMostOnce(message(one.payload), 'another')).not.toBe(packets.atMostOnce(one, 'another'));
  }
});

test('gives each subscriber an id of its own and never writes to what it has given', () => {
  for (const size of [0, 10, 512, 513, 20_000]) {
    const packets = new Packets();
    const one = message(Buffer.alloc(size, 1));
    const rest = followsWithId(one) ? [one.payload] : [];
    for (const topic of ['channels/c/messages', 'm/o/c/c']) {
      const all = ([1, 2, 1] as const).map((qos, index) => packets.withId(one, topic, qos, 513 + index * 30_000));
      expect(digested(decoded(...all.flatMap((bytes) => [bytes, ...rest])))).toMatchObject([
        { topic, qos: 1, messageId: 513, payload: digest(one.payload), dup: false, retain: false },
        { topic, qos: 2, messageId: 30_513, payload: digest(one.payload) },
        { topic, qos: 1, messageId: 60_513, payload: digest(one.payload) },
      ]);
    }
  }
});

test('writes PUBREL with its reserved bits', () => {
  expect([...pubrel(258)]).toEqual([0x62, 2, 1, 2]);
});
