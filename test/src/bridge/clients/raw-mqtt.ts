import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import {
  generate,
  type IConnackPacket,
  type IConnectPacket,
  type IPublishPacket,
  type ISubackPacket,
  type Packet,
  parser,
} from 'mqtt-packet';
import type { Identity, Place, Qos } from './client.ts';

const ANSWER_MS_MAX = 20_000;
const RESET_MS_MAX = 500;

export interface ConnectOptions {
  readonly clientId?: string;
  readonly clean?: boolean;
  /** Seconds. */
  readonly keepalive?: number;
  readonly will?: NonNullable<IConnectPacket['will']>;
  readonly version?: 3 | 4 | 5;
}

/** A client that does packet by packet what it is told. What comes is answered as the protocol asks, unless it is told
 *  not to. */
export class RawMqtt {
  readonly socket: Socket;
  /** Everything that came, in order. */
  readonly packets: Packet[] = [];
  /** Whether PUBLISH and PUBREL are answered. */
  answers = true;
  /** Called with each packet, in order. */
  onPacket: (packet: Packet) => void = () => {};
  over = false;
  #saidGoodBye = false;
  readonly #waiting = new Set<() => void>();
  /** Packets before it were looked for already. */
  #seen = 0;
  #nextId = 1;

  private constructor(socket: Socket) {
    this.socket = socket;
    const reader = parser({ protocolVersion: 4 });
    reader.on('packet', (packet: Packet) => this.#onPacket(packet));
    socket.setNoDelay(true);
    socket.on('data', (chunk) => reader.parse(chunk));
    socket.on('error', () => {});
    socket.once('close', () => this.#onOver());
  }

  /** Opens the socket and says nothing. */
  static async open(place: Pick<Place, 'mqtt'>): Promise<RawMqtt> {
    const { hostname, port } = new URL(place.mqtt);
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    return new RawMqtt(socket);
  }

  /** Connects and is let in.  @throws with the return code when it is not */
  static async connect(
    place: Pick<Place, 'mqtt'>,
    identity: Identity,
    options: ConnectOptions = {},
  ): Promise<{ client: RawMqtt; present: boolean }> {
    const client = await RawMqtt.open(place);
    const { returnCode, sessionPresent } = await client.hello(identity, options);
    if (returnCode !== 0) throw new Error(`refused with ${returnCode}`);
    return { client, present: sessionPresent };
  }

  async hello(
    identity: Identity | null,
    { clientId = '', clean = true, keepalive = 0, will, version = 4 }: ConnectOptions = {},
  ): Promise<IConnackPacket> {
    this.send({
      cmd: 'connect',
      protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion: version,
      clientId,
      clean,
      keepalive,
      ...(identity === null ? {} : { username: identity.thing, password: Buffer.from(identity.key) }),
      ...(will === undefined ? {} : { will }),
    });
    return this.next('connack');
  }

  send(packet: Packet): void {
    if (this.socket.writable) this.socket.write(generate(packet));
  }

  /** The next packet of a kind that was not looked at yet; what came before it is passed over. */
  async next<Cmd extends Packet['cmd']>(cmd: Cmd, msMax = ANSWER_MS_MAX): Promise<Extract<Packet, { cmd: Cmd }>> {
    let found: Packet | undefined;
    await this.until(
      `a ${cmd}`,
      () => {
        for (; this.#seen < this.packets.length && found === undefined; this.#seen++) {
          const packet = this.packets[this.#seen];
          if (packet?.cmd === cmd) found = packet;
        }
        return found !== undefined;
      },
      msMax,
    );
    return found as Extract<Packet, { cmd: Cmd }>;
  }

  /** The answer to the packet with this id, wherever it came. */
  async answer<Cmd extends Packet['cmd']>(cmd: Cmd, messageId: number): Promise<Extract<Packet, { cmd: Cmd }>> {
    const find = (): Packet | undefined =>
      this.packets.findLast((packet) => packet.cmd === cmd && packet.messageId === messageId);
    await this.until(`${cmd} ${messageId}`, () => find() !== undefined);
    return find() as Extract<Packet, { cmd: Cmd }>;
  }

  /** Waits for a condition, looked at after each packet.  @throws when the connection ends before, or it takes too long */
  until(what: string, met: () => boolean, msMax = ANSWER_MS_MAX): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (done: () => void): void => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        done();
      };
      const told = (): string => `${this.packets.length} packets came, the last ${this.packets.at(-1)?.cmd}`;
      const check = (): void => {
        if (met()) settle(resolve);
        else if (this.over) settle(() => reject(new Error(`${what}: the connection is closed; ${told()}`)));
      };
      const timer = setTimeout(
        () => settle(() => reject(new Error(`${what}: not within ${msMax} ms; ${told()}`))),
        msMax,
      );
      this.#waiting.add(check);
      check();
    });
  }

  /** Waits for the end of the connection. */
  async closed(msMax = ANSWER_MS_MAX): Promise<void> {
    await this.until('the end of the connection', () => this.over, msMax);
  }

  /** @returns what was granted, as SUBACK says */
  async subscribe(topics: readonly (readonly [topic: string, qos: Qos])[]): Promise<number[]> {
    const messageId = this.#nextId++;
    this.send({ cmd: 'subscribe', messageId, subscriptions: topics.map(([topic, qos]) => ({ topic, qos })) });
    const { granted } = (await this.answer('suback', messageId)) as ISubackPacket;
    return granted as number[];
  }

  async unsubscribe(topics: readonly string[]): Promise<void> {
    const messageId = this.#nextId++;
    this.send({ cmd: 'unsubscribe', messageId, unsubscriptions: [...topics] });
    await this.answer('unsuback', messageId);
  }

  /** Publishes, through all that its QoS asks. */
  async publish(topic: string, payload: string | Buffer, qos: Qos = 0, retain = false): Promise<void> {
    if (qos === 0) {
      this.send({ cmd: 'publish', topic, payload, qos, retain, dup: false });
      return;
    }
    const messageId = this.#nextId++;
    this.send({ cmd: 'publish', topic, payload, qos, retain, dup: false, messageId });
    if (qos === 1) {
      await this.answer('puback', messageId);
      return;
    }
    await this.answer('pubrec', messageId);
    this.send({ cmd: 'pubrel', messageId });
    await this.answer('pubcomp', messageId);
  }

  /** A round trip: what the node sent before its answer has come. */
  async ping(): Promise<void> {
    const before = this.#pongs();
    this.send({ cmd: 'pingreq' });
    await this.until('a pong', () => this.#pongs() > before);
  }

  /** The messages that came. */
  get messages(): IPublishPacket[] {
    return this.packets.filter((packet): packet is IPublishPacket => packet.cmd === 'publish');
  }

  /** Says good-bye. What was on its way then can't be acknowledged any more, so it has not come. */
  async disconnect(): Promise<void> {
    this.#saidGoodBye = true;
    this.send({ cmd: 'disconnect' });
    this.socket.end();
    await this.closed();
  }

  /** Goes without a word: by a reset, if the other side has not begun to close. */
  async cut(): Promise<void> {
    if (this.over) return;
    const { socket } = this;
    if (socket.readableEnded || socket.writableEnded) socket.destroy();
    else socket.resetAndDestroy();
    // Node forgets to tell of the end when a reset meets the other side's own end.
    const timer = setTimeout(() => this.#onOver(), RESET_MS_MAX);
    await this.closed();
    clearTimeout(timer);
  }

  #onOver(): void {
    this.over = true;
    for (const check of this.#waiting) check();
  }

  #pongs(): number {
    return this.packets.filter((packet) => packet.cmd === 'pingresp').length;
  }

  #onPacket(packet: Packet): void {
    if (this.#saidGoodBye && packet.cmd === 'publish') return;
    this.packets.push(packet);
    this.onPacket(packet);
    const { messageId = 0 } = packet;
    if (this.answers) this.#answer(packet, messageId);
    for (const check of this.#waiting) check();
  }

  #answer(packet: Packet, messageId: number): void {
    if (packet.cmd === 'publish' && packet.qos === 1) this.send({ cmd: 'puback', messageId });
    else if (packet.cmd === 'publish' && packet.qos === 2) this.send({ cmd: 'pubrec', messageId });
    else if (packet.cmd === 'pubrel') this.send({ cmd: 'pubcomp', messageId });
  }
}

export const textOf = (packet: IPublishPacket): string => packet.payload.toString('utf8');
