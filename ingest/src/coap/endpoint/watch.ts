import type { CoapAnswer } from '../contract.ts';
import { type CoapMessage, Option, option, readUint } from '../message/message.ts';
import type { Call } from './call.ts';

/** After so long any number is newer than the last one.  @source RFC 7641 §3.4 */
const ORDER_MS = 128_000;

const sequenceOf = ({ options }: CoapMessage): number | null => {
  const bytes = option(options, Option.Observe);
  return bytes === undefined ? null : readUint(bytes, 0, bytes.length);
};

/** An observation of ours on a peer: puts its notifications in order, one at a time; where they come faster than their
 *  bodies can be fetched, the newest counts. */
export class Watch implements Call {
  readonly #now: () => number;
  readonly #whole: (message: CoapMessage) => Promise<CoapAnswer>;
  readonly #told: (answer: CoapAnswer) => void;
  readonly #ended: () => void;
  #sequence = -1;
  #atMs = 0;
  #next: CoapMessage | null = null;
  /** Nothing is told before the first answer was. */
  #busy = true;
  open = true;

  constructor(
    now: () => number,
    whole: (message: CoapMessage) => Promise<CoapAnswer>,
    told: (answer: CoapAnswer) => void,
    ended: () => void,
  ) {
    this.#now = now;
    this.#whole = whole;
    this.#told = told;
    this.#ended = ended;
  }

  /** The first answer was given to who asked. */
  begin(first: CoapMessage): void {
    this.#isNewer(first);
    void this.#run();
  }

  take(message: CoapMessage): void {
    const last = message.code >> 5 !== 2 || sequenceOf(message) === null;
    if (!last && !this.#isNewer(message)) return;
    this.#next = message;
    if (last) this.#ended();
    if (!this.#busy) void this.#run();
  }

  fail(): void {
    this.open = false;
    this.#next = null;
  }

  #isNewer(message: CoapMessage): boolean {
    const sequence = sequenceOf(message) ?? 0;
    const nowMs = this.#now();
    const ahead = (sequence - this.#sequence) & 0xffffff;
    const newer = this.#sequence < 0 || (ahead > 0 && ahead < 2 ** 23) || nowMs > this.#atMs + ORDER_MS;
    if (newer) {
      this.#sequence = sequence;
      this.#atMs = nowMs;
    }
    return newer;
  }

  async #run(): Promise<void> {
    this.#busy = true;
    while (this.open && this.#next !== null) {
      const message = this.#next;
      this.#next = null;
      try {
        const answer = await this.#whole(message);
        if (this.open) this.#told(answer);
      } catch {
        // What could not be fetched is followed by a newer one, or by the observation's end.
      }
    }
    this.#busy = false;
  }
}
