import { Type } from '../message/message.ts';
import { bareMessage } from './answer.ts';
import type { Exchange, Exchanges } from './exchanges.ts';
import type { EndpointCounts, EndpointOptions } from './options.ts';
import type { PeerState } from './peer-state.ts';

/** Who waits to hear whether the address answers. */
export type ProofWaiter = (answers: boolean) => void;

const WAITERS_MAX = 16;
/** Of 65,536 numbers: whoever guesses one of so many is believed nothing for a while. */
const STRAYS_MAX = 4;
/** A device that has started anew rejects several notifications at once, all but the first as strays. */
const STRAY_RESETS_MAX = 16;

/** How far an address has proven itself. `asked`: a ping is out. `answers`: something there answered it; a stranger's CoAP
 *  server does so too, so what it gets stays bounded until it acknowledges something (then the peer is verified).
 *  `silent`: nothing answered. */
export interface Proof {
  stage: 'asked' | 'answers' | 'silent';
  /** Of the ping. */
  messageId: number;
  ping: Exchange | null;
  waiters: ProofWaiter[];
  untilMs: number;
  /** Sent in large answers since `untilMs` was set. */
  bytes: number;
}

/** Lets nothing large go to an address that may not have asked for it: who claims an address is pinged there first, with
 *  four bytes. Needs nothing of clients but what every one has.
 *  @source docs/adr/0021, RFC 7252 §4.3 and §11.3, RFC 9175 §2.4 and §2.6 */
export class Proofs {
  readonly #exchanges: Exchanges;
  readonly #counts: EndpointCounts;
  readonly #options: EndpointOptions;
  #waiting = 0;

  constructor(exchanges: Exchanges, counts: EndpointCounts, options: EndpointOptions) {
    this.#exchanges = exchanges;
    this.#counts = counts;
    this.#options = options;
  }

  /** Finds out whether so many bytes may go there. `waiter` is called once, at once where it is known. */
  ask(state: PeerState, bytes: number, waiter: ProofWaiter): void {
    const options = this.#options;
    const { proof } = state;
    if (proof?.stage === 'asked') {
      if (proof.waiters.length >= WAITERS_MAX || this.#waiting >= options.proofsMax) {
        waiter(false);
        return;
      }
      proof.waiters.push(waiter);
      this.#waiting++;
      return;
    }
    const nowMs = options.now();
    if (proof !== null && nowMs < proof.untilMs) {
      if (proof.stage === 'answers') proof.bytes += bytes;
      waiter(proof.stage === 'answers' && proof.bytes <= options.unprovenBytesMax);
      return;
    }
    if (this.#waiting >= options.proofsMax || this.#exchanges.isFull(state)) {
      waiter(false);
      return;
    }
    const messageId = state.nextMessageId();
    const asked: Proof = {
      stage: 'asked',
      messageId,
      ping: null,
      waiters: [waiter],
      untilMs: 0,
      bytes,
    };
    state.proof = asked;
    this.#waiting++;
    const ping = Buffer.from(new Uint8Array(bareMessage(Type.Con, messageId)));
    const listener = {
      // Nobody acknowledges a ping; who does is there, too.
      acknowledged: () => this.#told(asked, true),
      failed: (why: string) => this.#told(asked, why === 'reset'),
    };
    const patience = { timeoutMs: options.proofTimeoutMs, retransmitMax: 1 };
    asked.ping = this.#exchanges.send(state, messageId, ping, listener, patience);
  }

  #told(proof: Proof, answers: boolean): void {
    if (proof.stage !== 'asked') return;
    proof.ping = null;
    proof.stage = answers ? 'answers' : 'silent';
    proof.untilMs = this.#options.now() + this.#options.distrustMs;
    if (!answers) this.#counts.rejected.unproven++;
    const { waiters } = proof;
    proof.waiters = [];
    this.#waiting -= waiters.length;
    for (const waiter of waiters) waiter(answers);
  }

  /** Whether so many bytes more may go to an address that answers pings; they are counted. */
  spends({ proof }: PeerState, bytes: number): boolean {
    const { now, unprovenBytesMax } = this.#options;
    if (proof?.stage !== 'answers' || now() >= proof.untilMs) return false;
    proof.bytes += bytes;
    return proof.bytes <= unprovenBytesMax;
  }

  /** An RST or acknowledgement that belongs to nothing that waits: it comes late, or someone is guessing message ids. */
  stray(state: PeerState, messageId: number, reset: boolean): void {
    // Who acknowledges twice has heard twice.
    if (state.peer.verified && !reset) return;
    const { proof } = state;
    const { now, distrustMs } = this.#options;
    if (now() >= state.straysUntilMs) {
      state.strays = 0;
      state.straysUntilMs = now() + distrustMs;
    }
    if (reset && proof?.stage === 'silent' && proof.messageId === messageId && state.strays === 0) {
      proof.stage = 'answers';
      return;
    }
    if (++state.strays < STRAYS_MAX || proof?.stage !== 'asked') return;
    if (proof.ping !== null) this.#exchanges.cancel(proof.ping);
    this.#told(proof, false);
  }

  /** Too many that fit nothing: no RST ends anything for a while. What somebody made up would end what others have. */
  isGuessing(state: PeerState): boolean {
    return state.strays >= STRAY_RESETS_MAX && this.#options.now() < state.straysUntilMs;
  }

  /** It has acknowledged what was sent to it. That proves the address, unless others were guessed before. */
  acknowledged(state: PeerState): void {
    if (state.strays < STRAYS_MAX || this.#options.now() >= state.straysUntilMs) state.peer.verified = true;
  }
}
