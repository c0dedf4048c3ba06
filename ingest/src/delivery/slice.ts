/** Waits, unless the signal aborts before. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    timer.unref();
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}

/** The event loop does what waits, then this goes on. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
