import type { Connection } from './connection.ts';
import { isElsewhere } from './errors.ts';

/** Servers of which any will do. */
export class Endpoints {
  readonly connections: readonly Connection[];
  readonly #msMax: number;

  /** @param msMax of a request: when half of it is gone, no other server is tried */
  constructor(connections: readonly Connection[], msMax: number) {
    this.connections = connections;
    this.#msMax = msMax;
  }

  /** Whether one of them is there. */
  async answers(): Promise<boolean> {
    if (this.connections.some((connection) => !connection.failing)) return true;
    return (await Promise.all(this.connections.map((connection) => connection.answers()))).includes(true);
  }

  /** Asks one, and if it cannot, the next, each once; those that rest come last.
   *  @param start which is asked first if all are well
   *  @param fence awaited before each try
   *  @throws what the last one said, or the fence */
  async ask<T>(work: (connection: Connection) => Promise<T>, start = 0, fence?: () => Promise<void>): Promise<T> {
    const count = this.connections.length;
    const order = [...this.connections.slice(start % count), ...this.connections.slice(0, start % count)];
    order.sort((a, b) => a.restUntilMs - b.restUntilMs);
    const begunMs = performance.now();
    let failure: unknown = new Error('no server answers');
    for (const connection of order) {
      if (count > 1 && !(await connection.answers())) continue;
      await fence?.();
      try {
        return await connection.attempt(work);
      } catch (error) {
        if (!isElsewhere(error) || performance.now() - begunMs > this.#msMax / 2) throw error;
        failure = error;
      }
    }
    throw failure;
  }
}
