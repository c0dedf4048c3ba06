import { setTimeout as sleep } from 'node:timers/promises';
import type { Publisher } from '../millrace.ts';

/** Between two messages of one publisher. */
const GAP_MS = 15;
/** Before the next node is tried. */
const AGAIN_MS = 100;

/** What one node answered to one attempt. */
export type Answer = 'taken' | 'refused' | 'unanswered';

/** Whose message was taken: `number` of a publish that began at `begun`. */
export interface Taken {
  readonly number: number;
  readonly begun: number;
  /** Both by `performance.now()`. */
  readonly at: number;
}

/** How a protocol publishes one reading to one of the nodes. */
export interface Wire {
  /** Resolves whatever happens, in a bounded time. */
  publish(to: Publisher, node: number, number: number): Promise<Answer>;
  close(): Promise<void>;
}

/** Publishes 1, 2, 3 … to a channel of its own, each as often as it takes until a node acknowledges it: now to one
 *  node, now to the other, as a client does that knows several. */
export class NumberedPublisher {
  readonly name: string;
  readonly to: Publisher;
  /** Whether a repeated publish is told from a new one. */
  readonly keyed: boolean;
  /** All up to here are acknowledged. */
  acknowledged = 0;
  /** Numbers that were sent more than once because nobody answered. */
  readonly repeated = new Set<number>();
  unanswered = 0;
  refused = 0;
  /** What no client should see. */
  readonly surprises: string[] = [];
  readonly #wire: Wire;
  readonly #nodeCount: number;
  #node: number;
  #stopped = false;
  #run: Promise<void> | null = null;
  #waiting: { readonly after: number; readonly resolve: (taken: Taken) => void }[] = [];

  constructor(
    to: Publisher,
    parts: {
      readonly name: string;
      readonly keyed: boolean;
      readonly wire: Wire;
      readonly nodeCount: number;
      readonly node: number;
    },
  ) {
    this.to = to;
    this.name = parts.name;
    this.keyed = parts.keyed;
    this.#wire = parts.wire;
    this.#nodeCount = parts.nodeCount;
    this.#node = parts.node;
  }

  start(): void {
    this.#run = this.#publishAll();
  }

  /** The first acknowledgement of a publish that began after a time. */
  taken(after: number): Promise<Taken> {
    return new Promise((resolve) => this.#waiting.push({ after, resolve }));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#run;
    await this.#wire.close();
  }

  async #publishAll(): Promise<void> {
    for (let number = 1; !this.#stopped; number++) {
      let isRepeat = false;
      while (!this.#stopped) {
        const begun = performance.now();
        if (isRepeat) this.repeated.add(number);
        const answer = await this.#try(number);
        if (answer === 'taken') {
          this.acknowledged = number;
          this.#tell({ number, begun, at: performance.now() });
          break;
        }
        // A refusal may come after the log has the message all the same: whether it has is not known then.
        isRepeat = true;
        if (answer === 'refused') this.refused++;
        else this.unanswered++;
        this.#node = (this.#node + 1) % this.#nodeCount;
        await sleep(AGAIN_MS);
      }
      await sleep(GAP_MS);
    }
  }

  async #try(number: number): Promise<Answer> {
    try {
      return await this.#wire.publish(this.to, this.#node, number);
    } catch (error) {
      this.surprises.push(`${this.name}, ${number}: ${String(error)}`);
      return 'unanswered';
    }
  }

  #tell(taken: Taken): void {
    const told = this.#waiting.filter(({ after }) => taken.begun >= after);
    if (told.length === 0) return;
    this.#waiting = this.#waiting.filter(({ after }) => taken.begun < after);
    for (const { resolve } of told) resolve(taken);
  }
}
