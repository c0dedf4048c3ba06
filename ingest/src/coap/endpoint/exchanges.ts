import type { EndpointCounts, EndpointOptions } from './options.ts';
import type { PeerState, PeerStates } from './peer-state.ts';
import { Timer, type TimerWheel } from './timer-wheel.ts';

export type ExchangeFailure = 'reset' | 'timeout' | 'closed';

/** Who sent a confirmable message hears once how it went. */
export interface ExchangeListener {
  acknowledged(): void;
  failed(why: ExchangeFailure): void;
}

/** How often and how fast a message is repeated; the usual where it says nothing. */
export interface Patience {
  readonly timeoutMs?: number;
  readonly retransmitMax?: number;
}

/** One confirmable message of ours, until it is acknowledged.  @source RFC 7252 §4.2 */
export class Exchange extends Timer {
  readonly state: PeerState;
  readonly messageId: number;
  readonly datagram: Buffer;
  readonly listener: ExchangeListener | null;
  readonly retransmitMax: number;
  waitMs: number;
  retransmitCount = 0;
  readonly #exchanges: Exchanges;

  constructor(
    exchanges: Exchanges,
    state: PeerState,
    messageId: number,
    datagram: Buffer,
    listener: ExchangeListener | null,
    waitMs: number,
    retransmitMax: number,
  ) {
    super();
    this.#exchanges = exchanges;
    this.state = state;
    this.messageId = messageId;
    this.datagram = datagram;
    this.listener = listener;
    this.waitMs = waitMs;
    this.retransmitMax = retransmitMax;
  }

  onDue(): void {
    this.#exchanges.due(this);
  }
}

/** Our confirmable messages: sent, repeated with growing pauses, acknowledged or given up. */
export class Exchanges {
  readonly #wheel: TimerWheel;
  readonly #states: PeerStates;
  readonly #counts: EndpointCounts;
  readonly #options: EndpointOptions;

  constructor(wheel: TimerWheel, states: PeerStates, counts: EndpointCounts, options: EndpointOptions) {
    this.#wheel = wheel;
    this.#states = states;
    this.#counts = counts;
    this.#options = options;
  }

  /** No more of them wait for acknowledgement: of all, or of this peer, which else could use up the message ids. */
  isFull({ exchanges }: PeerState): boolean {
    const { outstandingMax, outstandingPerPeerMax } = this.#options;
    return this.#counts.outstanding >= outstandingMax || exchanges.size >= outstandingPerPeerMax;
  }

  /** @holds the datagram is kept: no slice of a slab
   *  @returns null where too many wait already: it was sent once, and the listener hears nothing */
  send(
    state: PeerState,
    messageId: number,
    datagram: Buffer,
    listener: ExchangeListener | null,
    patience?: Patience,
  ): Exchange | null {
    if (this.isFull(state)) {
      state.peer.send(datagram);
      return null;
    }
    const { ackTimeoutMs, ackRandomFactor, maxRetransmit } = this.#options;
    const waitMs = (patience?.timeoutMs ?? ackTimeoutMs) * (1 + Math.random() * (ackRandomFactor - 1));
    const exchange = new Exchange(
      this,
      state,
      messageId,
      datagram,
      listener,
      waitMs,
      patience?.retransmitMax ?? maxRetransmit,
    );
    state.exchanges.set(messageId, exchange);
    this.#states.changed(state);
    this.#counts.outstanding++;
    this.#wheel.add(exchange, waitMs);
    state.peer.send(datagram);
    return exchange;
  }

  /** @returns whether it was one of ours */
  acknowledge(state: PeerState, messageId: number): boolean {
    const exchange = state.exchanges.get(messageId);
    if (exchange === undefined) return false;
    this.cancel(exchange);
    exchange.listener?.acknowledged();
    return true;
  }

  reset(state: PeerState, messageId: number): boolean {
    const exchange = state.exchanges.get(messageId);
    if (exchange === undefined) return false;
    this.cancel(exchange);
    exchange.listener?.failed('reset');
    return true;
  }

  /** No more is sent, and nobody hears of it. */
  cancel(exchange: Exchange): void {
    const { state, messageId } = exchange;
    if (state.exchanges.get(messageId) !== exchange) return;
    this.#wheel.cancel(exchange);
    state.exchanges.delete(messageId);
    this.#states.changed(state);
    this.#counts.outstanding--;
  }

  due(exchange: Exchange): void {
    if (exchange.retransmitCount < exchange.retransmitMax) {
      exchange.retransmitCount++;
      this.#counts.retransmissions++;
      exchange.waitMs *= 2;
      this.#wheel.add(exchange, exchange.waitMs);
      exchange.state.peer.send(exchange.datagram);
      return;
    }
    this.#counts.timeouts++;
    this.cancel(exchange);
    exchange.listener?.failed('timeout');
  }

  /** The peer is gone. */
  close(state: PeerState): void {
    for (const exchange of [...state.exchanges.values()]) {
      this.cancel(exchange);
      exchange.listener?.failed('closed');
    }
  }
}
