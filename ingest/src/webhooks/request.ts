import { type DeliveredMessage, Protocol, positionText, type Webhook, type WebhookRequest } from '@millrace/core';
import { messageMembers } from '../live/message-text.ts';

const PROTOCOL_NAMES: readonly string[] = Object.keys(Protocol);
/** Of a head's value: what else comes from a device is percent-encoded. */
const headText = (text: string): string => encodeURIComponent(text).replaceAll('%2F', '/');
const TYPE = /^[\x21-\x7e][\x20-\x7e]{0,254}$/;

/** The request that carries messages. The same messages give the same id, on whichever node.
 *  @param messages consecutive ones of one partition, at least one */
export function requestOf(webhook: Webhook, messages: readonly DeliveredMessage[]): WebhookRequest {
  const [first] = messages as [DeliveredMessage];
  const last = messages.at(-1) as DeliveredMessage;
  const id = `${webhook.id}_${positionText(first)}_${last.offset}`;
  if (webhook.format === 'raw') {
    const { payload, contentType } = first;
    const headers = {
      'content-type': TYPE.test(contentType) ? contentType : 'application/octet-stream',
      'millrace-message': first.id,
      'millrace-channel': first.channel,
      'millrace-subtopic': headText(first.subtopic),
      'millrace-publisher': headText(first.publisher),
      'millrace-protocol': PROTOCOL_NAMES[first.protocol] ?? 'unknown',
      'millrace-received': String(first.receivedUs / 1_000_000),
      'millrace-position': positionText({ partition: first.partition, offset: first.offset + 1 }),
    };
    // The batch that it lies in is not kept for as long as a try may take.
    return { id, headers, body: Buffer.from(payload), messages: 1 };
  }
  const about = { type: 'messages', webhook: webhook.id, org: webhook.org, channel: webhook.channel };
  const parts: Buffer[] = [Buffer.from(`${JSON.stringify(about).slice(0, -1)},"messages":[{`)];
  messages.forEach((message, index) => {
    if (index > 0) parts.push(Buffer.from(',{'));
    parts.push(messageMembers(message));
  });
  parts.push(Buffer.from(']}'));
  return {
    id,
    headers: { 'content-type': 'application/json' },
    body: Buffer.concat(parts),
    messages: messages.length,
  };
}
