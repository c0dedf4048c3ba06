import { type Address, addressOf, type BadRoute } from '../http/route.ts';
import { SUBTOPIC_BYTES_MAX } from '../subtopic.ts';

/** What a WebSocket may be opened on. */
export type SocketPath =
  | { readonly kind: 'channel'; readonly address: Address }
  /** Many channels over one socket. */
  | { readonly kind: 'many' }
  | { readonly kind: 'mqtt' }
  /** The rows of a query as they arrive. */
  | { readonly kind: 'question' };

/** `/ws`, `/mqtt`, `/readings/live`, and the paths of messages, also behind the `/ws` of the classic reverse proxy.
 *  @returns null if no WebSocket is there */
export function socketPathOf(path: string): SocketPath | BadRoute | null {
  if (path === '/ws' || path === '/ws/') return { kind: 'many' };
  if (path === '/mqtt' || path === '/mqtt/') return { kind: 'mqtt' };
  if (path === '/readings/live' || path === '/readings/live/') return { kind: 'question' };
  const address = addressOf(path.startsWith('/ws/') ? path.slice(3) : path);
  if (address === null || address.kind === 'bad') return address;
  return address.first ? null : { kind: 'channel', address };
}

/** `/channels/<id or alias>/messages/live`. @returns null if no event stream is there */
export function streamPathOf(path: string): Address | BadRoute | null {
  if (!/\/messages\/live\/?$/.test(path)) return null;
  const address = addressOf(path);
  if (address?.kind === 'address' && (address.subtopic !== 'live' || address.org !== null)) return null;
  return address;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f*>]/;

/** What is wrong with the subtopic of a filter, or null.
 *  @shape segments joined by '/', where '+' is any one segment and a last '#' any rest, none included */
export function filterFault(filter: string): string | null {
  if (filter === '') return null;
  if (Buffer.byteLength(filter) > SUBTOPIC_BYTES_MAX) {
    return `The filter is longer than ${SUBTOPIC_BYTES_MAX} bytes.`;
  }
  if (FORBIDDEN.test(filter)) return 'The filter holds * or > or a control character: the wildcards are + and #.';
  const segments = filter.split('/');
  for (const [index, segment] of segments.entries()) {
    if (segment === '') return 'The filter holds an empty segment.';
    if (segment.length > 1 && /[+#]/.test(segment)) return 'A wildcard (+ or #) is a segment of its own.';
    if (segment === '#' && index < segments.length - 1) return 'The wildcard # may only be the last segment.';
  }
  return null;
}

export const hasWildcard = (filter: string): boolean => /[+#]/.test(filter);
