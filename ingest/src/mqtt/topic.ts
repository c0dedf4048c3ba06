import type { DeliveredMessage, DeliveryFilter } from '@millrace/core';
import { FILTER_LEVELS_MAX } from '../delivery/filter-trie.ts';
import { subtopicFault } from '../subtopic.ts';
import { namedContentType } from './content-type.ts';
import { CHANNEL, ORG, type TopicDialect } from './dialects/dialect.ts';
import { firstTopic, oldestTopic } from './dialects/first.ts';
import { laterTopic } from './dialects/later.ts';
import { mainTopic } from './dialects/main.ts';

/** In this order: what fits several means the first. */
const DIALECTS: readonly TopicDialect[] = [mainTopic, laterTopic, firstTopic, oldestTopic];
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
const NO_CHANNEL = 'It names no channel: channels/<id>/messages[/<subtopic>].';

export type PublishTopic =
  | {
      readonly kind: 'channel';
      /** As the topic names it; null if it names none. */
      readonly org: string | null;
      /** Id or alias. */
      readonly channel: string;
      readonly subtopic: string;
      /** "": none is named. */
      readonly contentType: string;
    }
  | { readonly kind: 'malformed'; readonly detail: string }
  /** Begins with '$': the broker's own. */
  | { readonly kind: 'reserved' };

/** What a message is published to. @throws never */
export function parsePublishTopic(topic: string): PublishTopic {
  if (topic === '') return malformed('The topic is empty.');
  if (topic.startsWith('$')) return { kind: 'reserved' };
  if (topic.includes('+') || topic.includes('#')) return malformed('The topic holds a wildcard.');
  if (CONTROL.test(topic)) return malformed('The topic holds a control character.');
  const segments = topic.split('/');
  for (const dialect of DIALECTS) {
    const places = fit(dialect, segments);
    if (places === null || places.open) continue;
    const { org, channel } = places;
    if (org === '' || channel === '' || channel === null) return malformed(NO_CHANNEL);
    const rest = segments.slice(dialect.shape.length);
    const named = namedContentType(rest);
    const subtopic = (named === null ? rest : rest.slice(0, -named.size)).join('/');
    if (subtopic === '' && rest.length > (named?.size ?? 0)) return malformed('The subtopic holds an empty segment.');
    if (subtopic !== '' && !dialect.goesOn) return malformed('Topics of this form have no subtopic.');
    const fault = subtopicFault(subtopic);
    if (fault !== null) return malformed(fault);
    return { kind: 'channel', org, channel, subtopic, contentType: named?.type ?? dialect.contentType };
  }
  return malformed(NO_CHANNEL);
}

/** A filter of messages of channels. */
export interface ChannelFilter {
  readonly kind: 'channel';
  /** The group of `$share/<group>/…`. */
  readonly share: string | null;
  readonly filter: DeliveryFilter;
  /** Only messages of this organisation; null: of any. */
  readonly org: string | null;
  /** Only messages of this content type, parameters aside, in lower case; null: of any. */
  readonly contentType: string | null;
  /** Where the client gets a message of the filter: in the filter's dialect, the channel called as the client called it,
   *  so that the topic matches the filter. */
  topicOf(message: Pick<DeliveredMessage, 'org' | 'channel' | 'subtopic'>): string;
}

export type TopicFilter =
  | ChannelFilter
  | { readonly kind: 'sys'; readonly filter: string }
  /** Either it is no filter at all, which `filterFault` tells, or no topic of ours matches it. */
  | { readonly kind: 'malformed'; readonly detail: string };

