import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls, createSecureContext } from 'node:tls';
import { connectPacket, DISCONNECT, PacketType, subscribePacket } from './packets.ts';
import type { Endpoint, Identity } from './plan.ts';

// hot

/** Who is told what came. Bytes are the socket's own: they hold until the call returns. */
export interface PacketListener {
  /** One whole packet: its first byte, and where its body lies. */
  packet(client: MqttClient, header: number, bytes: Buffer, start: number, end: number): void;
  /** All packets of one read were told: the moment to write what they ask for. */
  readEnd(client: MqttClient): void;
  /** The connection ended without close(). */
  lost(client: MqttClient): void;
}

export interface ClientOptions {
  readonly clientId: string;
  readonly clean?: boolean;
  readonly keepAliveS?: number;
  /** Many connections take the ports of many source addresses. */
  readonly localAddress?: string;
}

const EMPTY = Buffer.alloc(0);
const shared = Buffer.allocUnsafe(256 * 1_024);
// One context for all connections; no session is ever kept, so that each handshake is whole.
const secureContext = createSecureContext({ minVersion: 'TLSv1.3' });

/** One MQTT connection over a raw socket. */
export class MqttClient {
  /** Of the subscriber or publisher that it is, by whoever made it. */
  readonly index: number;
  readonly #listener: PacketListener;
  #socket: Socket | null = null;
  #held: Buffer = EMPTY;
  #acknowledged: ((problem: Error | null) => void) | null = null;
  #closing = false;

  constructor(index: number, listener: PacketListener) {
    this.index = index;
    this.#listener = listener;
  }

  /** Resolves with CONNACK 0. */
  open(endpoint: Endpoint, identity: Identity, options: ClientOptions): Promise<void> {
    const { clientId, clean = true, keepAliveS = 600, localAddress } = options;
    const first = connectPacket(clientId, identity, { clean, keepAliveS });
    const address = {
      host: endpoint.host,
      port: endpoint.port,
      ...(localAddress === undefined || process.platform !== 'linux' ? {} : { localAddress }),
    };
    return new Promise((resolve, reject) => {
      this.#acknowledged = (problem) => {
        this.#acknowledged = null;
        if (problem === null) resolve();
        else reject(problem);
      };
      const socket = endpoint.tls
        ? connectTls({ ...address, secureContext, rejectUnauthorized: false })
        : connectPlain({
            ...address,
            onread: {
              buffer: shared,
              callback: (size, buffer) => {
                this.#read((buffer as Buffer).subarray(0, size));
                return true;
              },
            },
          });
      this.#socket = socket;
      socket.setNoDelay(true);
      if (endpoint.tls) socket.on('data', (bytes: Buffer) => this.#read(bytes));
      socket.on('error', (error) => this.#acknowledged?.(error));
      socket.once('close', () => this.#closed());
      socket.write(first);
    });
  }

  /** Resolves with SUBACK. @throws Error when the filter is refused */
  subscribe(filter: string, qos: 0 | 1 | 2): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#acknowledged = (problem) => {
        this.#acknowledged = null;
        if (problem === null) resolve();
        else reject(problem);
      };
      this.write(subscribePacket(1, filter, qos));
    });
  }

  write(bytes: Buffer): void {
    this.#socket?.write(bytes);
  }

  /** DISCONNECT, then the end of the connection. */
  close(): void {
    this.#closing = true;
    this.#socket?.end(DISCONNECT);
  }

  /** Resolves when the connection is gone. */
  left(): Promise<void> {
    const socket = this.#socket;
    if (socket === null || socket.destroyed) return Promise.resolve();
    return new Promise((resolve) => socket.once('close', () => resolve()));
  }

  destroy(): void {
    this.#closing = true;
    this.#socket?.destroy();
  }

  #closed(): void {
    this.#acknowledged?.(new Error('the connection was closed'));
    this.#socket = null;
    if (!this.#closing) this.#listener.lost(this);
  }

  #read(read: Buffer): void {
    const bytes = this.#held.length === 0 ? read : Buffer.concat([this.#held, read]);
    let at = 0;
    while (at + 2 <= bytes.length) {
      let size = 0;
      let shift = 0;
      let next = at + 1;
      let digit = 0x80;
      while (digit >= 0x80 && next < bytes.length) {
        digit = bytes[next++] as number;
        size |= (digit & 0x7f) << shift;
        shift += 7;
      }
      if (digit >= 0x80 || next + size > bytes.length) break;
      this.#told(bytes[at] as number, bytes, next, next + size);
      at = next + size;
    }
    // The read buffer is shared: what is held is copied.
    this.#held = at === bytes.length ? EMPTY : Buffer.from(bytes.subarray(at));
    this.#listener.readEnd(this);
  }

  #told(header: number, bytes: Buffer, start: number, end: number): void {
    const type = header >> 4;
    if (type === PacketType.connack || type === PacketType.suback) {
      const code = bytes[end - 1] as number;
      const refused = type === PacketType.connack ? code !== 0 : code >= 0x80;
      this.#acknowledged?.(refused ? new Error(`refused with code ${code}`) : null);
      return;
    }
    this.#listener.packet(this, header, bytes, start, end);
  }
}

/** Opens clients, so many at a time.  @throws what the first that failed threw */
export async function eachAtOnce<T>(
  things: readonly T[],
  atOnce: number,
  work: (thing: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < things.length) await work(things[next++] as T);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, things.length) }, worker));
}

/** A source address of the loopback network for the n-th connection. */
export const sourceAddress = (index: number): string => `127.0.0.${2 + (index % 200)}`;
