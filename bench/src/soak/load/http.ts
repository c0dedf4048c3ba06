import { type AnswerListener, Connection } from '../../load/connection.ts';
import type { Target } from '../../pack.ts';
import type { Told, Wire } from './wire.ts';

const CONNECTIONS = 32;
const BUFFER_SIZE = 65_536;
const AGAIN_MS = 200;

/** Keep-alive connections with one request in flight each. */
export class HttpWire implements Wire, AnswerListener {
  readonly protocol = 'http';
  readonly #shared = Buffer.alloc(BUFFER_SIZE);
  readonly #told: Told;
  #free: Connection[] = [];
  #connections: Connection[] = [];
  #closed = false;

  private constructor(told: Told) {
    this.#told = told;
  }

  static async open(url: URL, targets: readonly Target[], body: string, told: Told): Promise<HttpWire> {
    const wire = new HttpWire(told);
    wire.#connections = Array.from({ length: CONNECTIONS }, (_, index) => {
      const { channel, key } = targets[index % targets.length] as Target;
      const head = [
        `POST /channels/${channel}/messages HTTP/1.1`,
        `Host: ${url.host}`,
        `Authorization: Thing ${key}`,
        'Content-Type: application/senml+json',
        `Content-Length: ${Buffer.byteLength(body)}`,
      ];
      const request = Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`);
      return new Connection(url.hostname, Number(url.port), [request], wire);
    });
    await Promise.all(wire.#connections.map((connection) => connection.open(wire.#shared)));
    wire.#free = [...wire.#connections];
    return wire;
  }

  send(): boolean {
    const connection = this.#free.pop();
    connection?.send(performance.now());
    return connection !== undefined;
  }

  answered(connection: Connection, status: number): void {
    this.#told.answered(status === 202, performance.now() - connection.sentAt);
    if (status !== 0) this.#free.push(connection);
    else void this.#again(connection);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const connection of this.#connections) connection.close();
  }

  async #again(connection: Connection): Promise<void> {
    while (!this.#closed) {
      try {
        await connection.open(this.#shared);
        this.#free.push(connection);
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    }
  }
}
