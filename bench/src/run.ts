import { killChildren } from './child.ts';
import { BenchError } from './errors.ts';
import { FigureCollector } from './figures.ts';

/** A part of a run: a process, or a few. */
interface Part {
  stop(): Promise<void>;
}

/** What a benchmark keeps that measures in rounds: its figures, and all that it started, so that nothing runs on. */
export abstract class Run<Result = void> {
  readonly collector = new FigureCollector();
  protected round = 0;
  protected stopped = false;
  readonly #rounds: number;
  readonly #progress: (line: string) => void;
  readonly #running = new Set<Part>();

  constructor(rounds: number, progress: (line: string) => void) {
    this.#rounds = rounds;
    this.#progress = progress;
  }

  /** Measures everything. */
  protected abstract all(): Promise<Result>;

  /** @throws the signal's reason once it aborts; whatever happens, nothing that was started runs on */
  async toEnd(signal?: AbortSignal): Promise<Result> {
    const aborted = new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    const all = this.all();
    try {
      return await Promise.race([all, aborted]);
    } finally {
      await this.#stopAll();
      await all.catch(() => undefined);
    }
  }

  /** Waits for a part, and stops it when the run ends, if nobody has before.
   *  @throws BenchError INTERRUPTED when the run was stopped meanwhile */
  protected async started<T extends Part>(starting: Promise<T>): Promise<T> {
    const part = await starting;
    this.#running.add(part);
    if (this.stopped) {
      await this.ended(part);
      throw new BenchError('INTERRUPTED', 'now');
    }
    return part;
  }

  protected async ended(part: Part): Promise<void> {
    await part.stop();
    this.#running.delete(part);
  }

  protected add(name: string, unit: string, value: number): void {
    this.collector.add(name, unit, value);
  }

  protected say(line: string): void {
    this.#progress(line);
  }

  protected tell(what: string, found: string): void {
    this.#progress(`round ${this.round} of ${this.#rounds}, ${what}: ${found}`);
  }

  async #stopAll(): Promise<void> {
    this.stopped = true;
    killChildren();
    await Promise.allSettled([...this.#running].map((part) => part.stop()));
    this.#running.clear();
  }
}
