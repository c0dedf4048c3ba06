import type { DeliveredMessage } from '@millrace/core';

/** Series of one subscriber that may wait at once. */
export const SERIES_MAX = 1_000;
export type Packet = readonly Uint8Array[];
export const sizeOf = (packet: Packet): number => packet.reduce((size, part) => size + part.length, 0);

/** For a reader that wants what is new rather than all of it: while it is busy, one message a series waits, the last.
 *  @shape a series: subtopic and publisher, of the one channel or of all channels that the subscription reads
 *  @holds at most SERIES_MAX packets and `bytesMax` bytes; what does not fit is dropped, whatever it replaced with it */
export class LatestOnly {
  readonly #bytesMax: number;
  readonly #waiting = new Map<string, Packet>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get empty(): boolean {
    return this.#waiting.size === 0;
  }

  /** @returns how many messages will not be sent because of this: 0 or 1 of its own series, 1 for want of room */
  put(message: DeliveredMessage, packet: Packet): number {
    const series = `${message.channel}\n${message.subtopic}\n${message.publisher}`;
    const before = this.#waiting.get(series);
    if (before !== undefined) {
      // Put anew at the end: they leave in the order of the log.
      this.#waiting.delete(series);
      this.#bytes -= sizeOf(before);
    }
    const superseded = before === undefined ? 0 : 1;
    const size = sizeOf(packet);
    if (this.#waiting.size >= SERIES_MAX || this.#bytes + size > this.#bytesMax) return superseded + 1;
    this.#waiting.set(series, packet);
    this.#bytes += size;
    return superseded;
  }

  /** The one that has waited longest; null if none does. */
  take(fits: (size: number) => boolean): Packet | null {
    for (const [series, packet] of this.#waiting) {
      const size = sizeOf(packet);
      if (!fits(size)) return null;
      this.#waiting.delete(series);
      this.#bytes -= size;
      return packet;
    }
    return null;
  }
}
