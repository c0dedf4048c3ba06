/** When a request is sent again. */
export interface RetryOptions {
  /** How often at most, the first time included (4); 1: never again. */
  readonly tries?: number;
  /** Pause after the first failure, doubled with each (250). @units ms */
  readonly pauseMsMin?: number;
  /** Longest pause (10,000); a longer Retry-After ends the tries. @units ms */
  readonly pauseMsMax?: number;
}
export type Retries = Required<RetryOptions>;

export const RETRIES: Retries = { tries: 4, pauseMsMin: 250, pauseMsMax: 10_000 };

const REPEATABLE = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

/** Whether sending a request twice does what sending it once does. @source RFC 9110 §9.2.2 */
export const isRepeatable = (method: string, headers: Headers): boolean =>
  REPEATABLE.has(method.toUpperCase()) || headers.has('idempotency-key');

/** Whether an answer is worth another try. 429 was not carried out, so any request may be sent again. */
export const isTransient = (status: number, repeatable: boolean): boolean =>
  status === 429 || (repeatable && (status === 502 || status === 503 || status === 504));

/** The pause before try `attempt + 1`; null: no more tries. Full jitter, so that clients do not come in step.
 *  @param attempt tries so far, from 1  @param random in [0, 1) */
export function pauseMs(
  attempt: number,
  { tries, pauseMsMin, pauseMsMax }: Retries,
  askedMs: number | null,
  random: number,
): number | null {
  if (attempt >= tries) return null;
  if (askedMs !== null) return askedMs > pauseMsMax ? null : askedMs + random * pauseMsMin;
  return Math.min(pauseMsMax, pauseMsMin * 2 ** (attempt - 1)) * (0.5 + random / 2);
}

/** @throws the signal's reason */
export function pause(ms: number, signal?: AbortSignal | null): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason);
    const ended = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', ended);
      resolve();
    }, ms);
    signal?.addEventListener('abort', ended, { once: true });
  });
}
