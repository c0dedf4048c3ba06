import { createHash } from 'node:crypto';
import type { LoraKind } from '@millrace/core';
import { chirpStackV3Event } from './chirpstack-v3.ts';
import { CHIRPSTACK_V3_EVENTS } from './chirpstack-v3-messages.ts';
import { chirpStackV4Event } from './chirpstack-v4.ts';
import { CHIRPSTACK_V4_EVENTS } from './chirpstack-v4-messages.ts';
import type { LoraEvent } from './lora-event.ts';
import { EventFault, Members } from './members.ts';
import { decode, structValue } from './protobuf.ts';
import { theThingsStackEvent } from './tts-v3.ts';

/** An event, or why it is none, with what could be told about its device all the same. */
export type ReadEvent =
  | { readonly kind: 'event'; readonly event: LoraEvent }
  | { readonly kind: 'bad'; readonly detail: string };

export type EventFormat = 'json' | 'protobuf';

/** Reads what a network server sent. Pure.
 *  @param name of the event, as topic or query say it; The Things Stack's events need none
 *  @throws never */
export function readEvent(kind: LoraKind, format: EventFormat, name: string, bytes: Uint8Array): ReadEvent {
  try {
    const digest = createHash('sha256').update(bytes).digest('hex').slice(0, 32);
    const members = kind === 'tts-v3' ? new Members(parse(bytes)) : chirpStack(kind, format, name, bytes);
    if (kind === 'tts-v3') return { kind: 'event', event: theThingsStackEvent(members, digest) };
    const read = kind === 'chirpstack-v4' ? chirpStackV4Event : chirpStackV3Event;
    return { kind: 'event', event: read(name, members, digest) };
  } catch (error) {
    if (error instanceof EventFault) return { kind: 'bad', detail: error.message };
    // Nesting so deep that the stack is not deep enough.
    if (error instanceof RangeError) return { kind: 'bad', detail: 'The event is nested too deeply.' };
    throw error;
  }
}

function chirpStack(kind: LoraKind, format: EventFormat, name: string, bytes: Uint8Array): Members {
  if (format === 'json') return new Members(parse(bytes));
  const types = kind === 'chirpstack-v4' ? CHIRPSTACK_V4_EVENTS : CHIRPSTACK_V3_EVENTS;
  const type = Object.hasOwn(types, name) ? types[name] : undefined;
  if (type === undefined) throw new EventFault('ChirpStack has no event of this name.');
  const decoded = decode(type, bytes) as { object?: Parameters<typeof structValue>[0] };
  return new Members(decoded.object === undefined ? decoded : { ...decoded, object: structValue(decoded.object) });
}

function parse(bytes: Uint8Array): unknown {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
  try {
    return JSON.parse(text);
  } catch {
    throw new EventFault('The event is no JSON.');
  }
}

/** Which ChirpStack sent a body: v4 nests the device in `deviceInfo`. Of protobuf, v3 has the application's number in the
 *  first field and the eight bytes of the DevEUI in the fourth; no event of v4 has both. */
export function chirpStackKind(format: EventFormat, bytes: Uint8Array): LoraKind {
  if (format === 'protobuf') return hasV3Fields(bytes) ? 'chirpstack-v3' : 'chirpstack-v4';
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
  try {
    const body: unknown = JSON.parse(text);
    const isV3 = typeof body === 'object' && body !== null && 'devEUI' in body && !('deviceInfo' in body);
    return isV3 ? 'chirpstack-v3' : 'chirpstack-v4';
  } catch {
    return 'chirpstack-v4';
  }
}

function hasV3Fields(bytes: Uint8Array): boolean {
  let at = 0;
  let number = false;
  const varint = (): number => {
    let value = 0;
    for (let shift = 1; at < bytes.length; shift *= 128) {
      const byte = bytes[at++] as number;
      value += (byte & 127) * shift;
      if (byte < 128) break;
    }
    return value;
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag & 7;
    const field = Math.floor(tag / 8);
    if (wire === 0) {
      varint();
      if (field === 1) number = true;
    } else if (wire === 2) {
      const size = varint();
      if (field === 4) return number && size === 8;
      at += size;
    } else if (wire === 1) at += 8;
    else if (wire === 5) at += 4;
    else return false;
  }
  return false;
}

const DEVICE_TOPIC = /(?:^|\/)application\/([^/]+)\/device\/([0-9A-Fa-f]{16})\/event\/([a-z]+)$/;
const THINGS_TOPIC = /(?:^|\/)v3\/([^/@]+)(?:@([^/]+))?\/devices\/([^/]+)\/(.+)$/;

/** What a topic tells. */
export interface EventTopic {
  /** As ChirpStack names it; "" for The Things Stack, whose events say it themselves. */
  readonly event: string;
  readonly applicationId: string;
  readonly tenant: string;
}

/** @returns null for a topic of another kind: a downlink of ours that we hear ourselves, or something else */
export function eventTopic(kind: LoraKind, topic: string): EventTopic | null {
  if (kind === 'tts-v3') {
    const [, applicationId, tenant = '', , tail] = THINGS_TOPIC.exec(topic) ?? [];
    // What is pushed there goes over topics of the same tree.
    if (applicationId === undefined || tail === 'down/push' || tail === 'down/replace') return null;
    return { event: '', applicationId, tenant };
  }
  const [, applicationId, , event] = DEVICE_TOPIC.exec(topic) ?? [];
  return applicationId === undefined || event === undefined ? null : { event, applicationId, tenant: '' };
}
