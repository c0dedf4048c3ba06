import type { Head } from '../http/head.ts';

const DEFAULT_PORT: Readonly<Record<string, string>> = { 'http:': ':80', 'https:': ':443' };

/** Which pages may open a WebSocket: browsers let any page try, and only the Origin tells whose it is. Clients that are
 *  no browsers send none.
 *  @source RFC 6455 §10.2 */
export class OriginCheck {
  readonly #any: boolean;
  readonly #origins: ReadonlySet<string>;

  /** @param origins comma-separated, or '*' */
  constructor(origins: string) {
    const listed = origins.split(',').map((origin) => origin.trim().replace(/\/$/, '').toLowerCase());
    this.#any = listed.includes('*');
    this.#origins = new Set(listed.filter((origin) => origin !== ''));
  }

  allows(head: Head): boolean {
    const { origin } = head;
    if (origin === undefined || this.#any || this.#origins.has(origin.toLowerCase())) return true;
    const url = URL.canParse(origin) ? new URL(origin) : null;
    const host = head.header('host')?.toLowerCase() ?? '';
    if (url === null || host === '' || url.host === '') return false;
    // The scheme is not compared: TLS may end at a proxy.
    return url.host === host || `${url.host}${DEFAULT_PORT[url.protocol] ?? ''}` === host;
  }
}
