import { classicPath } from '../http/dialects/classic.ts';
import { firstPath } from '../http/dialects/first.ts';
import { laterPath } from '../http/dialects/later.ts';
import { mainPath } from '../http/dialects/main.ts';
import { isChannelReference, type PathParser, type RawRoute } from '../http/route.ts';

/** The channel and subtopic that a path of CoAP names. The subtopic is not checked: it may also be a filter. */
export interface MessagesPath {
  readonly kind: 'messages';
  /** Organisation that the path names, null if it names none. */
  readonly org: string | null;
  /** Id or alias. */
  readonly channel: string;
  readonly subtopic: string;
  /** JSON, and what names no format, is SenML there. */
  readonly senml: boolean;
}
export type CoapPath =
  | MessagesPath
  | { readonly kind: 'core' }
  | { readonly kind: 'none' }
  | { readonly kind: 'bad'; readonly detail: string };

/** `mainflux/channels/<id>` and `channel/<id>/messages`, as old firmware has them. */
const oldPath: PathParser = (segments) => {
  const [first, second, third] = segments;
  if (segments.length !== 3) return null;
  if (first === 'mainflux' && second === 'channels') return { channel: third ?? '', subtopic: '', first: true };
  return first === 'channel' && third === 'messages' ? { channel: second ?? '', subtopic: '', first: true } : null;
};
const DIALECTS: readonly PathParser[] = [mainPath, firstPath, classicPath, laterPath, oldPath];

const NONE = { kind: 'none' } as const;
const CORE = { kind: 'core' } as const;

/** What the segments of Uri-Path name. They are no URL: a `%` is a `%`. One empty segment at the end is let pass. */
export function coapPathOf(path: readonly string[]): CoapPath {
  const segments = path.length > 1 && path.at(-1) === '' ? path.slice(0, -1) : path;
  if (segments.length === 2 && segments[0] === '.well-known' && segments[1] === 'core') return CORE;
  for (const parse of DIALECTS) {
    const raw = parse(segments);
    if (raw !== null) return messagesPath(raw);
  }
  return NONE;
}

function messagesPath({ org, channel, subtopic, first }: RawRoute): CoapPath {
  if (!isChannelReference(channel)) {
    return { kind: 'bad', detail: 'The path names no channel: give its id or alias.' };
  }
  return { kind: 'messages', org: org ?? null, channel, subtopic, senml: first === true };
}

/** A filter as it came: clients that build paths like URLs send its wildcards percent-encoded. */
export const filterOf = (subtopic: string): string =>
  subtopic.replace(/%(2B|23)/gi, (_all, hex) => (hex === '23' ? '#' : '+'));