/** What makes a text no topic filter, or null.  @source MQTT 3.1.1 §4.7.1, §4.7.3; MQTT 5 §4.8.2 for $share */
export function filterFault(text: string): string | null {
  if (text === '') return 'The filter is empty.';
  if (text.includes('\0')) return 'The filter holds NUL.';
  let start = 0;
  if (text.startsWith('$share/')) {
    const slash = text.indexOf('/', 7);
    const group = text.slice(7, slash < 0 ? text.length : slash);
    if (slash < 0 || slash === text.length - 1) return 'A shared filter is $share/<group>/<filter>.';
    if (group === '' || group.includes('+') || group.includes('#')) return 'The group of a shared filter is malformed.';
    start = slash + 1;
  }
  const segments = text.slice(start).split('/');
  for (const [index, segment] of segments.entries()) {
    if (segment.includes('#') && (segment !== '#' || index < segments.length - 1)) {
      return "'#' stands alone, and last.";
    }
    if (segment.includes('+') && segment !== '+') return "'+' stands alone between slashes.";
  }
  return null;
}

/** What a subscriber asks for. @throws never */
export function parseFilter(text: string): TopicFilter {
  const fault = filterFault(text);
  if (fault !== null) return malformed(fault);
  let share: string | null = null;
  let wanted = text;
  if (text.startsWith('$share/')) {
    const slash = text.indexOf('/', 7);
    share = text.slice(7, slash);
    wanted = text.slice(slash + 1);
  }
  if (share === null && (wanted === '$SYS' || wanted.startsWith('$SYS/'))) return { kind: 'sys', filter: wanted };
  if (wanted.startsWith('$')) return malformed('Nothing is published there.');
  if (CONTROL.test(wanted)) return malformed('No topic holds a control character.');
  const segments = wanted.split('/');
  for (const dialect of DIALECTS) {
    const places = fit(dialect, segments);
    if (places !== null) return channelFilter(dialect, places, segments, share);
  }
  return malformed(NO_CHANNEL);
}

interface Places {
  /** As written; null where a wildcard stands, or the dialect has none. */
  readonly org: string | null;
  readonly channel: string | null;
  /** '#' came before the shape's end. */
  readonly open: boolean;
}

/** Lays segments over a dialect's shape. @returns null if no topic of the dialect is meant */
function fit({ shape }: TopicDialect, segments: readonly string[]): Places | null {
  let org: string | null = null;
  let channel: string | null = null;
  for (const [index, place] of shape.entries()) {
    const segment = segments[index];
    if (segment === undefined) return null;
    if (segment === '#') return { org, channel, open: true };
    if (segment === '+') continue;
    if (place === CHANNEL) channel = segment;
    else if (place === ORG) org = segment;
    else if (place !== segment) return null;
  }
  return { org, channel, open: false };
}

function channelFilter(
  dialect: TopicDialect,
  { org, channel, open }: Places,
  segments: readonly string[],
  share: string | null,
): TopicFilter {
  if (org === '' || channel === '') return malformed(NO_CHANNEL);
  const rest = open ? ['#'] : segments.slice(dialect.shape.length);
  const named = namedContentType(rest);
  const wanted = named === null ? rest : rest.slice(0, -named.size);
  if (wanted.includes('')) return malformed('No subtopic has an empty segment.');
  if (wanted.length > FILTER_LEVELS_MAX) return malformed(`A filter has at most ${FILTER_LEVELS_MAX} levels.`);
  let subtopic = wanted.join('/');
  if (!dialect.goesOn) {
    if (subtopic !== '' && subtopic !== '#') return malformed('Topics of this form have no subtopic.');
    subtopic = '';
  }
  const tail = named === null ? '' : `/${rest.slice(-named.size).join('/')}`;
  const { shape } = dialect;
  return {
    kind: 'channel',
    share,
    filter: { channel, subtopic },
    org,
    contentType: named?.type ?? null,
    topicOf(message) {
      let topic = '';
      for (const place of shape) {
        const segment = place === CHANNEL ? (channel ?? message.channel) : place === ORG ? (org ?? message.org) : place;
        topic += topic === '' ? segment : `/${segment}`;
      }
      return message.subtopic === '' ? topic + tail : `${topic}/${message.subtopic}${tail}`;
    },
  };
}

const malformed = (detail: string): { readonly kind: 'malformed'; readonly detail: string } => ({
  kind: 'malformed',
  detail,
});
