import { CoapError } from '../error.ts';
import { type CoapMessage, Option } from '../message/message.ts';
import type { Call } from './call.ts';
import type { Exchange, ExchangeFailure, ExchangeListener } from './exchanges.ts';
import type { EndpointParts } from './parts.ts';
import type { PeerState } from './peer-state.ts';
import { Timer } from './timer-wheel.ts';

/** One message of ours that wants a response: with its acknowledgement, or in a message of its own, in either order. */
export class Ask extends Timer implements Call, ExchangeListener {
  readonly response: Promise<CoapMessage>;
  exchange: Exchange | null = null;
  readonly #parts: EndpointParts;
  readonly #state: PeerState;
  readonly #key: string;
  /** Who hears what comes with the same token after the first response to an observation. */
  readonly #watch: Call | null;
  readonly #path: string;
  #resolve: (message: CoapMessage) => void = () => {};
  #reject: (error: CoapError) => void = () => {};

  constructor(parts: EndpointParts, state: PeerState, key: string, path: string, watch: Call | null) {
    super();
    this.#parts = parts;
    this.#state = state;
    this.#key = key;
    this.#path = path;
    this.#watch = watch;
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    state.calls.set(key, this);
    parts.states.changed(state);
  }

  take(message: CoapMessage): void {
    this.#end(this.#watch !== null && message.code >> 5 === 2 && isNotification(message) ? this.#watch : null);
    this.#resolve(message);
  }

  fail(error: CoapError): void {
    this.#end(null);
    this.#reject(error);
  }

  acknowledged(): void {}
  failed(why: ExchangeFailure): void {
    const code = why === 'reset' ? 'COAP_RESET' : why === 'timeout' ? 'COAP_TIMEOUT' : 'COAP_CLOSED';
    this.fail(new CoapError(code, 'later', { path: this.#path }));
  }
  onDue(): void {
    this.failed('timeout');
  }

  #end(next: Call | null): void {
    const { exchanges, states, wheel } = this.#parts;
    wheel.cancel(this);
    // A response says as much as an acknowledgement.
    if (this.exchange !== null) exchanges.cancel(this.exchange);
    this.exchange = null;
    if (this.#state.calls.get(this.#key) === this) {
      if (next === null) this.#state.calls.delete(this.#key);
      else this.#state.calls.set(this.#key, next);
    }
    states.changed(this.#state);
  }
}

const isNotification = ({ options }: CoapMessage): boolean => options.some(([number]) => number === Option.Observe);
