// hot
import type { AppendReceipt, LogError } from '@millrace/core';

export interface RunsHost {
  /** There is something to tell: `flush` when the turn is over. */
  due(runs: Runs): void;
  /** @param first offset, if there is no error */
  tell(runs: Runs, count: number, first: number, error: LogError | null): void;
}

/** Tells what became of the records of one partition, in the order in which they came, as few words as possible.
 *  @holds the engine settles the records of a partition in the order of their appends */
export class Runs implements AppendReceipt {
  readonly topic: number;
  readonly partition: number;
  readonly #host: RunsHost;
  #taken = 0;
  #settled = 0;
  #count = 0;
  #first = 0;
  #error: LogError | null = null;
  /** Refused at once, but told only after those that came before. */
  #refusals: { readonly at: number; readonly count: number; readonly error: LogError }[] = [];

  constructor(topic: number, partition: number, host: RunsHost) {
    this.topic = topic;
    this.partition = partition;
    this.#host = host;
  }

  /** So many are handed to the engine, each with this as its receipt. */
  take(count: number): void {
    this.#taken += count;
  }

  refuse(count: number, error: LogError): void {
    this.#refusals.push({ at: this.#taken, count, error });
    this.#taken += count;
    this.#refuseDue();
  }

  appended(_partition: number, offset: number): void {
    if (this.#error !== null || offset !== this.#first + this.#count) {
      this.flush();
      this.#first = offset;
    }
    if (this.#count++ === 0) this.#host.due(this);
    this.#settled++;
    if (this.#refusals.length > 0) this.#refuseDue();
  }

  refused(error: LogError): void {
    if (this.#error !== error) this.flush();
    this.#error = error;
    if (this.#count++ === 0) this.#host.due(this);
    this.#settled++;
    this.#refuseDue();
  }

  /** Tells what is known. */
  flush(): void {
    const [count, error] = [this.#count, this.#error];
    this.#count = 0;
    this.#error = null;
    if (count > 0) this.#host.tell(this, count, this.#first, error);
  }

  #refuseDue(): void {
    for (let next = this.#refusals[0]; next?.at === this.#settled; next = this.#refusals[0]) {
      this.#refusals.shift();
      this.flush();
      this.#settled += next.count;
      this.#host.tell(this, next.count, 0, next.error);
    }
  }
}
