import type { CoapObserver, CoapResponse, ObserveEnd, Peer } from '../contract.ts';
import type { Exchange } from './exchanges.ts';
import type { PeerState } from './peer-state.ts';
import type { ServerRequest } from './server-request.ts';
import { Timer } from './timer-wheel.ts';

/** More than are sent between two confirmable ones, as a rule. */
const SENT_IDS = 16;

/** Who sends for an observation, and ends it. */
export interface ObservationKeeper {
  notify(observation: Observation, response: CoapResponse): boolean;
  finish(observation: Observation, response: CoapResponse): void;
  probe(observation: Observation): void;
}

/** One observer of one resource.  @source RFC 7641 */
export class Observation extends Timer implements CoapObserver {
  readonly state: PeerState;
  readonly request: ServerRequest;
  /** Of its token, latin1. */
  readonly key: string;
  onEnd: ((why: ObserveEnd) => void) | null = null;
  onRoom: (() => void) | null = null;
  open = true;
  /** 24 bits. */
  sequence: number;
  /** The confirmable notification that is not acknowledged. */
  exchange: Exchange | null = null;
  owes = false;
  /** `notify` gave false since. */
  blocked = false;
  sinceConfirmable = 0;
  confirmedMs: number;
  readonly #sentIds = new Int32Array(SENT_IDS).fill(-1);
  #sentAt = 0;
  readonly #keeper: ObservationKeeper;

  constructor(
    keeper: ObservationKeeper,
    state: PeerState,
    request: ServerRequest,
    key: string,
    sequence: number,
    nowMs: number,
  ) {
    super();
    this.#keeper = keeper;
    this.state = state;
    this.request = request;
    this.key = key;
    this.sequence = sequence;
    this.confirmedMs = nowMs;
  }

  get peer(): Peer {
    return this.state.peer;
  }

  notify(response: CoapResponse): boolean {
    return this.#keeper.notify(this, response);
  }
  end(response: CoapResponse): void {
    this.#keeper.finish(this, response);
  }
  onDue(): void {
    this.#keeper.probe(this);
  }

  /** A notification went out with that message id. */
  sent(messageId: number): void {
    this.#sentIds[this.#sentAt] = messageId;
    this.#sentAt = (this.#sentAt + 1) % SENT_IDS;
  }
  /** Whether one of the last had it. */
  hasSent(messageId: number): boolean {
    return this.#sentIds.includes(messageId);
  }
}
