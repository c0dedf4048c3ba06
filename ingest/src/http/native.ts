import type { Exchange } from './exchange.ts';

/** Serves some paths on the connection itself, where a web `Request` would not do: event streams, and what a
 *  connection is upgraded to. Asked for what is no publish, before the fallback.
 *  @holds its methods are called from the event loop and do not throw */
export interface NativeHandler {
  /** A complete request. @returns whether it will be answered here */
  request(exchange: Exchange): boolean;
  /** A complete request whose sender wants to go on in another protocol. It is answered (`Exchange.inTurn`), or its
   *  connection is taken over (`Connection.detach`).
   *  @returns false: it is served as if it had not asked */
  upgrade(exchange: Exchange): boolean;
  /** The node goes down: ends what is open. Resolves when nothing is left, or at the deadline. */
  drain(deadlineMs: number): Promise<void>;
}
