import { isUtf8 } from 'node:buffer';
import { type DeliveredMessage, Protocol, positionText } from '@millrace/core';

const PROTOCOL_NAMES: readonly string[] = Object.keys(Protocol);
const JSON_TYPE = /^(?:application\/json|[\w.-]+\/[\w.+-]+\+json)\s*(?:;|$)/i;
const TEXT_TYPE =
  /^(?:text\/|application\/(?:json|xml|x-ndjson|javascript)\s*(?:;|$)|[\w.-]+\/[\w.+-]+\+(?:json|xml)\s*(?:;|$))/i;
const CONTROLS = new Set(Array.from({ length: 32 }, (_, code) => code).filter((code) => ![9, 10, 13].includes(code)));

/** Whether a payload is shown as text: by its content type, or by its looks where it has none; never what is no UTF-8. */
export function isText(message: DeliveredMessage): boolean {
  const { contentType, payload } = message;
  if (contentType !== '' && !TEXT_TYPE.test(contentType)) return false;
  if (!isUtf8(payload)) return false;
  return contentType !== '' || !payload.some((byte) => CONTROLS.has(byte));
}

/** The members of a message's JSON after `type` (and `subscription`), with the closing brace; made once a message.
 *  @shape "channel":…,"subtopic":…,"id":…,…,"position":…,"json"|"payload"|"payload_base64":…}
 *         position: where to go on after this message. json: as it was published, line ends aside, so that the whole is
 *         one line and no number changes */
export function messageMembers(message: DeliveredMessage): Buffer {
  let members = message.encoded.get('live/members');
  if (members === undefined) {
    members = Buffer.from(membersText(message));
    message.encoded.set('live/members', members);
  }
  return members;
}

function membersText(message: DeliveredMessage): string {
  const { partition, offset } = message;
  const about = JSON.stringify({
    channel: message.channel,
    subtopic: message.subtopic,
    id: message.id,
    publisher: message.publisher,
    protocol: PROTOCOL_NAMES[message.protocol] ?? 'unknown',
    content_type: message.contentType,
    received: message.receivedUs / 1_000_000,
    position: positionText({ partition, offset: offset + 1 }),
  });
  return `${about.slice(1, -1)},${payloadMember(message)}}`;
}

function payloadMember(message: DeliveredMessage): string {
  const { payload, contentType } = message;
  if (!isText(message)) return `"payload_base64":"${payload.toString('base64')}"`;
  const text = payload.toString('utf8');
  if (JSON_TYPE.test(contentType) && isJson(text)) return `"json":${text.replace(/[\r\n]+/g, ' ')}`;
  return `"payload":${JSON.stringify(text)}`;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
