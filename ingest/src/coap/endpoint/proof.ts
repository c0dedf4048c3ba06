import { Type } from '../message/message.ts';
import { bareMessage } from './answer.ts';
import type { Exchange, Exchanges } from './exchanges.ts';
import type { EndpointCounts, EndpointOptions } from './options.ts';
import type { PeerState } from './peer-state.ts';

/** Who waits to hear whether the address answers. */
export type ProofWaiter = (answers: boolean) => void;

const WAITERS_MAX = 16;
const WRONG_RESETS_MAX = 4;

/** How far an address has proven itself. `asked`: a ping is out. `answers`: something there answered it; a stranger's CoAP
 *  server does so too, so what it gets stays bounded until it acknowledges something (then the peer is verified).
 *  `silent`: nothing answered. */
export interface Proof {
  stage: 'asked' | 'answers' | 'silent';
  /** Of the ping. */
  messageId: number;
  ping: Exchange | null;
  waiters: ProofWaiter[];
  wrongResets: number;
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
  #asked = 0;

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
      if (proof.waiters.length < WAITERS_MAX) proof.waiters.push(waiter);
      else waiter(false);
      return;
    }
    const nowMs = options.now();
    if (proof !== null && nowMs < proof.untilMs) {
      if (proof.stage === 'answers') proof.bytes += bytes;
      waiter(proof.stage === 'answers' && proof.bytes <= options.unprovenBytesMax);
      return;
    }
    if (this.#asked >= options.proofsMax || this.#exchanges.full) {
      waiter(false);
      return;
    }
    const messageId = state.nextMessageId();
    const asked: Proof = {
      stage: 'asked',
      messageId,
      ping: null,
      waiters: [waiter],
      wrongResets: 0,
      untilMs: 0,
      bytes,
    };
    state.proof = asked;
    this.#asked++;
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
    this.#asked--;
    proof.ping = null;
    proof.stage = answers ? 'answers' : 'silent';
    proof.untilMs = this.#options.now() + this.#options.distrustMs;
    if (!answers) this.#counts.rejected.unproven++;
    const { waiters } = proof;
    proof.waiters = [];
    for (const waiter of waiters) waiter(answers);
  }

  /** An RST that belongs to nothing that waits: it comes late, or someone is guessing the ping's message id. */
  strayReset(state: PeerState, messageId: number): void {
    const { proof } = state;
    if (proof === null) return;
    if (proof.stage === 'silent' && proof.messageId === messageId && proof.wrongResets === 0) {
      proof.stage = 'answers';
    } else if (proof.stage === 'answers' || ++proof.wrongResets < WRONG_RESETS_MAX) {
      return;
    } else if (proof.stage === 'asked') {
      if (proof.ping !== null) this.#exchanges.cancel(proof.ping);
      this.#told(proof, false);
    }
  }
}
