import type { Socket } from 'node:net';

/** What waits for one reader: the socket's own buffer, with a bound, and whether the reader takes anything.
 *  full means: `room` is false, and `onRoom` is called once the reader has taken what waits.
 *  @holds at most `bytesMax` wait, or one packet; replies that are written without asking for room are few and small */
export class Outbox {
  readonly socket: Socket;
  onRoom: () => void = () => {};
  /** What is written while it says no goes nowhere: the end is under way. */
  mayWrite: () => boolean;
  readonly #bytesMax: number;
  #corked = false;
  #mark = -1;
  #markMs = 0;

  constructor(socket: Socket, bytesMax: number) {
    this.socket = socket;
    this.#bytesMax = bytesMax;
    this.mayWrite = () => socket.writable;
    socket.on('drain', () => this.onRoom());
  }

  /** More waits than should, replies included. `onRoom` will be called. */
  get overfull(): boolean {
    return this.socket.writableLength > this.#bytesMax;
  }

  /** Whether so much more may wait. False: `onRoom` will be called. */
  room(size: number): boolean {
    const { socket } = this;
    // Without writableNeedDrain there would be no drain; then little waits.
    return !socket.writableNeedDrain || socket.writableLength + size <= this.#bytesMax;
  }

  /** What is written in one turn of the event loop leaves together. */
  write(bytes: Uint8Array | string): void {
    const { socket } = this;
    if (!this.mayWrite()) return;
    if (!this.#corked) {
      this.#corked = true;
      socket.cork();
      process.nextTick(() => {
        this.#corked = false;
        socket.uncork();
      });
    }
    if (typeof bytes === 'string') socket.write(bytes, 'utf8');
    else socket.write(bytes);
  }

  /** For how long nothing of what waits was taken.  @units ms */
  stalledMs(nowMs: number): number {
    const { socket } = this;
    // What the kernel has not taken yet of a write under way; Node's own socket timeout looks at it too.
    const handle = (socket as { _handle?: { writeQueueSize?: number } | null })._handle;
    const mark = socket.bytesWritten - socket.writableLength - (handle?.writeQueueSize ?? 0);
    if (mark !== this.#mark || socket.writableLength === 0) {
      this.#mark = mark;
      this.#markMs = nowMs;
    }
    return nowMs - this.#markMs;
  }
}
