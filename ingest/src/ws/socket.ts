import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { LiveEnd, LiveMeasures } from '../live/measures.ts';
import type { Outbox } from '../live/outbox.ts';
import { textFrame } from './frame.ts';

/** Codes that a WebSocket is closed with.  @source RFC 6455 §7.4; 4000–4999 are ours */
export const CLOSE = {
  goingAway: 1001,
  unsupported: 1003,
  tooLarge: 1009,
  fault: 1011,
  tryAgainLater: 1013,
  /** Too many frames that are no messages of the protocol. */
  malformed: 4400,
  unauthenticated: 4401,
  forbidden: 4403,
  notFound: 4404,
  /** Behind, and taking nothing; the reason is the position to resume from. */
  slow: 4008,
} as const;
const CLOSE_REASON_BYTES_MAX = 123;
/** A ping is not answered while so much waits for the client. */
const PONG_BYTES_MAX = 65_536;

/** An open WebSocket, of whatever use. Frames to many are written beside the `ws` package, which keeps no queue of its
 *  own as long as nothing is compressed. */
export class LiveSocket {
  readonly ws: WebSocket;
  readonly outbox: Outbox;
  readonly #socket: Socket;
  readonly #pingMs: number;
  readonly #measures: LiveMeasures;
  #ending = false;
  #aliveMs = performance.now();
  #pinged = false;
  #bytesRead = 0;
  #paused = false;

  constructor(ws: WebSocket, outbox: Outbox, measures: LiveMeasures, pingMs: number, onClosed: () => void) {
    this.ws = ws;
    this.outbox = outbox;
    this.#socket = outbox.socket;
    this.#pingMs = pingMs;
    this.#measures = measures;
    outbox.mayWrite = () => this.open;
    measures.opened();
    ws.on('error', () => this.#ends('malformed'));
    ws.on('ping', (data: Buffer) => {
      if (this.open && this.#socket.writableLength < PONG_BYTES_MAX) ws.pong(data);
    });
    ws.once('close', () => {
      this.#ends('client');
      measures.closed();
      onClosed();
    });
  }

  get open(): boolean {
    return this.ws.readyState === this.ws.OPEN;
  }

  text(text: string): void {
    this.outbox.write(textFrame(text));
  }

  /** Starts and stops reading. */
  read(on: boolean): void {
    this.#paused = !on;
    if (on) this.ws.resume();
    else this.ws.pause();
  }

  /** @param end why, for the metrics  @param reason for the client; at most 123 bytes of it are sent */
  close(code: number, end: LiveEnd, reason: string): void {
    if (!this.open) return;
    this.#ends(end);
    // The client's own close must be seen.
    if (this.#paused) this.read(true);
    this.ws.close(code, Buffer.byteLength(reason) <= CLOSE_REASON_BYTES_MAX ? reason : reason.slice(0, 40));
  }
  destroy(): void {
    this.ws.terminate();
  }

  #ends(reason: LiveEnd): void {
    if (!this.#ending) this.#measures.ends(reason);
    this.#ending = true;
  }

  /** Called a few times a second: pings who is silent, and lets go of who stays so. */
  sweep(nowMs: number): void {
    const { bytesRead, writableLength } = this.#socket;
    const taking = writableLength > 0 && this.outbox.stalledMs(nowMs) === 0;
    if (bytesRead !== this.#bytesRead || this.#paused || taking) {
      this.#bytesRead = bytesRead;
      this.#aliveMs = nowMs;
      this.#pinged = false;
    } else if (nowMs - this.#aliveMs >= this.#pingMs) {
      this.#aliveMs = nowMs;
      if (this.#pinged) {
        this.#ends('silent');
        this.ws.terminate();
      } else if (this.open) {
        this.#pinged = true;
        this.ws.ping();
      }
    }
  }
}
