import { connect, type Socket } from 'node:net';
import mqtt, { type IConnectPacket, type Packet } from 'mqtt-packet';

export const generate = (packet: Packet): Buffer => mqtt.generate(packet);

export const connectPacket = (fields: Partial<IConnectPacket> = {}): IConnectPacket => ({
  cmd: 'connect',
  protocolId: 'MQTT',
  protocolVersion: 4,
  clientId: 'c1',
  clean: true,
  keepalive: 0,
  ...fields,
});

/** A plain socket that speaks MQTT only as far as a test says. */
export class RawMqtt {
  readonly socket: Socket;
  readonly packets: Packet[] = [];
  closed = false;
  readonly #changed = new Set<() => void>();

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const parser = mqtt.parser({ protocolVersion: 4 });
    parser.on('packet', (packet) => this.packets.push(packet));
    parser.on('error', () => {});
    this.socket.on('data', (chunk: Buffer) => {
      parser.parse(chunk);
      this.#wake();
    });
    this.socket.on('error', () => {});
    this.socket.once('close', () => {
      this.closed = true;
      this.#wake();
    });
  }

  send(...packets: (Packet | Uint8Array)[]): this {
    this.socket.write(Buffer.concat(packets.map((each) => (each instanceof Uint8Array ? each : generate(each)))));
    return this;
  }

  /** The next packet of a kind, taken out; others stay. */
  async next<Kind extends Packet['cmd']>(cmd: Kind): Promise<Extract<Packet, { cmd: Kind }>> {
    for (;;) {
      const index = this.packets.findIndex((packet) => packet.cmd === cmd);
      if (index >= 0) return this.packets.splice(index, 1)[0] as Extract<Packet, { cmd: Kind }>;
      if (this.closed) throw new Error(`the connection ended without ${cmd}`);
      await this.#change();
    }
  }

  async end(): Promise<void> {
    while (!this.closed) await this.#change();
  }

  destroy(): void {
    this.socket.destroy();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#changed.add(resolve));
  }

  #wake(): void {
    const waiting = [...this.#changed];
    this.#changed.clear();
    for (const wake of waiting) wake();
  }
}
