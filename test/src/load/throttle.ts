import { setTimeout as sleep } from 'node:timers/promises';

/** What can be stopped as a whole: SIGSTOP and SIGCONT. */
export interface Stoppable {
  pause(): void;
  resume(): void;
}

/** Lets an engine run for a part of the time only: a machine that is far too small for what it is asked. */
export class Throttle {
  readonly #engine: Stoppable;
  readonly #runMs: number;
  readonly #stopMs: number;
  #on = true;
  readonly #cycle: Promise<void>;

  constructor(engine: Stoppable, times: { readonly runMs: number; readonly stopMs: number }) {
    this.#engine = engine;
    this.#runMs = times.runMs;
    this.#stopMs = times.stopMs;
    this.#cycle = this.#turn();
  }

  /** It runs as it can again. */
  async release(): Promise<void> {
    this.#on = false;
    await this.#cycle;
  }

  async #turn(): Promise<void> {
    while (this.#on) {
      this.#engine.pause();
      try {
        await sleep(this.#stopMs);
      } finally {
        this.#engine.resume();
      }
      await sleep(this.#runMs);
    }
  }
}
