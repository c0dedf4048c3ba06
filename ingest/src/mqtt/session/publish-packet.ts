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

/** Whether the payload follows the bytes that `Packets` gives. */
export const followsAtMostOnce = ({ payload }: DeliveredMessage): boolean => payload.length > WHOLE_PAYLOAD_BYTES_MAX;
export const followsWithId = ({ payload }: DeliveredMessage): boolean => payload.length > COPIED_PAYLOAD_BYTES_MAX;

/** PUBLISH packets of live messages, encoded once for all that get a message under one topic.
 *  @holds what it gives is never written to again. A message's first topic is remembered here, until the next message;
 *         further ones with the message itself, which most messages never need */
export class Packets {
  #message: DeliveredMessage | null = null;
  #topic = '';
  #whole: Buffer | null = null;
  #withId: Buffer | null = null;

  /** A whole QoS 0 packet (or its head, where the payload is large): the same buffer for everyone. */
  atMostOnce(message: DeliveredMessage, topic: string): Buffer {
    if (this.#isFirst(message, topic)) {
      this.#whole ??= encodeAtMostOnce(message, topic);
      return this.#whole;
    }
    const key = `mqtt0 ${topic}`;
    let bytes = message.encoded.get(key);
    if (bytes === undefined) {
      bytes = encodeAtMostOnce(message, topic);
      message.encoded.set(key, bytes);
    }
    return bytes;
  }

  /** A packet of QoS 1 or 2: a copy of another's, with an id of its own. */
  withId(message: DeliveredMessage, topic: string, qos: 1 | 2, packetId: number): Buffer {
    const first = this.#isFirst(message, topic);
    const common = first ? this.#withId : message.encoded.get(`mqtt1 ${topic}`);
    if (common === undefined || common === null) {
      const bytes = encodePublish({ topic, qos, retain: false, duplicate: false, packetId }, message.payload);
      if (first) this.#withId = bytes;
      else message.encoded.set(`mqtt1 ${topic}`, bytes);
      return bytes;
    }
    const size = common.length;
    const out = Buffer.allocUnsafe(size);
    common.copy(out);
    out[0] = 0x30 | (qos << 1);
    const at = size - 2 - (followsWithId(message) ? 0 : message.payload.length);
    out[at] = packetId >>> 8;
    out[at + 1] = packetId & 0xff;
    return out;
  }

  #isFirst(message: DeliveredMessage, topic: string): boolean {
    if (this.#message === message) return this.#topic === topic;
    this.#message = message;
    this.#topic = topic;
    this.#whole = null;
    this.#withId = null;
    return true;
  }
}

const encodeAtMostOnce = ({ payload }: DeliveredMessage, topic: string): Buffer =>
  encodePublish({ topic, qos: 0, retain: false, duplicate: false, packetId: 0 }, payload, WHOLE_PAYLOAD_BYTES_MAX);

/** @source MQTT 3.1.1 §3.6 */
export function pubrel(packetId: number): Buffer {
  const out = Buffer.allocUnsafe(4);
  out[0] = 0x62;
  out[1] = 2;
  out[2] = packetId >>> 8;
  out[3] = packetId & 0xff;
  return out;
}
