import type { LogError } from '@millrace/core';
import { isLasting, platformaticFault } from './faults.ts';

const WAIT_MS_MIN = 50;
const WAIT_MS_MAX = 1_000;

/** Tries again what a broker did not answer, or answered with "not now", until it is too late.
 *  @throws the last LogError */
export async function patiently<T>(msMax: number, attempt: () => Promise<T>): Promise<T> {
  const end = performance.now() + msMax;
  for (let failed = 0; ; failed++) {
    try {
      return await attempt();
    } catch (cause) {
      const error: LogError = platformaticFault(cause);
      const waitMs = Math.min(WAIT_MS_MAX, WAIT_MS_MIN * 2 ** failed);
      if (isLasting(error) || performance.now() + waitMs > end) throw error;
      await pause(waitMs);
    }
  }
}

/** @returns sooner when the signal aborts */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const over = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', over);
      resolve();
    };
    const timer = setTimeout(over, ms);
    signal?.addEventListener('abort', over, { once: true });
  });
}
