import type { AppKind } from './kinds.ts';

const LOOPBACK_HOSTS: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]']);

export const isLoopback = ({ hostname }: URL): boolean => LOOPBACK_HOSTS.has(hostname);

/** What is wrong with an address that people are to be sent back to; null if nothing.
 *  @source RFC 8252 §7, RFC 9700 §2.1 */
export function redirectProblem(kind: AppKind, uri: string): string | null {
  let url: URL;
  try {
    url = new URL(uri);
  } catch {
    return 'must be an absolute URL';
  }
  if (/[\s\\*]/.test(uri)) return 'must hold no spaces, backslashes or wildcards';
  if (uri.includes('#')) return 'must have no fragment';
  if (url.username !== '' || url.password !== '') return 'must name no user';
  if (url.protocol === 'https:') return kind === 'native' && isLoopback(url) ? 'must be http on the loopback' : null;
  if (url.protocol === 'http:') return isLoopback(url) ? null : 'must be https, or http on the loopback';
  if (kind !== 'native') return 'must be https, or http on the loopback';
  // A scheme of one's own is a domain backwards: nobody else's program takes it by accident, and no browser runs it.
  return url.protocol.includes('.') ? null : 'must be https, http on the loopback, or a scheme as com.example.app:';
}

/** What a page's Content-Security-Policy may let forms go on to: browsers apply it to redirects too.
 *  @returns null where that can not be told */
export function formTarget(uri: string): string | null {
  if (!URL.canParse(uri)) return null;
  const url = new URL(uri);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    return /^[a-z][a-z0-9+.-]*:$/.test(url.protocol) ? url.protocol : null;
  return /^[\w.:[\]-]+$/.test(url.host) ? url.origin : null;
}
