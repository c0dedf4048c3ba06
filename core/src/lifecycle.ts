import { MillraceError } from './errors.ts';

/** What a component gives once it runs. Who holds `value` cannot stop it.
 *  @holds `drain` finishes what was taken on and takes nothing new, and resolves at the deadline at the latest;
 *         `stop` does not wait for work, is idempotent, and may be called with or without `drain` before it */
export interface Started<T> {
  readonly value: T;
  drain(deadlineMs: number): Promise<void>;
  stop(): Promise<void>;
}

/** A part of the program that is started, drained and stopped. */
export interface Component<T> {
  readonly name: string;
  start(): Promise<Started<T>>;
}

type Values<C extends readonly Component<unknown>[]> = {
  -readonly [Index in keyof C]: C[Index] extends Component<infer T> ? T : never;
};

export type LifecycleErrorCode = 'START_FAILED';
export class LifecycleError extends MillraceError<LifecycleErrorCode> {}

/** Starts components one after the other (back of the road first) and ends them in the reverse order.
 *  @holds a failed start rolls back what had started, in reverse order, then throws */
export class Assembly {
  readonly #running: { name: string; started: Started<unknown> }[] = [];
  readonly #stopMsMax: number;

  constructor(options: { stopMsMax?: number } = {}) {
    this.#stopMsMax = options.stopMsMax ?? 5_000;
  }

  async start<T>(component: Component<T>): Promise<T> {
    const [value] = await this.startTogether([component]);
    return value as T;
  }

  /** Starts components that do not need each other at the same time.
   *  @holds when one fails, the others are awaited and stopped with everything that ran before */
  async startTogether<const C extends readonly Component<unknown>[]>(components: C): Promise<Values<C>> {
    const results = await Promise.allSettled(components.map((component) => component.start()));
    const values: unknown[] = [];
    let failed: { name: string; cause: unknown } | undefined;
    results.forEach((result, index) => {
      const name = (components[index] as Component<unknown>).name;
      if (result.status === 'rejected') {
        failed ??= { name, cause: result.reason };
      } else {
        this.#running.push({ name, started: result.value });
        values.push(result.value.value);
      }
    });
    if (failed === undefined) return values as Values<C>;
    await this.stop();
    if (failed.cause instanceof MillraceError) throw failed.cause;
    throw new LifecycleError('START_FAILED', 'later', { component: failed.name }, { cause: failed.cause });
  }

  /** Drains front to back: each component gets what is left until the common deadline. Never throws.
   *  @returns what went wrong, by component */
  async drain(deadlineMs: number): Promise<{ name: string; error: unknown }[]> {
    const errors: { name: string; error: unknown }[] = [];
    const end = performance.now() + deadlineMs;
    for (const { name, started } of this.#running.toReversed()) {
      const left = Math.max(0, end - performance.now());
      try {
        await within(started.drain(left), left);
      } catch (error) {
        errors.push({ name, error });
      }
    }
    return errors;
  }

  /** Stops front to back. Never throws. */
  async stop(): Promise<{ name: string; error: unknown }[]> {
    const errors: { name: string; error: unknown }[] = [];
    for (let part = this.#running.pop(); part !== undefined; part = this.#running.pop()) {
      try {
        await within(part.started.stop(), this.#stopMsMax);
      } catch (error) {
        errors.push({ name: part.name, error });
      }
    }
    return errors;
  }
}

async function within(work: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
