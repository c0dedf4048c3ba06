import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { ClientHello } from './handshake/client-hello.ts';

const COOKIE_BYTES = 16;
const PERIOD_MS = 60_000;

/** Proofs that a client hears what is sent to its address, without remembering anybody.
 *  @source RFC 6347 §4.2.1 */
export class Cookies {
  readonly #secret = randomBytes(32);

  /** Over what stands at the front of a ClientHello, so that the first fragment of one is enough to answer it. The rest
   *  is bound by Finished. */
  make(hello: ClientHello, address: string, port: number, nowMs: number): Buffer {
    return this.#at(Math.floor(nowMs / PERIOD_MS), hello, address, port);
  }

  /** @holds good for one to two minutes; constant time */
  holds(hello: ClientHello, address: string, port: number, nowMs: number): boolean {
    if (hello.cookie.length !== COOKIE_BYTES) return false;
    const period = Math.floor(nowMs / PERIOD_MS);
    return (
      timingSafeEqual(this.#at(period, hello, address, port), hello.cookie) ||
      timingSafeEqual(this.#at(period - 1, hello, address, port), hello.cookie)
    );
  }

  #at(period: number, hello: ClientHello, address: string, port: number): Buffer {
    return createHmac('sha256', this.#secret)
      .update(`${period}|${address}|${port}|${hello.version}|`)
      .update(hello.random)
      .update(hello.sessionId)
      .digest()
      .subarray(0, COOKIE_BYTES);
  }
}
