import type { AddressInfo } from 'node:net';
import { createServer, type Server, type Socket } from 'node:net';
import { generate, type IConnectPacket, type IPublishPacket, type Packet, parser } from 'mqtt-packet';

/** A broker that does as a test says, to one client at a time.
 *  @holds what it received is in `received` */
export class FakeBroker {
  readonly received: Packet[] = [];
  readonly connects: IConnectPacket[] = [];
  /** Newest MQTT that it speaks. */
  protocolMax = 5;
  /** Return code of the next CONNACKs. */
  refusal = 0;
  /** What a subscription is granted. */
  granted = 1;
  socket: Socket | null = null;
  #protocol = 4;
  #messageId = 0;
  readonly #server: Server = createServer((socket) => this.#serve(socket));

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `mqtt://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  publish(topic: string, payload: Uint8Array | string, qos: 0 | 1 = 1): number {
    const messageId = qos === 0 ? 0 : ++this.#messageId;
    const packet = { cmd: 'publish', topic, payload: Buffer.from(payload), qos, messageId, dup: false, retain: false };
    this.#send(packet as unknown as Packet);
    return messageId;
  }

  /** Ids of what was acknowledged, in order. */
  get acknowledged(): number[] {
    return this.received.filter(({ cmd }) => cmd === 'puback').map(({ messageId }) => messageId ?? 0);
  }
  get published(): IPublishPacket[] {
    return this.received.filter((packet): packet is IPublishPacket => packet.cmd === 'publish');
  }

  cut(): void {
    this.socket?.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(socket: Socket): void {
    this.socket = socket;
    const packets = parser();
    socket.on('data', (bytes) => packets.parse(bytes));
    socket.on('error', () => {});
    packets.on('packet', (packet: Packet) => this.#take(packet));
  }

  #take(packet: Packet): void {
    this.received.push(packet);
    if (packet.cmd === 'connect') {
      this.connects.push(packet);
      this.#protocol = packet.protocolVersion ?? 4;
      if (this.#protocol > this.protocolMax) {
        // As brokers of 3.1.1 answer: in their own protocol.
        this.socket?.end(generate({ cmd: 'connack', returnCode: 1, sessionPresent: false }));
        return;
      }
      const code = this.refusal;
      this.#send({ cmd: 'connack', returnCode: code, reasonCode: code, sessionPresent: false });
      if (code !== 0) this.socket?.end();
    } else if (packet.cmd === 'subscribe') {
      this.#send({ cmd: 'suback', messageId: packet.messageId ?? 0, granted: [this.granted] });
    } else if (packet.cmd === 'publish') {
      this.#send({ cmd: 'puback', messageId: packet.messageId ?? 0, reasonCode: 0 });
    } else if (packet.cmd === 'pingreq') this.#send({ cmd: 'pingresp' });
  }

  #send(packet: Packet): void {
    this.socket?.write(generate(packet, { protocolVersion: this.#protocol }));
  }
}
