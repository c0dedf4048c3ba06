import { randomInt } from 'node:crypto';
import type { Peer } from '../contract.ts';
import type { Call } from './call.ts';
import type { Exchange } from './exchanges.ts';
import type { Observation } from './observation.ts';
import type { Proof } from './proof.ts';

const SEED = randomInt(2 ** 32);

/** 53 bits of a text, with a seed that nobody outside knows. */
function hash53(text: string): number {
  let high = 0xdeadbeef ^ SEED;
  let low = 0x41c6ce57 ^ SEED;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    high = Math.imul(high ^ code, 2654435761);
    low = Math.imul(low ^ code, 1597334677);
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909);
  return 4294967296 * (2097151 & low) + (high >>> 0);
}

/** What the endpoint knows of a peer, as long as its owner keeps the peer. */
export class PeerState {
  readonly peer: Peer;
  /** Made of the peer's key: an address that was forgotten and comes again has the same. */
  readonly id: number;
  underWay = 0;
  /** Our confirmable messages to it, by message id. */
  readonly exchanges = new Map<number, Exchange>();
  /** By token, latin1. */
  readonly observations = new Map<string, Observation>();
  /** Our requests to it, by token. */
  readonly calls = new Map<string, Call>();
  proof: Proof | null = null;
  /** Replies to nothing that was sent to it, until that time: someone may be guessing message ids. */
  strays = 0;
  straysUntilMs = 0;
  #messageId = randomInt(0x1_00_00);

  constructor(peer: Peer) {
    this.peer = peer;
    this.id = hash53(peer.key);
  }

  get idle(): boolean {
    return this.exchanges.size === 0 && this.observations.size === 0 && this.calls.size === 0;
  }

  /** Never one of a message that still waits for its acknowledgement. */
  nextMessageId(): number {
    do this.#messageId = (this.#messageId + 1) & 0xffff;
    while (this.exchanges.has(this.#messageId));
    return this.#messageId;
  }
}

/** Peers belong to who calls us, and so does their number: a state goes with its peer. Only those with something going on
 *  are held, so that all of it can be ended. */
export class PeerStates {
  readonly #states = new WeakMap<Peer, PeerState>();
  readonly #busy = new Set<PeerState>();

  of(peer: Peer): PeerState {
    let state = this.#states.get(peer);
    if (state === undefined) {
      state = new PeerState(peer);
      this.#states.set(peer, state);
    }
    return state;
  }
  known(peer: Peer): PeerState | undefined {
    return this.#states.get(peer);
  }
  /** Something of it began or ended. */
  changed(state: PeerState): void {
    if (state.idle) this.#busy.delete(state);
    else this.#busy.add(state);
  }
  busy(): PeerState[] {
    return [...this.#busy];
  }
}
