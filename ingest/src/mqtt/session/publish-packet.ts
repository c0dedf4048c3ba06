import type { DeliveredMessage } from '@millrace/core';

// hot
/** Up to this size a payload is copied behind its head: cheaper than a buffer more in the socket's queue. */
const COPIED_PAYLOAD_BYTES_MAX = 512;
/** Up to this size a QoS 0 packet is made whole once for all subscribers of a topic. */
const WHOLE_PAYLOAD_BYTES_MAX = 16_384;

export interface PublishHead {
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly duplicate: boolean;
  readonly packetId: number;
}

/** The head of a PUBLISH, and its payload behind it where that is small.
 *  @source MQTT 3.1.1 §3.3 */
export function encodePublish(head: PublishHead, payload: Buffer, copyBytesMax = COPIED_PAYLOAD_BYTES_MAX): Buffer {
  const { topic, qos, retain, duplicate, packetId } = head;
  const topicBytes = Buffer.byteLength(topic);
  const variable = 2 + topicBytes + (qos === 0 ? 0 : 2);
  let remaining = variable + payload.length;
  const sizeBytes = remaining < 128 ? 1 : remaining < 16_384 ? 2 : remaining < 2_097_152 ? 3 : 4;
  const copied = payload.length <= copyBytesMax;
  const out = Buffer.allocUnsafe(1 + sizeBytes + variable + (copied ? payload.length : 0));
  out[0] = 0x30 | (duplicate ? 8 : 0) | (qos << 1) | (retain ? 1 : 0);
  let at = 1;
  for (let left = sizeBytes; left > 0; left--) {
    out[at++] = (remaining & 0x7f) | (left > 1 ? 0x80 : 0);
    remaining >>>= 7;
  }
  out[at++] = topicBytes >>> 8;
  out[at++] = topicBytes & 0xff;
  at += out.write(topic, at);
  if (qos !== 0) {
    out[at++] = packetId >>> 8;
    out[at++] = packetId & 0xff;
  }
  if (copied) payload.copy(out, at);
  return out;
}

/** Keys under which packets of a topic are kept with a message. */
export interface TopicKeys {
  readonly topic: string;
  readonly qos0: string;
  readonly qos1: string;
}
export const keysOf = (topic: string): TopicKeys => ({ topic, qos0: `mqtt0 ${topic}`, qos1: `mqtt1 ${topic}` });

/** A whole QoS 0 PUBLISH (or its head, where the payload is large): the same buffer for everyone. */
export function publishAtMostOnce(message: DeliveredMessage, keys: TopicKeys): Buffer {
  let bytes = message.encoded.get(keys.qos0);
  if (bytes === undefined) {
    const head = { topic: keys.topic, qos: 0, retain: false, duplicate: false, packetId: 0 } as const;
    bytes = encodePublish(head, message.payload, WHOLE_PAYLOAD_BYTES_MAX);
    message.encoded.set(keys.qos0, bytes);
  }
  return bytes;
}

export const followsAtMostOnce = (message: DeliveredMessage): boolean =>
  message.payload.length > WHOLE_PAYLOAD_BYTES_MAX;

/** A QoS 1 or 2 PUBLISH: a copy of the common bytes with an id of its own. */
export function publishWithId(message: DeliveredMessage, keys: TopicKeys, qos: 1 | 2, packetId: number): Buffer {
  let common = message.encoded.get(keys.qos1);
  if (common === undefined) {
    const head = { topic: keys.topic, qos: 1, retain: false, duplicate: false, packetId: 0 } as const;
    common = encodePublish(head, message.payload);
    message.encoded.set(keys.qos1, common);
  }
  const size = common.length;
  const out = Buffer.allocUnsafe(size);
  common.copy(out);
  if (qos === 2) out[0] = 0x34;
  const at = size - 2 - (followsWithId(message) ? 0 : message.payload.length);
  out[at] = packetId >>> 8;
  out[at + 1] = packetId & 0xff;
  return out;
}

export const followsWithId = (message: DeliveredMessage): boolean => message.payload.length > COPIED_PAYLOAD_BYTES_MAX;

/** @source MQTT 3.1.1 §3.6 */
export function pubrel(packetId: number): Buffer {
  const out = Buffer.allocUnsafe(4);
  out[0] = 0x62;
  out[1] = 2;
  out[2] = packetId >>> 8;
  out[3] = packetId & 0xff;
  return out;
}
