import { MillraceApiError, MillraceConnectionError, MillraceSubscriptionEnded } from '../error.ts';
import { pause } from '../retry.ts';
import type { LiveMessage, SubscribeOptions } from './message.ts';

/** One connection's worth of a subscription: gives messages until the connection ends.
 *  @param from where to go on, if that is known
 *  @throws MillraceSubscriptionEnded, MillraceApiError when there is no use in trying again */
export type Feed = (from: string | undefined, opened: () => void, signal: AbortSignal) => AsyncIterable<LiveMessage>;

const PAUSE_MS_MIN = 250;
const PAUSE_MS_MAX = 30_000;

/** A subscription that outlives its connections: it goes on after the last message that the reader got. */
export async function* follow(
  feed: Feed,
  { from, signal, onOpen, onRetry }: SubscribeOptions,
): AsyncGenerator<LiveMessage, void, undefined> {
  const isOver = (): boolean => signal?.aborted === true;
  let position = from;
  let failures = 0;
  // Also when the reader leaves the loop.
  const over = new AbortController();
  const ended = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
  try {
    for (;;) {
      if (isOver()) return;
      let problem: Error;
      try {
        const opened = (): void => {
          failures = 0;
          onOpen?.();
        };
        for await (const message of feed(position, opened, ended)) {
          position = message.position ?? position;
          yield message;
          if (isOver()) return;
        }
        problem = new MillraceConnectionError('CLOSED', '', 'The connection was closed.');
      } catch (error) {
        if (isOver()) return;
        if (!isWorthAnotherTry(error)) throw error;
        problem = error as Error;
      }
      const waitMs = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** failures++) * (0.5 + Math.random() / 2);
      onRetry?.(problem, waitMs);
      await pause(waitMs, signal).catch(() => undefined);
    }
  } finally {
    over.abort();
  }
}

const isWorthAnotherTry = (error: unknown): boolean =>
  (error instanceof MillraceConnectionError && error.retryable) ||
  (error instanceof MillraceApiError && error.retryable && !(error instanceof MillraceSubscriptionEnded));
