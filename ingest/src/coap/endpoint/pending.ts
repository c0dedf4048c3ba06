import type { PeerState } from './peer-state.ts';
import type { ServerRequest } from './server-request.ts';
import { Timer } from './timer-wheel.ts';

/** Whose request it is that waits. */
export interface PendingOwner {
  /** The client should hear that it came. */
  acknowledge(pending: Pending): void;
  /** Its answer does not come in time. */
  giveUp(pending: Pending): void;
}

/** A request that is not answered yet. Due first when the client should hear at least that it came, then when it has waited
 *  for too long. */
export class Pending extends Timer {
  readonly state: PeerState;
  readonly request: ServerRequest;
  /** Its number among the messages that are remembered. */
  number = 0;
  /** An empty acknowledgement went out: the answer goes in a message of its own. */
  acknowledged = false;
  counted = false;
  /** What its handler says after that is not heard. */
  answered = false;
  /** Block1 of the answer; -1 without. */
  block1 = -1;
  readonly #owner: PendingOwner;

  constructor(owner: PendingOwner, state: PeerState, request: ServerRequest) {
    super();
    this.#owner = owner;
    this.state = state;
    this.request = request;
  }

  onDue(): void {
    if (this.request.confirmable && !this.acknowledged) this.#owner.acknowledge(this);
    else this.#owner.giveUp(this);
  }
}
