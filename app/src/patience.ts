import { setTimeout as sleep } from 'node:timers/promises';
import { type Component, type Logger, MillraceError } from '@millrace/core';

const WAIT_MS_MIN = 250;
const WAIT_MS_MAX = 5_000;

/** Starts a component again and again while it says that later may do: an engine that is down when the node starts
 *  is waited for, not given up on. Faults that no waiting mends are thrown at once.
 *  @param waiting told what is missing, and null once it is there */
export function patiently<T>(
  component: Component<T>,
  options: {
    readonly logger: Logger;
    readonly signal: AbortSignal;
    waiting(name: string, problem: string | null): void;
  },
): Component<T> {
  return {
    name: component.name,
    async start() {
      for (let waitMs = WAIT_MS_MIN; ; waitMs = Math.min(waitMs * 2, WAIT_MS_MAX)) {
        try {
          const started = await component.start();
          options.waiting(component.name, null);
          return started;
        } catch (error) {
          if (!(error instanceof MillraceError) || error.retry !== 'later' || options.signal.aborted) throw error;
          options.waiting(component.name, error.message);
          options.logger.warn({ component: component.name, err: error }, `waiting for ${component.name}`);
          // Jitter: the nodes of a cluster do not knock in step.
          await sleep(waitMs * (0.5 + Math.random()), undefined, { signal: options.signal }).catch(() => {
            throw error;
          });
        }
      }
    },
  };
}
