import type { PeerState } from './peer-state.ts';
import type { ServerRequest } from './server-request.ts';
import { Timer } from './timer-wheel.ts';

/** A request that is not answered yet. Due when the client should hear at least that it came. */
export class Pending extends Timer {
  readonly state: PeerState;
  readonly request: ServerRequest;
  /** Its number among the messages that are remembered. */
  number = 0;
  /** An empty acknowledgement went out: the answer goes in a message of its own. */
  acknowledged = false;
  counted = false;
  /** Block1 of the answer; -1 without. */
  block1 = -1;
  readonly #owner: { acknowledge(pending: Pending): void };

  constructor(owner: { acknowledge(pending: Pending): void }, state: PeerState, request: ServerRequest) {
    super();
    this.#owner = owner;
    this.state = state;
    this.request = request;
  }

  onDue(): void {
    this.#owner.acknowledge(this);
  }
}
