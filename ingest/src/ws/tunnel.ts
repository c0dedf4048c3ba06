import { Duplex } from 'node:stream';
import type { LiveConnection } from '../live/connection.ts';
import { CLOSE, type LiveSocket } from './socket.ts';

/** Sub-protocols that carry MQTT.  @source MQTT 3.1.1 §6, MQTT 3.1 */
export const MQTT_PROTOCOLS: readonly string[] = ['mqtt', 'mqttv3.1'];

/** The bytes of another protocol in the binary frames of a WebSocket; where the frames are cut means nothing.
 *  Backpressure goes both ways. */
export class Tunnel extends Duplex implements LiveConnection {
  /** Who speaks MQTT drains its own connections. */
  readonly drains = false;
  readonly #socket: LiveSocket;
  #over = false;

  constructor(socket: LiveSocket) {
    super({ allowHalfOpen: false, decodeStrings: true });
    this.#socket = socket;
    socket.ws.on('message', (data: Buffer, isBinary: boolean) => {
      if (!isBinary) {
        socket.close(CLOSE.unsupported, 'malformed', 'MQTT travels in binary frames.');
        this.left();
      } else if (!this.#over && !this.push(data)) socket.read(false);
    });
  }

  /** The WebSocket is gone. */
  left(): void {
    if (this.#over) return;
    this.#over = true;
    this.push(null);
  }

  sweep(nowMs: number): void {
    this.#socket.sweep(nowMs);
  }
  drain(): void {}

  override _read(): void {
    this.#socket.read(true);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (!this.#socket.open) {
      done();
      return;
    }
    this.#socket.ws.send(chunk, { binary: true }, () => done());
  }

  override _writev(chunks: { readonly chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this._write(
      chunks.length === 1 ? (chunks[0]?.chunk as Buffer) : Buffer.concat(chunks.map(({ chunk }) => chunk)),
      'utf8',
      done,
    );
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.close(1000, 'client', '');
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#over = true;
    // After its end the closing handshake is under way: what was written is not lost.
    if (!this.writableFinished) this.#socket.destroy();
    done(error);
  }
}
