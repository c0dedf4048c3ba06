/** What the rooms of CoAP agree on: below it datagrams and the message layer (`message/`, `endpoint/`, `../dtls`), above it
 *  resources (`server.ts`, `../lwm2m`). */

/** @shape number and value, as RFC 7252 §5.10 registers them */
export type CoapOption = readonly [number: number, value: Buffer];

/** Who is at the other end: an address and port, or a DTLS session that outlives both. Compared by identity: one object
 *  as long as it is the same peer. */
export interface Peer {
  /** Stable while it is the same peer: `<address>|<port>`, or one of a DTLS session's own. */
  readonly key: string;
  readonly address: string;
  readonly port: number;
  /** Who it proved to be; null over plain CoAP. */
  readonly identity: PeerIdentity | null;
  /** Its source address is its own: it has answered something that was sent there (a handshake, Echo, an ACK). Nothing
   *  much larger than the question goes to others. */
  verified: boolean;
  /** Sends one datagram. @throws never: what cannot be sent is lost, as datagrams are
   *  @holds bytes are not touched after the call */
  send(datagram: Buffer): void;
}
export type PeerIdentity =
  | { readonly kind: 'key'; readonly identity: string; readonly key: string }
  /** With a bootstrap key: good for nothing but to ask for the bootstrap. */
  | { readonly kind: 'bootstrap'; readonly thing: string; readonly externalId: string }
  /** @shape fingerprint: SHA-256, hex in lower case; certificate: DER */
  | { readonly kind: 'certificate'; readonly fingerprint: string; readonly certificate: Buffer };

export interface CoapRequest {
  /** GET 1, POST 2, PUT 3, DELETE 4, FETCH 5, PATCH 6, iPATCH 7. */
  readonly method: number;
  /** Segments of Uri-Path, as UTF-8. */
  readonly path: readonly string[];
  /** Uri-Query options, as UTF-8, in their order: `auth=…`. */
  readonly query: readonly string[];
  /** Content-Format; null if absent. */
  readonly format: number | null;
  readonly accept: number | null;
  /** Observe: 0 asks to observe, 1 to stop, null neither. */
  readonly observe: number | null;
  readonly etags: readonly Buffer[];
  /** Whole: joined from blocks. */
  readonly payload: Buffer;
  readonly peer: Peer;
  readonly token: Buffer;
  /** The bytes of the options that name the resource, as they came (Uri-*, Content-Format, Accept), for memos of what was
   *  made of them; latin1. */
  readonly resourceKey: string;
  readonly confirmable: boolean;
}

export interface CoapResponse {
  /** c(2, 5) = 2.05 */
  readonly code: number;
  readonly payload?: Buffer | undefined;
  readonly format?: number | undefined;
  /** Seconds; for 4.29 and 5.03 when to come again. */
  readonly maxAge?: number | undefined;
  readonly etag?: Buffer | undefined;
  /** Further ones: Location-Path, Size1 … */
  readonly options?: readonly CoapOption[] | undefined;
  /** The request asked to observe and may: called once the peer is an observer. Without it, it is answered only. */
  readonly onObserve?: ((observer: CoapObserver) => void) | undefined;
}

/** Answers a request. A warm answer is a value; a promise may settle at any time later. A rejection is a fault (5.00). */
export type CoapHandler = (request: CoapRequest) => CoapResponse | Promise<CoapResponse>;

/** One who observes a resource, until either side ends it. */
export interface CoapObserver {
  readonly peer: Peer;
  readonly request: CoapRequest;
  /** Called once, when it is over: cancelled by the peer, RST, time-out of a confirmable one, its session closed, `end`. */
  onEnd: ((why: ObserveEnd) => void) | null;
  /** Called when `notify` may be called again after it gave false. */
  onRoom: (() => void) | null;
  /** Sends a notification: non-confirmable, each n-th (or the first after a while) confirmable.
   *  @returns false where the peer owes acknowledgements: nothing was sent */
  notify(response: CoapResponse): boolean;
  /** The last word (4.03, 4.04, 5.03): no notification follows. */
  end(response: CoapResponse): void;
}
export type ObserveEnd = 'cancelled' | 'reset' | 'timeout' | 'closed' | 'ended' | 'replaced';

/** A request of ours to a peer (LwM2M). */
export interface OutgoingRequest {
  readonly method: number;
  /** `/3303/0/5700` */
  readonly path: string;
  readonly query?: readonly string[];
  readonly payload?: Buffer;
  readonly format?: number;
  readonly accept?: number;
  /** Observe: called for each notification after the first answer. */
  readonly onNotification?: (answer: CoapAnswer) => void;
  /** Without an answer for so long it has failed; 60 s if absent. */
  readonly timeoutMs?: number;
}
/** Whole: fetched block by block where it is large. */
export interface CoapAnswer {
  readonly code: number;
  readonly format: number | null;
  readonly payload: Buffer;
  readonly options: readonly CoapOption[];
}
/** A request of ours that was answered. */
export interface Answered {
  readonly answer: CoapAnswer;
  /** Of a request with `onNotification`: stops the observation.
   *  @param quietly without a word to the peer, which has forgotten it or is gone */
  cancel(quietly?: boolean): void;
}

/** The message layer over any datagrams. One for each socket.  @see endpoint/endpoint.ts */
export interface CoapEndpoint {
  /** One datagram of a peer. @throws never */
  receive(datagram: Buffer, peer: Peer): void;
  /** @throws CoapError */
  request(peer: Peer, request: OutgoingRequest): Promise<Answered>;
  /** The peer is gone: ends its observations and requests, both ways. */
  forget(peer: Peer): void;
  /** Takes no new request (5.03), waits for those under way until the deadline. */
  drain(deadlineMs: number): Promise<void>;
  close(): void;
}

export type CoapErrorCode =
  /** No answer, or no acknowledgement, in time. */
  | 'COAP_TIMEOUT'
  /** The peer rejects it, or what it answers does not fit together. */
  | 'COAP_RESET'
  /** The peer was forgotten, or the endpoint closed. */
  | 'COAP_CLOSED'
  | 'COAP_TOO_LARGE'
  /** Too many requests wait for this peer. */
  | 'COAP_BUSY';

/** Takes requests of a first path segment away from the messages (`rd`, `bs`, `dp`). */
export interface CoapResource {
  readonly segments: readonly string[];
  readonly handle: CoapHandler;
  /** How it stands in `/.well-known/core`, as a link without its comma: `</rd>;rt="core.rd"`. */
  readonly links: readonly string[];
}
