import { createSocket, type Socket } from 'node:dgram';
import type { lookup } from 'node:dns';
import { once } from 'node:events';
import {
  ACK,
  CON,
  decode,
  empty,
  encode,
  METHODS,
  type MethodName,
  OPTION,
  type RawMessage,
  type RawOption,
  RST,
  uint,
} from './raw-message.ts';

const NOTHING = Buffer.alloc(0);
const ACK_TIMEOUT_MS = 2_000;
const ANSWER_MS_MAX = 30_000;
const RECEIVE_BUFFER_BYTES = 1_048_576;

export interface RawAsked {
  readonly method?: MethodName;
  /** `channels/<id>/messages?auth=<key>`, nothing of it encoded. */
  readonly uri: string;
  readonly payload?: string | Buffer;
  readonly format?: number;
  readonly observe?: number;
  readonly type?: number;
  readonly token?: Buffer;
  readonly messageId?: number;
  readonly options?: readonly RawOption[];
}

interface Waiting {
  readonly datagram: Buffer;
  readonly resolve: (message: RawMessage) => void;
  readonly reject: (error: Error) => void;
  readonly beganMs: number;
  readonly msMax: number;
  /** It came, and the answer will. */
  acknowledged: boolean;
  retry: NodeJS.Timeout | null;
}

