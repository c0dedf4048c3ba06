import { DtlsClient } from '@millrace/ingest/dtls-client';
import { UdpWire, type Wire } from '../coap/raw-device.ts';
import { eventually } from '../millrace.ts';

const AGAIN_MS = 300;

export interface SecureOptions {
  readonly identity: string;
  readonly key: string;
  /** What becomes of a datagram on its way to the node. */
  readonly spoil?: (datagram: Buffer) => Buffer;
}

/** DTLS over UDP, as a wire for a device. What it sent is kept, for those who send it again. */
export class SecureWire implements Wire {
  onDatagram: (datagram: Buffer) => void = () => {};
  readonly recorded: Buffer[] = [];
  readonly client: DtlsClient;
  /** Set where the session ended, and how. */
  closed: string | null = null;
  readonly #udp: UdpWire;
  readonly #spoil: (datagram: Buffer) => Buffer;

  private constructor(udp: UdpWire, options: SecureOptions) {
    this.#udp = udp;
    this.#spoil = options.spoil ?? ((datagram) => datagram);
    this.client = new DtlsClient({
      psk: { identity: options.identity, key: Buffer.from(options.key) },
      send: (datagram) => {
        this.recorded.push(Buffer.from(datagram));
        this.transmit(this.#spoil(datagram));
      },
      onMessage: (datagram) => this.onDatagram(datagram),
      onClose: (why) => {
        this.closed = why;
      },
    });
    udp.onDatagram = (datagram) => this.client.receive(datagram);
  }

  /** @param url `coaps://127.0.0.1:<port>` */
  static async open(url: string, address: string, options: SecureOptions): Promise<SecureWire> {
    return new SecureWire(await UdpWire.open(url, address), options);
  }

  /** @returns whether there is a session now */
  async handshake(msMax = 30_000): Promise<boolean> {
    this.client.start();
    const again = setInterval(() => this.client.resend(), AGAIN_MS);
    try {
      await eventually('the handshake', msMax, async () => this.client.state !== 'handshake');
    } finally {
      clearInterval(again);
    }
    return this.client.state === 'open';
  }

  send(datagram: Buffer): void {
    this.client.send(datagram);
  }

  /** As it is, past the session. */
  transmit(datagram: Buffer): void {
    this.#udp.send(datagram);
  }

  /** Without a word. */
  close(): void {
    this.#udp.close();
  }
}
