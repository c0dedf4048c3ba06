import type { DtlsRecord } from '../record.ts';
import { ownCopy } from '../wire.ts';

const WAITING_MAX = 16;
const AHEAD_MAX = 4;
/** Of everything, together. */
const BYTES_MAX = 8_192;

/** What a handshake keeps for later, all of it from strangers. What does not fit is dropped: it comes again.
 *  @holds copies, so that nothing keeps the datagram that it came in; at most 16 records that wait, four ahead of the keys,
 *         four datagrams ahead of Finished, and 8 KiB together */
export class HeldRecords {
  #waiting: DtlsRecord[] = [];
  #aheadOfKeys: DtlsRecord[] = [];
  #datagrams: Buffer[] = [];

  /** Until something that was asked is answered. */
  wait(record: DtlsRecord): void {
    if (this.#waiting.length < WAITING_MAX && this.#hasRoom(record.body)) this.#waiting.push(copyOf(record));
  }
  next(): DtlsRecord | undefined {
    return this.#waiting.shift();
  }

  /** Of a record that came ahead of the message which its keys come from. */
  waitForKeys(record: DtlsRecord): void {
    if (this.#aheadOfKeys.length < AHEAD_MAX && this.#hasRoom(record.body)) this.#aheadOfKeys.push(copyOf(record));
  }
  /** They are next. */
  keysAreThere(): void {
    this.#waiting.unshift(...this.#aheadOfKeys);
    this.#aheadOfKeys = [];
  }

  /** A datagram ahead of the Finished, decrypted. */
  waitForFinished(datagram: Buffer): void {
    if (this.#datagrams.length < AHEAD_MAX && this.#hasRoom(datagram)) this.#datagrams.push(ownCopy(datagram));
  }

  /** All that a session begins with. */
  takeAll(): { readonly ahead: readonly Buffer[]; readonly waiting: readonly DtlsRecord[] } {
    const all = { ahead: this.#datagrams, waiting: this.#waiting };
    this.#datagrams = [];
    this.#waiting = [];
    return all;
  }

  #hasRoom(bytes: Buffer): boolean {
    let held = bytes.length;
    for (const { body } of this.#waiting) held += body.length;
    for (const { body } of this.#aheadOfKeys) held += body.length;
    for (const datagram of this.#datagrams) held += datagram.length;
    return held <= BYTES_MAX;
  }
}

const copyOf = (record: DtlsRecord): DtlsRecord => ({
  ...record,
  connectionId: record.connectionId === null ? null : ownCopy(record.connectionId),
  body: ownCopy(record.body),
});
