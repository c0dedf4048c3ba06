import { MillraceError } from '@millrace/core';

const PAUSE_MS_MIN = 50;
const PAUSE_MS_MAX = 2_000;

/** Tries until it succeeds, with growing pauses.
 *  @returns null once `over` says that nobody waits any more
 *  @throws what is no refusal for the moment: a fault */
export async function untilDone<T>(
  over: () => boolean,
  work: () => Promise<T>,
  onFailure?: (error: MillraceError) => void,
): Promise<{ readonly value: T } | null> {
  for (let pauseMs = PAUSE_MS_MIN; !over(); pauseMs = Math.min(PAUSE_MS_MAX, pauseMs * 2)) {
    try {
      return { value: await work() };
    } catch (error) {
      if (over()) return null;
      if (!(error instanceof MillraceError) || error.retry === 'never') throw error;
      onFailure?.(error);
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs).unref());
  }
  return null;
}
