import type { Protocol } from '../envelope/envelope.ts';

/** Who is there: told by the ingress, kept by the registry. Nothing here waits or throws; what is told is gathered and
 *  written once in a while.
 *  @units ms since 1970 */
export interface Presence {
  /** A thing's connection opened.  @returns what to call once when it closes */
  connected(thing: string, org: string, protocol: Protocol, address: string): () => void;
  /** A thing was heard of: by a request, a datagram, a packet. Cheap enough for each message. */
  seen(thing: string, org: string, protocol: Protocol, address: string, nowMs: number): void;
}
