import { pause } from './retry.ts';
import type { CallOptions } from './transport.ts';

export interface WaitOptions<One = unknown> extends CallOptions {
  readonly onProgress?: (one: One) => void;
  /** Between two looks (500). @units ms */
  readonly everyMs?: number;
}

/** Looks again until it is over.  @throws the signal's reason */
export async function untilOver<One>(
  look: (options: CallOptions) => Promise<One>,
  isOver: (one: One) => boolean,
  { onProgress, everyMs = 500, ...options }: WaitOptions<One>,
): Promise<One> {
  for (;;) {
    const one = await look(options);
    onProgress?.(one);
    if (isOver(one)) return one;
    await pause(everyMs, options.signal);
  }
}
