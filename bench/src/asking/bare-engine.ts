import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { siblingUrl } from '@millrace/core';
import { stopProcess, tailOf } from '../child.ts';
import { BenchError } from '../errors.ts';

/** What the engine says to one statement.  @units ms, of the statement alone */
export interface BareAnswer {
  readonly ms: number;
  readonly rows: readonly (readonly unknown[])[];
}
export type BareTold = (BareAnswer & { readonly id: number }) | { readonly id: number; readonly error: string };

/** ClickHouse itself over the product's data, in a process of its own: what a question costs without us. */
export class BareEngine {
  readonly #child: ReturnType<typeof fork>;
  readonly #stderr: () => string;
  readonly #waiting = new Map<number, { resolve(told: BareAnswer): void; reject(error: Error): void }>();
  #id = 0;

  /** @param directory of the engine; no other process may have it open */
  constructor(directory: string) {
    this.#child = fork(
      fileURLToPath(siblingUrl(import.meta.url, './bare-engine-main')),
      [JSON.stringify({ directory })],
      {
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      },
    );
    this.#stderr = tailOf(this.#child);
    this.#child.on('message', (told: BareTold) => {
      const waiting = this.#waiting.get(told.id);
      this.#waiting.delete(told.id);
      if ('error' in told) waiting?.reject(this.#failure(told.error));
      else waiting?.resolve(told);
    });
    this.#child.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(this.#failure('the process has ended'));
      this.#waiting.clear();
    });
  }

  /** @throws BenchError CHILD_FAILED with what the engine says */
  ask(statement: string): Promise<BareAnswer> {
    const id = this.#id++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, statement });
    });
  }
  stop(): Promise<void> {
    return stopProcess(this.#child, 20_000);
  }
  #failure(problem: string): BenchError {
    return new BenchError('CHILD_FAILED', 'never', { child: 'bare engine', problem, stderr: this.#stderr() });
  }
}
