import { type Logger, MillraceError, type RetainedMessage, type RetainedStore } from '@millrace/core';

const BATCH_MAX = 256;
const RETRY_MS_MAX = 2_000;

interface Waiting {
  readonly message: RetainedMessage;
  readonly done: (kept: boolean) => void;
  readonly sinceMs: number;
}

/** Keeps retained messages, gathered: one statement is under way at a time, and the next gathers meanwhile. What the
 *  registry can't take now is tried again until it has waited too long. */
export class RetainedWriter {
  readonly #store: RetainedStore;
  readonly #logger: Logger;
  readonly #awayMsMax: number;
  #waiting: Waiting[] = [];
  #busy = false;
  #stopped = false;

  constructor(store: RetainedStore, logger: Logger, awayMsMax: number) {
    this.#store = store;
    this.#logger = logger;
    this.#awayMsMax = awayMsMax;
  }

  /** @param done called once: true when it is kept, or refused for good since the organisation keeps as many as it may;
   *         false when the registry stayed away */
  keep(message: RetainedMessage, done: (kept: boolean) => void): void {
    this.#waiting.push({ message, done, sinceMs: performance.now() });
    if (!this.#busy) void this.#write();
  }

  stop(): void {
    this.#stopped = true;
  }

  async #write(): Promise<void> {
    this.#busy = true;
    // What comes in the same turn goes with it.
    await new Promise((resolve) => setImmediate(resolve));
    let pauseMs = 50;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, BATCH_MAX);
      try {
        const refused = await this.#store.keep(batch.map(({ message }) => message));
        if (refused.length > 0) this.#logger.warn({ refused: refused.length }, 'mqtt: too many retained messages');
        pauseMs = 50;
        this.#waiting.splice(0, batch.length);
        for (const { done } of batch) done(true);
      } catch (error) {
        const hopeless = this.#stopped || !(error instanceof MillraceError) || error.retry === 'never';
        const now = performance.now();
        const lost = this.#waiting.filter((each, index) =>
          hopeless ? index < batch.length : now - each.sinceMs > this.#awayMsMax,
        );
        if (lost.length > 0) {
          this.#logger.warn({ err: error, messages: lost.length }, 'mqtt: retained messages could not be kept');
          const gone = new Set(lost);
          this.#waiting = this.#waiting.filter((each) => !gone.has(each));
          for (const { done } of lost) done(false);
        }
        if (!hopeless) await new Promise((resolve) => setTimeout(resolve, pauseMs));
        pauseMs = Math.min(pauseMs * 2, RETRY_MS_MAX);
      }
    }
    this.#busy = false;
  }
}
