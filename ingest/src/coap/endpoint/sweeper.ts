import type { EndpointOptions } from './options.ts';
import type { ReceivedBodies } from './received-bodies.ts';
import type { SentBodies } from './sent-bodies.ts';
import { Timer, type TimerWheel } from './timer-wheel.ts';

const PERIOD_MS_MAX = 5_000;

/** Drops bodies that nobody goes on with, as long as there are any. */
export class Sweeper extends Timer {
  readonly #wheel: TimerWheel;
  readonly #options: EndpointOptions;
  readonly #received: ReceivedBodies;
  readonly #sent: SentBodies;

  constructor(wheel: TimerWheel, options: EndpointOptions, received: ReceivedBodies, sent: SentBodies) {
    super();
    this.#wheel = wheel;
    this.#options = options;
    this.#received = received;
    this.#sent = sent;
  }

  wake(): void {
    if (this.dueTick < 0) this.#wheel.add(this, Math.min(PERIOD_MS_MAX, this.#options.transferQuietMs));
  }

  onDue(nowMs: number): void {
    this.#received.sweep(nowMs);
    this.#sent.sweep(nowMs);
    if (this.#received.size + this.#sent.size > 0) this.wake();
  }
}
