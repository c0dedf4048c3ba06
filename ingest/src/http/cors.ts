import type { Head } from './head.ts';

const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS';
const HEADERS = 'Authorization, Content-Type, Content-Encoding, Idempotency-Key, Last-Event-ID, Traceparent';
const EXPOSED = 'Location, Retry-After, WWW-Authenticate';

/** Which other origins' pages may call this server.
 *  @source WHATWG Fetch, CORS protocol */
export class CrossOrigin {
  readonly #any: boolean;
  readonly #origins: ReadonlySet<string>;

  /** @param origins comma-separated, or '*' */
  constructor(origins: string) {
    const listed = origins
      .split(',')
      .map((origin) => origin.trim().replace(/\/$/, ''))
      .filter((origin) => origin !== '');
    this.#any = listed.includes('*');
    this.#origins = new Set(listed);
  }

  /** Header lines for the answer; "" when the request is of no other origin, or of one that is not let in. */
  linesFor(head: Head): string {
    const { origin } = head;
    if (origin === undefined) return '';
    if (this.#any) return `Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: ${EXPOSED}\r\n`;
    if (this.#origins.size === 0) return '';
    if (!this.#origins.has(origin)) return 'Vary: Origin\r\n';
    return `Access-Control-Allow-Origin: ${origin}\r\nAccess-Control-Expose-Headers: ${EXPOSED}\r\nVary: Origin\r\n`;
  }

  /** Header lines that answer a preflight; null when it is none, or of an origin that is not let in. */
  preflightLines(head: Head): string | null {
    if (head.method !== 'OPTIONS' || head.header('access-control-request-method') === undefined) return null;
    const lines = this.linesFor(head);
    if (!lines.startsWith('Access-Control-Allow-Origin')) return null;
    return `Access-Control-Allow-Methods: ${METHODS}\r\nAccess-Control-Allow-Headers: ${HEADERS}\r\nAccess-Control-Max-Age: 600\r\n`;
  }
}
