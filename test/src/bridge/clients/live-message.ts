import type { Received } from './client.ts';

/** A message as /ws and event streams tell it. */
export interface LiveMessage {
  readonly channel: string;
  readonly subtopic: string;
  readonly content_type: string;
  readonly position: string;
  readonly payload?: string;
  readonly payload_base64?: string;
  readonly json?: unknown;
}

/** @param text the JSON that the message came as: in it stands, as the last member, JSON just as it was published */
export function received(message: LiveMessage, text: string): Received {
  return {
    channel: message.channel,
    subtopic: message.subtopic,
    payload: payloadOf(message, text),
    contentType: message.content_type,
    qos: null,
    retain: null,
  };
}

function payloadOf({ payload, payload_base64: base64 }: LiveMessage, text: string): Buffer {
  if (payload !== undefined) return Buffer.from(payload);
  if (base64 !== undefined) return Buffer.from(base64, 'base64');
  const at = text.indexOf(',"json":');
  if (at < 0) throw new Error(`no payload in ${text}`);
  return Buffer.from(text.slice(at + ',"json":'.length, text.lastIndexOf('}')));
}