/** `127.16.0.1`, `127.16.0.2`, …: all of 127/8 is this machine, and any of it can be a source. */
export const loopback = (index: number, net = 16): string =>
  `127.${net + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;

/** What carries datagrams to a node and back. */
export interface Wire {
  onDatagram: (datagram: Buffer) => void;
  send(datagram: Buffer): void;
  close(): void;
}

/** From an address and port of its own. */
export class UdpWire implements Wire {
  onDatagram: (datagram: Buffer) => void = () => {};
  readonly #socket: Socket;
  readonly #port: number;

  private constructor(socket: Socket, port: number) {
    this.#socket = socket;
    this.#port = port;
    socket.on('message', (datagram) => this.onDatagram(datagram));
    // Of a node that is not there for a moment; what is lost is sent again.
    socket.on('error', () => {});
  }

  static async open(url: string, address: string): Promise<UdpWire> {
    const socket = createSocket({ type: 'udp4', lookup: literal, recvBufferSize: RECEIVE_BUFFER_BYTES });
    const listening = once(socket, 'listening');
    socket.bind(0, address);
    await listening;
    return new UdpWire(socket, Number(url.split(':').at(-1)));
  }

  send(datagram: Buffer): void {
    this.#socket.send(datagram, this.#port, '127.0.0.1', () => {});
  }

  close(): void {
    this.#socket.close();
  }
}

/** A device at an address of its own: repeats what is not acknowledged, acknowledges what it is told to, and does nothing
 *  by itself. */
export class RawDevice {
  readonly address: string;
  /** How confirmable messages of the server are met. */
  manner: 'acknowledge' | 'reset' | 'ignore' = 'acknowledge';
  /** Hears of whatever nobody waits for: notifications, second answers. */
  onMessage: ((message: RawMessage) => void) | null = null;
  /** Datagrams that this device sent again. */
  retransmissions = 0;
  /** Empty acknowledgements that came. */
  acknowledged = 0;
  sentBytes = 0;
  received = 0;
  receivedBytes = 0;
  readonly #wire: Wire;
  readonly #waiting = new Map<string, Waiting>();
  #messageId = Math.floor(Math.random() * 65_536);
  #token = Math.floor(Math.random() * 2 ** 24);
  #open = true;

  /** @param address its own, as the node sees it */
  constructor(wire: Wire, address: string) {
    this.#wire = wire;
    this.address = address;
    wire.onDatagram = (datagram) => this.#heard(datagram);
  }

  /** @param url `coap://127.0.0.1:<port>` */
  static async open(url: string, address = '127.0.0.1'): Promise<RawDevice> {
    return new RawDevice(await UdpWire.open(url, address), address);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const [key, { retry, reject }] of this.#waiting) {
      if (retry !== null) clearTimeout(retry);
      this.#waiting.delete(key);
      reject(new Error('the device was closed'));
    }
    this.#wire.close();
  }

  /** Sends a request, again until it is acknowledged, and waits for the answer.
   *  @param msMax beyond it the device gives up, which is a failure */
  ask(asked: RawAsked, msMax = ANSWER_MS_MAX): Promise<RawMessage> {
    const token = asked.token ?? this.newToken();
    const datagram = this.request({ ...asked, token });
    return new Promise((resolve, reject) => {
      this.#wait(token.toString('hex'), ACK_TIMEOUT_MS * (1 + Math.random() / 2), { datagram, resolve, reject, msMax });
    });
  }

  newToken(): Buffer {
    this.#token = (this.#token + 1) & 0xff_ff_ff;
    return Buffer.from([1, this.#token >> 16, (this.#token >> 8) & 255, this.#token & 255]);
  }

  /** The datagram of a request, not sent. */
  request(asked: RawAsked): Buffer {
    const [path = '', query = ''] = asked.uri.split('?');
    this.#messageId = (this.#messageId + 1) & 0xffff;
    const options: RawOption[] = path.split('/').map((segment) => [OPTION.UriPath, Buffer.from(segment)]);
    for (const part of query.split('&').filter(Boolean)) options.push([OPTION.UriQuery, Buffer.from(part)]);
    if (asked.format !== undefined) options.push([OPTION.ContentFormat, uint(asked.format)]);
    if (asked.observe !== undefined) options.push([OPTION.Observe, uint(asked.observe)]);
    return encode({
      type: asked.type ?? CON,
      code: METHODS[asked.method ?? 'POST'],
      messageId: asked.messageId ?? this.#messageId,
      token: asked.token ?? this.newToken(),
      options: [...options, ...(asked.options ?? [])],
      payload: asked.payload === undefined ? NOTHING : Buffer.from(asked.payload as string),
    });
  }

  send(datagram: Buffer): void {
    if (!this.#open) return;
    this.sentBytes += datagram.length;
    this.#wire.send(datagram);
  }

  /** Waits until the server has worked off all that was sent before: it answers a ping. */
  async settled(): Promise<void> {
    this.#messageId = (this.#messageId + 1) & 0xffff;
    const messageId = this.#messageId;
    await new Promise((resolve, reject) => {
      this.#wait(`ping ${messageId}`, 500, { datagram: empty(CON, messageId), resolve, reject, msMax: ANSWER_MS_MAX });
    });
  }

  #wait(key: string, ms: number, front: Pick<Waiting, 'datagram' | 'resolve' | 'reject' | 'msMax'>): void {
    const waiting: Waiting = { ...front, beganMs: performance.now(), acknowledged: false, retry: null };
    this.#waiting.set(key, waiting);
    this.#patience(waiting, key, ms);
    this.send(waiting.datagram);
  }

  #patience(waiting: Waiting, key: string, ms: number): void {
    waiting.retry = setTimeout(() => {
      if (performance.now() - waiting.beganMs > waiting.msMax) {
        this.#waiting.delete(key);
        waiting.reject(new Error(`${this.address}: no answer within ${waiting.msMax} ms`));
        return;
      }
      if (!waiting.acknowledged) {
        this.retransmissions++;
        this.send(waiting.datagram);
      }
      this.#patience(waiting, key, Math.min(ms * 2, 4_000));
    }, ms);
  }

  #heard(datagram: Buffer): void {
    this.received++;
    this.receivedBytes += datagram.length;
    const message = decode(datagram);
    if (message.type === RST) {
      this.#settle(`ping ${message.messageId}`, message);
      return;
    }
    if (message.type === CON && this.manner !== 'ignore') {
      this.send(empty(this.manner === 'reset' || message.code === 0 ? RST : ACK, message.messageId));
    }
    if (message.code === 0) {
      if (message.type === ACK) this.acknowledged++;
      for (const waiting of this.#waiting.values())
        if (waiting.datagram.readUInt16BE(2) === message.messageId) waiting.acknowledged = true;
    } else if (!this.#settle(message.token.toString('hex'), message)) {
      this.onMessage?.(message);
    }
  }

  #settle(key: string, message: RawMessage): boolean {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) return false;
    this.#waiting.delete(key);
    if (waiting.retry !== null) clearTimeout(waiting.retry);
    waiting.resolve(message);
    return true;
  }
}

/** Without it each bind and send asks the resolver, on a thread. */
const literal = ((_host: string, _options: unknown, told: (error: null, address: string, family: number) => void) =>
  told(null, _host, 4)) as unknown as typeof lookup;
