import { setTimeout as sleep } from 'node:timers/promises';
import type { Publisher } from '../millrace.ts';

/** A client that has been refused comes back far sooner than it was told to. */
const AGAIN_MS = 50;
const MESSAGE_BYTES = 8_192;

/** Clients of one protocol who publish 1, 2, 3 … to a channel of their own, as fast as they are let. */
export interface Pressure {
  readonly protocol: 'http' | 'mqtt' | 'coap' | 'ws';
  readonly publisher: Publisher;
  /** Numbers that the node has acknowledged. */
  readonly acknowledged: readonly number[];
  /** How often "later" was said, in the protocol's words for it. */
  readonly deferred: number;
  /** What was said that must not be said. */
  readonly surprises: readonly string[];
  /** Sends nothing new, and resolves once what was sent is answered. */
  stop(): Promise<void>;
}

/** A pack of one reading. Space is no part of it: it weighs on the log, and little on the store. */
export const pack = (number: number, bytes = MESSAGE_BYTES): string => `[{"n":"n","v":${number}}]`.padEnd(bytes, ' ');

/** What an answer was. */
export type Verdict = 'taken' | 'later' | { readonly surprise: string };

/** So many clients of a protocol that answers each request, with one request in flight each. */
export class Askers implements Pressure {
  readonly protocol: 'http' | 'coap';
  readonly publisher: Publisher;
  readonly acknowledged: number[] = [];
  deferred = 0;
  readonly surprises: string[] = [];
  readonly #ask: (number: number, client: number) => Promise<Verdict>;
  readonly #clients: Promise<void>[];
  #number = 0;
  #stopped = false;

  constructor(
    protocol: 'http' | 'coap',
    publisher: Publisher,
    count: number,
    ask: (number: number, client: number) => Promise<Verdict>,
  ) {
    this.protocol = protocol;
    this.publisher = publisher;
    this.#ask = ask;
    this.#clients = Array.from({ length: count }, (_, client) => this.#publishAll(client));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#clients);
  }

  async #publishAll(client: number): Promise<void> {
    while (!this.#stopped) {
      const number = ++this.#number;
      try {
        const verdict = await this.#ask(number, client);
        if (verdict === 'taken') {
          this.acknowledged.push(number);
          continue;
        }
        if (verdict === 'later') this.deferred++;
        else this.surprises.push(verdict.surprise);
      } catch (error) {
        this.surprises.push(String(error));
      }
      await sleep(AGAIN_MS);
    }
  }
}
