import { createSocket, type Socket } from 'node:dgram';
import { DtlsClient } from '@millrace/ingest/dtls-client';
import { eventually } from '../millrace.ts';
import type { CoapsNode } from './coaps-node.ts';

const ANSWER_MS_MAX = 2_000;
const [URI_PATH, CONTENT_FORMAT, TEXT] = [11, 12, 0];

/** A device with a key and a connection id, which may change its address: programs that one can install can not. */
export class Device {
  handshakes = 0;
  readonly #port: number;
  readonly #node: CoapsNode;
  readonly #client: DtlsClient;
  #socket: Socket;
  #answers: Buffer[] = [];
  #messageId = 1;

  constructor(port: number, node: CoapsNode) {
    this.#port = port;
    this.#node = node;
    this.#socket = this.#open();
    const { thing, key } = node.publisher;
    this.#client = new DtlsClient({
      psk: { identity: thing, key: Buffer.from(key) },
      connectionId: Buffer.alloc(0),
      send: (datagram) => this.#socket.send(datagram, this.#port, '127.0.0.1'),
      onOpen: () => {
        this.handshakes++;
      },
      onMessage: (datagram) => this.#answers.push(datagram),
    });
  }

  async handshake(): Promise<void> {
    this.#client.start();
    const again = setInterval(() => this.#client.resend(), 1_000);
    try {
      await eventually('the handshake', 30_000, async () => this.#client.state === 'open');
    } finally {
      clearInterval(again);
    }
  }

  /** From another port from now on. */
  move(): void {
    this.#socket.close();
    this.#socket = this.#open();
  }

  /** @returns the code of the answer, "" if none came */
  async publish(text: string): Promise<string> {
    const id = this.#messageId++;
    this.#answers = [];
    this.#client.send(this.#post(id, text));
    // A separate answer comes after an empty acknowledgement.
    const answered = (): Buffer | undefined => this.#answers.find((each) => each[1] !== 0);
    await eventually('the answer', ANSWER_MS_MAX, async () => answered() !== undefined).catch(() => undefined);
    const code = answered()?.[1];
    return code === undefined ? '' : `${code >> 5}.${String(code & 31).padStart(2, '0')}`;
  }

  end(): void {
    this.#client.close();
    this.#socket.close();
  }

  #open(): Socket {
    return createSocket('udp4').on('message', (datagram) => this.#client.receive(datagram));
  }

  /** A confirmable POST with a token of one byte.  @source RFC 7252 §3 */
  #post(id: number, text: string): Buffer {
    const path = ['channels', this.#node.publisher.channel, 'messages', 'moving'];
    const options = path.map((segment, n) => option(n === 0 ? URI_PATH : 0, Buffer.from(segment)));
    options.push(option(CONTENT_FORMAT - URI_PATH, Buffer.from([TEXT])));
    const head = Buffer.from([0x41, 2, id >> 8, id & 255, id & 255]);
    return Buffer.concat([head, ...options, Buffer.from([0xff]), Buffer.from(text)]);
  }
}

/** @param delta to the option before, 12 at most; values of up to 268 bytes */
function option(delta: number, value: Buffer): Buffer {
  const long = value.length > 12;
  return Buffer.concat([
    Buffer.from(long ? [(delta << 4) | 13, value.length - 13] : [(delta << 4) | value.length]),
    value,
  ]);
}
