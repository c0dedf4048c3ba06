import { subtopicFault } from '../subtopic.ts';
import { classicPath } from './dialects/classic.ts';
import { firstPath } from './dialects/first.ts';
import { laterPath } from './dialects/later.ts';
import { mainPath } from './dialects/main.ts';

/** Where a publish goes, as its path says. */
export interface PublishRoute {
  readonly kind: 'publish';
  /** Organisation that the path names (later dialect), null if it names none. */
  readonly org: string | null;
  /** Id or alias. */
  readonly channel: string;
  readonly subtopic: string;
  /** One message a line. */
  readonly batch: boolean;
  /** The first dialect: `application/json` carries SenML, and the answer has no id. */
  readonly first: boolean;
}
export interface BadRoute {
  readonly kind: 'bad';
  readonly detail: string;
}

/** What a dialect's path parser finds: segments still percent-encoded, the subtopic's joined by '/'. */
export interface RawRoute {
  readonly org?: string;
  readonly channel: string;
  readonly subtopic: string;
  readonly first?: boolean;
}
export type PathParser = (segments: readonly string[]) => RawRoute | null;

const DIALECTS: readonly PathParser[] = [mainPath, firstPath, classicPath, laterPath];
const CHANNEL_CHARACTERS_MAX = 128;

/** Channel and subtopic that a path names, decoded; the subtopic is not checked yet, since it may also be a filter. */
export interface Address {
  readonly kind: 'address';
  readonly org: string | null;
  readonly channel: string;
  readonly subtopic: string;
  readonly first: boolean;
}

/** The publish that a path asks for; null if it asks for none. One trailing '/' is let pass.
 *  @param path without the query, as it was sent */
export function routeOf(path: string): PublishRoute | BadRoute | null {
  const address = addressOf(path);
  if (address === null || address.kind === 'bad') return address;
  const { org, channel, subtopic, first } = address;
  const fault = subtopicFault(subtopic);
  if (fault !== null) return { kind: 'bad', detail: fault };
  const batch = subtopic === 'batch' && !first && org === null;
  return { kind: 'publish', org, channel, subtopic: batch ? '' : subtopic, batch, first };
}

/** @param path without the query, as it was sent; one trailing '/' is let pass */
export function addressOf(path: string): Address | BadRoute | null {
  const segments = (path.endsWith('/') ? path.slice(1, -1) : path.slice(1)).split('/');
  for (const parse of DIALECTS) {
    const raw = parse(segments);
    if (raw !== null) return decoded(raw);
  }
  return null;
}

function decoded(raw: RawRoute): Address | BadRoute {
  let channel: string;
  let subtopic: string;
  let org: string | null;
  try {
    channel = decodeURIComponent(raw.channel);
    subtopic = decodeURIComponent(raw.subtopic);
    org = raw.org === undefined ? null : decodeURIComponent(raw.org);
  } catch {
    return { kind: 'bad', detail: 'The path is not percent-encoded UTF-8.' };
  }
  if (!isChannelReference(channel)) {
    return { kind: 'bad', detail: 'The path names no channel: give its id or alias.' };
  }
  return { kind: 'address', org, channel, subtopic, first: raw.first === true };
}

/** Whether a text may be a channel's id or alias. */
export const isChannelReference = (text: string): boolean =>
  text !== '' && text.length <= CHANNEL_CHARACTERS_MAX && /^[\p{L}\p{N}._~@:-]+$/u.test(text);
