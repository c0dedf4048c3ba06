import type { DeliveredMessage, DeliveryFilter } from '@millrace/core';

/** What a filter of channels asks for. */
export interface ChannelFilter {
  readonly kind: 'channel';
  readonly share: string | null;
  readonly filter: DeliveryFilter;
  readonly org: string | null;
  readonly contentType: string | null;
  topicOf(message: DeliveredMessage): string;
}

export function parseFilter(
  text: string,
): ChannelFilter | { kind: 'sys'; filter: string } | { kind: 'malformed'; detail: string } {
  if (text.startsWith('$SYS')) return { kind: 'sys', filter: text };
  let share: string | null = null;
  let rest = text;
  const shared = /^\$share\/([^/]+)\/(.+)$/.exec(text);
  if (shared !== null) [, share = '', rest = ''] = shared;
  const topicOf = (channel: string | null) => (message: DeliveredMessage) =>
    `channels/${channel ?? message.channel}/messages${message.subtopic === '' ? '' : `/${message.subtopic}`}`;
  const base = { kind: 'channel', share, org: null, contentType: null } as const;
  if (rest === '#') return { ...base, filter: { channel: null, subtopic: '#' }, topicOf: topicOf(null) };
  const found = /^channels\/([^/]+)\/messages(?:\/(.+))?$/.exec(rest);
  if (found === null) return { kind: 'malformed', detail: 'no topic of a channel' };
  const channel = found[1] === '+' ? null : (found[1] as string);
  return { ...base, filter: { channel, subtopic: found[2] ?? '' }, topicOf: topicOf(channel) };
}

export function parsePublishTopic(
  topic: string,
): { kind: 'channel'; channel: string; subtopic: string } | { kind: 'malformed' } {
  const found = /^channels\/([^/]+)\/messages(?:\/(.+))?$/.exec(topic);
  return found === null
    ? { kind: 'malformed' }
    : { kind: 'channel', channel: found[1] as string, subtopic: found[2] ?? '' };
}
