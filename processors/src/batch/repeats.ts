import { NOWHERE, RepeatTable } from './repeat-table.ts';
import type { RepeatWindow } from './task.ts';

// hot

/** A message of the batch in hand that later ones may repeat. */
interface Seen {
  readonly key: Uint32Array;
  offset: number;
  receivedS: number;
}

/** Tells which messages repeat an earlier one of their partition: same publisher, channel and key, at most so many records
 *  and so much time before. Only those whose admission holds are remembered, so nobody can make another's message one that
 *  repeats.
 *  What the batch adds is put into the table when all of it is done: a batch that is run again finds what it found before.
 *  @source docs/adr/0020-repeats-are-told-by-the-log.md */
export class Repeats {
  readonly #seen = new Map<string, Seen>();
  readonly #found = { receivedS: 0 };
  #table: RepeatTable | null = null;
  #window: RepeatWindow = { recordsMax: 0, secondsMax: 0 };

  /** Before each batch.  @param table null: what came before is not known yet */
  restart(table: SharedArrayBuffer | null, window: RepeatWindow): void {
    this.#seen.clear();
    this.#window = window;
    if (table === null) this.#table = null;
    else if (this.#table?.buffer !== table) this.#table = new RepeatTable(table);
  }

  /** Whether it can be told at all. */
  get isReady(): boolean {
    return this.#table !== null;
  }

  /** @param remembers whether later messages can repeat this one  @holds isReady */
  isRepeated(
    publisher: string,
    channel: string,
    dedupKey: string,
    offset: number,
    receivedUs: number,
    remembers: boolean,
  ): boolean {
    const table = this.#table as RepeatTable;
    const text = `${publisher}\n${channel}\n${dedupKey}`;
    const receivedS = Math.floor(receivedUs / 1_000_000) >>> 0;
    const seen = this.#seen.get(text);
    if (seen !== undefined) {
      const repeats = this.#isWithin(offset - seen.offset, receivedS, seen.receivedS);
      if (remembers) {
        seen.offset = offset;
        seen.receivedS = receivedS;
      }
      return repeats;
    }
    const key = table.keyOf(publisher, channel, dedupKey);
    const found = table.find(key, this.#found);
    if (remembers) this.#seen.set(text, { key, offset, receivedS });
    return found !== NOWHERE && this.#isWithin(offset - found, receivedS, this.#found.receivedS);
  }

  /** Remembers a message of before, without asking. */
  learn(publisher: string, channel: string, dedupKey: string, offset: number, receivedUs: number): void {
    const table = this.#table as RepeatTable;
    table.put(table.keyOf(publisher, channel, dedupKey), offset, Math.floor(receivedUs / 1_000_000) >>> 0);
  }

  /** The batch is done. */
  keep(): void {
    for (const { key, offset, receivedS } of this.#seen.values()) this.#table?.put(key, offset, receivedS);
    this.#seen.clear();
  }

  #isWithin(records: number, receivedS: number, earlierS: number): boolean {
    const { recordsMax, secondsMax } = this.#window;
    // Seconds count modulo 2^32; a clock that was set back makes the difference negative.
    return records <= recordsMax && ((receivedS - earlierS) | 0) <= secondsMax;
  }
}
