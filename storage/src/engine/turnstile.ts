import { StoreError } from '@millrace/core';

/** Gives the place back; told twice, it does nothing. */
export type Leave = () => void;

interface Waiting {
  readonly resolve: (leave: Leave) => void;
}

/** Lets so many through at a time and so many wait. Full means: refuse, at once.
 *  @holds first come, first served within a line; lines (one for each who asks) take turns, and while there are several
 *  places, one line never has them all: who asks much delays itself */
export class Turnstile {
  readonly name: string;
  readonly #runningMax: number;
  readonly #waitingMax: number;
  readonly #lines = new Map<string, Waiting[]>();
  readonly #runningOf = new Map<string, number>();
  #waiting = 0;
  #running = 0;
  #idle: (() => void)[] = [];

  constructor(name: string, runningMax: number, waitingMax: number) {
    this.name = name;
    this.#runningMax = runningMax;
    this.#waitingMax = waitingMax;
  }
  get running(): number {
    return this.#running;
  }

  /** Waits for a place and holds it until it is given back.
   *  @param line who asks; none: the platform itself, which may have every place
   *  @throws StoreError STORE_UNREACHABLE (retry later) when too many wait; the signal's reason */
  async enter(line = '', signal?: AbortSignal): Promise<Leave> {
    signal?.throwIfAborted();
    if (!this.#lines.has(line) && this.#mayRun(line)) return this.#run(line);
    if (this.#waiting >= this.#waitingMax)
      throw new StoreError('STORE_UNREACHABLE', 'later', { queue: this.name, waitingMax: this.#waitingMax });
    return this.#wait(line, signal);
  }

  async pass<T>(work: () => Promise<T>, line?: string, signal?: AbortSignal): Promise<T> {
    const leave = await this.enter(line, signal);
    try {
      return await work();
    } finally {
      leave();
    }
  }

  /** Resolves when nothing runs. */
  idle(): Promise<void> {
    return this.#running === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }

  #mayRun(line: string): boolean {
    const max = line === '' ? this.#runningMax : Math.max(1, this.#runningMax - 1);
    return this.#running < this.#runningMax && (this.#runningOf.get(line) ?? 0) < max;
  }

  #run(line: string): Leave {
    this.#running++;
    this.#runningOf.set(line, (this.#runningOf.get(line) ?? 0) + 1);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#running--;
      const left = (this.#runningOf.get(line) ?? 0) - 1;
      if (left > 0) this.#runningOf.set(line, left);
      else this.#runningOf.delete(line);
      this.#next();
      if (this.#running === 0) for (const resolve of this.#idle.splice(0)) resolve();
    };
  }

  #wait(line: string, signal: AbortSignal | undefined): Promise<Leave> {
    return new Promise((resolve, reject) => {
      const gone = (): void => {
        const waiting = this.#lines.get(line);
        const at = waiting?.indexOf(entry) ?? -1;
        if (waiting === undefined || at < 0) return;
        waiting.splice(at, 1);
        this.#waiting--;
        if (waiting.length === 0) this.#lines.delete(line);
        reject(signal?.reason);
      };
      const entry: Waiting = {
        resolve: (leave) => {
          signal?.removeEventListener('abort', gone);
          resolve(leave);
        },
      };
      signal?.addEventListener('abort', gone, { once: true });
      const waiting = this.#lines.get(line);
      if (waiting === undefined) this.#lines.set(line, [entry]);
      else waiting.push(entry);
      this.#waiting++;
    });
  }

  /** The line that waits longest for its turn, of those that may have one; it goes to the end of the lines. */
  #next(): void {
    for (const [line, waiting] of this.#lines) {
      if (!this.#mayRun(line)) continue;
      const entry = waiting.shift();
      this.#lines.delete(line);
      if (waiting.length > 0) this.#lines.set(line, waiting);
      if (entry === undefined) continue;
      this.#waiting--;
      entry.resolve(this.#run(line));
      return;
    }
  }
}
