import { setTimeout as sleep } from 'node:timers/promises';
import type { Publisher } from '../millrace.ts';

const GAP_MS = 20;
const ANSWER_MS_MAX = 30_000;

/** How one attempt of a probe went. */
export interface Probed {
  /** By `performance.now()`, when it was sent. */
  readonly at: number;
  readonly ms: number;
  readonly status: number;
}

/** One client who publishes one message after the other by HTTP, and how long each takes to be acknowledged. */
export class Probe {
  readonly probed: Probed[] = [];
  readonly #publisher: Publisher;
  #stopped = false;
  readonly #run: Promise<void>;

  constructor(publisher: Publisher) {
    this.#publisher = publisher;
    this.#run = this.#publishAll();
  }

  /** How many were acknowledged. */
  get taken(): number {
    return this.probed.filter(({ status }) => status === 202).length;
  }

  async stop(): Promise<readonly Probed[]> {
    this.#stopped = true;
    await this.#run;
    return this.probed;
  }

  async #publishAll(): Promise<void> {
    const { rest, channel, key } = this.#publisher;
    for (let number = 1; !this.#stopped; number++) {
      const at = performance.now();
      const response = await fetch(`${rest.url}/channels/${channel}/messages`, {
        method: 'POST',
        headers: { authorization: `Thing ${key}`, 'content-type': 'application/senml+json' },
        body: `[{"n":"live","v":${number}}]`,
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
      });
      await response.arrayBuffer();
      this.probed.push({ at, ms: performance.now() - at, status: response.status });
      await sleep(GAP_MS);
    }
  }
}
