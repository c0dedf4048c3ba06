import type { Peer } from '../contract.ts';

/** Everything that a client controls has a bound here.  @source RFC 7252 §4.8 for the times and their names */
export interface EndpointOptions {
  /** Messages remembered to know a repeat: 63 bytes each, of fixed memory. */
  readonly dedupEntries: number;
  /** Answers over 28 bytes that are remembered with them. */
  readonly dedupBytes: number;
  readonly exchangeLifetimeMs: number;
  readonly ackTimeoutMs: number;
  readonly ackRandomFactor: number;
  readonly maxRetransmit: number;
  /** A request that takes longer is acknowledged first and answered in a message of its own. */
  readonly piggybackMs: number;
  /** A request that its handler does not answer in that time is answered 5.03; a client waits for 93 s at most. */
  readonly answerTimeoutMs: number;
  /** Confirmable messages of ours that wait for acknowledgement; beyond, they are sent once. */
  readonly outstandingMax: number;
  /** The same to one peer. Message ids are 65,536: there must be a free one. */
  readonly outstandingPerPeerMax: number;
  /** Requests whose handler is at work; beyond: 5.03. */
  readonly underWayMax: number;
  /** The same of one peer; beyond: 4.29. */
  readonly underWayPerPeerMax: number;
  /** Max-Age of these refusals.  @units seconds */
  readonly busyMaxAge: number;
  /** Max-Age of 5.03 while we drain.  @units seconds */
  readonly drainingMaxAge: number;
  /** A body that is joined from blocks, either way; beyond: 4.13 with Size1. */
  readonly bodyBytesMax: number;
  /** Bodies that are being received, and those that are kept to be fetched, each. Beyond, the one that was quiet for
   *  longest is dropped. */
  readonly transfersMax: number;
  /** Bytes of each of them. */
  readonly transferBytesMax: number;
  /** A transfer that is quiet for longer is dropped. */
  readonly transferQuietMs: number;
  /** Answers are cut into blocks of at most that: 0 is 16 bytes, 6 is 1,024. */
  readonly blockSzxMax: number;
  /** Beyond, who asks to observe is only answered. */
  readonly observersMax: number;
  readonly observersPerPeerMax: number;
  /** Every so many notifications one is confirmable … */
  readonly confirmEvery: number;
  /** … and the first after this time; an observer that gets none is asked whether it still lives. */
  readonly confirmIntervalMs: number;
  /** How a peer whose address is not proven shows that it is its own before it gets anything large: it answers a ping
   *  (every endpoint does), or it repeats the request with the Echo option of a 4.01 (few clients do). */
  readonly proof: 'ping' | 'echo';
  /** Until the ping is repeated, once. Both fit before the acknowledgement that `piggybackMs` is about.  */
  readonly proofTimeoutMs: number;
  /** Answers that wait for that of a ping; beyond, peers get small blocks at once. */
  readonly proofsMax: number;
  /** So long the answer to a ping, or its absence, is believed, and a wrong one remembered. */
  readonly distrustMs: number;
  /** In that time, large answers to a peer that answers pings and nothing more. */
  readonly unprovenBytesMax: number;
  /** Requests of ours to one peer that wait for an answer; beyond: COAP_BUSY. */
  readonly callsPerPeerMax: number;
  readonly callTimeoutMs: number;
  /** Monotonic.  @units ms */
  readonly now: () => number;
  /** Called for datagrams that are no CoAP. */
  readonly onMalformed: ((peer: Peer) => void) | null;
  /** A handler or a callback threw. */
  readonly onFault: ((error: unknown) => void) | null;
}

export const ENDPOINT_DEFAULTS: EndpointOptions = {
  dedupEntries: 2 ** 19,
  dedupBytes: 16 << 20,
  exchangeLifetimeMs: 247_000,
  ackTimeoutMs: 2_000,
  ackRandomFactor: 1.5,
  maxRetransmit: 4,
  piggybackMs: 1_500,
  answerTimeoutMs: 90_000,
  outstandingMax: 65_536,
  outstandingPerPeerMax: 512,
  underWayMax: 16_384,
  underWayPerPeerMax: 256,
  busyMaxAge: 2,
  drainingMaxAge: 5,
  bodyBytesMax: 1 << 20,
  transfersMax: 4_096,
  transferBytesMax: 64 << 20,
  transferQuietMs: 60_000,
  blockSzxMax: 6,
  observersMax: 100_000,
  observersPerPeerMax: 1_024,
  confirmEvery: 10,
  confirmIntervalMs: 24 * 3_600_000,
  proof: 'ping',
  proofTimeoutMs: 300,
  proofsMax: 4_096,
  distrustMs: 60_000,
  unprovenBytesMax: 256 << 10,
  callsPerPeerMax: 256,
  callTimeoutMs: 60_000,
  now: () => performance.now(),
  onMalformed: null,
  onFault: null,
};

/** Why a request was refused by the message layer itself. */
export const REJECTIONS = [
  'bad_option',
  'proxy',
  'incomplete',
  'too_large',
  'busy',
  'peer_busy',
  'draining',
  'late',
  'unproven',
] as const;
export type Rejection = (typeof REJECTIONS)[number];

/** What an endpoint counts: plain numbers, read when metrics are scraped. */
export class EndpointCounts {
  /** Without repeats. */
  requests = 0;
  /** Repeats of what came before. */
  duplicates = 0;
  malformed = 0;
  /** Of ours. */
  retransmissions = 0;
  /** Confirmable messages of ours that were never acknowledged. */
  timeouts = 0;
  /** RST messages that came. */
  resets = 0;
  pings = 0;
  notifications = 0;
  faults = 0;
  /** At work now. */
  underWay = 0;
  /** Observers now. */
  observers = 0;
  /** Bodies in blocks now: being received, and kept to be fetched. */
  transfers = 0;
  /** Confirmable messages of ours that wait now. */
  outstanding = 0;
  readonly rejected: Record<Rejection, number> = {
    bad_option: 0,
    proxy: 0,
    incomplete: 0,
    too_large: 0,
    busy: 0,
    peer_busy: 0,
    draining: 0,
    late: 0,
    unproven: 0,
  };
}
