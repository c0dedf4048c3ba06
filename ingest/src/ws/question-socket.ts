import type { LiveConnection } from '../live/connection.ts';
import { CLOSE, type LiveSocket } from './socket.ts';

/** One line is bounded by what is answered at a time. */
const LINE_BYTES_MAX = 64 * 1024 * 1024;
/** A client that does not take what was written is waited for; what is asked again may be nothing but that. */
const ROOM_BYTES = 65_536;

/** A stream of lines in frames: what is asked over HTTP, for who has a WebSocket only. Reads no further than its client
 *  takes. */
export class QuestionSocket implements LiveConnection {
  readonly drains = true;
  readonly #body: ReadableStreamDefaultReader<Uint8Array>;
  readonly #stallMsMax: number;
  #socket: LiveSocket | null = null;
  #room: (() => void) | null = null;
  #over = false;

  constructor(body: ReadableStream<Uint8Array>, stallMsMax: number) {
    this.#body = body.getReader();
    this.#stallMsMax = stallMsMax;
  }

  open(socket: LiveSocket): void {
    this.#socket = socket;
    socket.outbox.onRoom = () => this.#room?.();
    // Nothing is expected of the client; what it sends is taken, and dropped.
    socket.read(true);
    void this.#pump(socket);
  }

  left(): void {
    this.#over = true;
    this.#room?.();
    this.#body.cancel().catch(() => {});
  }

  sweep(nowMs: number): void {
    const socket = this.#socket;
    if (socket === null || this.#over) return;
    socket.sweep(nowMs);
    if (this.#room !== null && socket.outbox.stalledMs(nowMs) > this.#stallMsMax)
      socket.close(CLOSE.slow, 'slow', 'The client takes nothing.');
  }

  drain(): void {
    // The last lines say so, too, where the stream is of this process.
    this.#socket?.close(CLOSE.goingAway, 'draining', 'This node is going down.');
  }
  destroy(): void {
    this.#socket?.destroy();
  }

  async #pump(socket: LiveSocket): Promise<void> {
    const decoder = new TextDecoder();
    let rest = '';
    try {
      for (;;) {
        const { done, value } = await this.#body.read();
        if (done || this.#over) break;
        const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
        rest = lines.pop() ?? '';
        if (rest.length > LINE_BYTES_MAX) throw new RangeError('a line is too long');
        for (const line of lines) {
          if (line !== '') socket.text(line);
          if (!socket.outbox.room(ROOM_BYTES)) await this.#taken();
          if (this.#over) return;
        }
      }
      if (!this.#over) socket.close(CLOSE.goingAway, 'draining', 'The question has ended: its last frame says why.');
    } catch {
      if (!this.#over) socket.close(CLOSE.tryAgainLater, 'fault', 'What answers has gone: ask again.');
      await this.#body.cancel().catch(() => {});
    }
  }

  async #taken(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#room = resolve;
    });
    this.#room = null;
  }
}
