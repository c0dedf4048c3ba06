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
