import { LogError, MillraceError, StoreError } from '@millrace/core';
import type { LaneOptions } from './options.ts';

/** Waits, but no longer than a signal allows. Never rejects. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted || ms <= 0) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}

/** Thrown where the lease is over or the component stops: ends a lane quietly. */
export class LaneOver extends Error {}

/** What a promise gives, unless the signal comes first; the work itself goes on unheard then.
 *  @throws LaneOver */
export function unlessOver<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const over = (): void => reject(new LaneOver());
    if (signal.aborted) over();
    else signal.addEventListener('abort', over, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', over));
  });
}

const DELAY_MS_MIN = 50;
const DELAY_MS_MAX = 5_000;

/** Delay before a try, doubling with jitter.  @param tries made so far, from 1 */
export const backoffMs = (tries: number, random: number = Math.random()): number =>
  Math.min(DELAY_MS_MAX, DELAY_MS_MIN * 2 ** Math.min(tries - 1, 16)) * (0.5 + random / 2);

export const isFenced = (error: unknown): boolean =>
  error instanceof LogError && (error.code === 'LOG_FENCED' || error.code === 'LOG_CLOSED');

/** Tries again what fails, for one partition. Every wait is visible in the status. */
export class Patience {
  readonly over: AbortSignal;
  readonly #partition: number;
  readonly #options: Pick<LaneOptions, 'logger' | 'metrics' | 'trouble'>;

  constructor(partition: number, over: AbortSignal, options: Pick<LaneOptions, 'logger' | 'metrics' | 'trouble'>) {
    this.over = over;
    this.#partition = partition;
    this.#options = options;
  }

  /** Tries until it succeeds, or until it is told never to.
   *  @throws LaneOver, and LogError LOG_FENCED, LOG_CLOSED */
  async until<T>(what: string, attempt: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        const result = await unlessOver(attempt(), this.over);
        if (tries > 1) this.trouble(null);
        return result;
      } catch (error) {
        if (error instanceof LaneOver || isFenced(error)) throw error;
        this.failed(what, error, tries);
        await pause(backoffMs(tries), this.over);
      }
    }
  }

  /** Tells that something failed and is tried again.  @param tries made so far, from 1 */
  failed(what: string, error: unknown, tries: number): void {
    const { logger, metrics } = this.#options;
    this.trouble(`${what}: ${error instanceof MillraceError ? error.code : 'unexpected'}`);
    metrics.retries.inc({ reason: reasonOf(error) });
    // The first time, and then with each longest delay.
    if (tries === 1 || tries % 12 === 0)
      logger.warn({ err: error, partition: this.#partition, tries }, `${what} fails, trying again`);
  }

  trouble(what: string | null): void {
    this.#options.trouble(this.#partition, what);
  }
}

function reasonOf(error: unknown): 'store' | 'log' | 'other' {
  return error instanceof StoreError ? 'store' : error instanceof LogError ? 'log' : 'other';
}
