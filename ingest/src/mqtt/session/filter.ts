import type { DeliveredMessage, Position, Subscription } from '@millrace/core';
import type { MqttQos } from '../contract.ts';
import type { ChannelFilter } from '../topic.ts';

/** What a message is matched and named by. */
export type Named = Pick<DeliveredMessage, 'org' | 'channel' | 'subtopic' | 'contentType'>;

/** One filter that a connected session has subscribed to; the tag of its subscription in the delivery.
 *  @holds while it is not `open` nothing is delivered for it: SUBACK and what is retained come first */
export class SessionFilter {
  readonly topic: string;
  readonly parsed: ChannelFilter;
  qos: MqttQos;
  open = false;
  removed = false;
  from: readonly Position[] = [];
  subscription: Subscription<SessionFilter> | null = null;
  #named: Named | null = null;
  #name = '';

  constructor(topic: string, parsed: ChannelFilter, qos: MqttQos) {
    this.topic = topic;
    this.parsed = parsed;
    this.qos = qos;
  }

  /** What the filter asks beyond channel and subtopic. */
  accepts(message: Named): boolean {
    const { contentType, org } = this.parsed;
    if (org !== null && org !== message.org) return false;
    return contentType === null || baseOf(message.contentType) === contentType;
  }

  /** The topic under which the client gets a message; made once while channel and subtopic are the same. */
  topicOf(message: DeliveredMessage): string {
    const named = this.#named;
    if (
      named === null ||
      named.subtopic !== message.subtopic ||
      named.channel !== message.channel ||
      named.contentType !== message.contentType ||
      named.org !== message.org
    ) {
      const { org, channel, subtopic, contentType } = message;
      this.#named = { org, channel, subtopic, contentType };
      this.#name = this.parsed.topicOf(message);
    }
    return this.#name;
  }
}

function baseOf(contentType: string): string {
  const semicolon = contentType.indexOf(';');
  return (semicolon < 0 ? contentType : contentType.slice(0, semicolon)).trim().toLowerCase();
}

/** Whether a subtopic is matched by a filter of subtopics. @source DeliveryFilter */
export function subtopicMatches(filter: string, subtopic: string): boolean {
  if (filter === '#') return true;
  if (filter === '' || subtopic === '') return filter === subtopic;
  const wanted = filter.split('/');
  const segments = subtopic.split('/');
  for (const [index, want] of wanted.entries()) {
    if (want === '#') return true;
    if (index >= segments.length || (want !== '+' && want !== segments[index])) return false;
  }
  return wanted.length === segments.length;
}
