import type { IPublishPacket, Packet } from 'mqtt-packet';
import type { Identity, Place, Qos } from './client.ts';
import { RawMqtt } from './raw-mqtt.ts';

const PACKET_IDS_MAX = 65_535;

interface Outgoing {
  readonly topic: string;
  readonly payload: string;
  readonly qos: 1 | 2;
  /** QoS 2: PUBREC came, only PUBCOMP is missing. */
  released: boolean;
  readonly done: () => void;
}

/** A client that keeps its own half of a session as the protocol asks, so that it may lose its connection at any time:
 *  what it has sent and not seen acknowledged is sent again, and a QoS 2 message counts once.
 *  @source MQTT 3.1.1 §4.1, §4.3, §4.4 */
export class LastingMqtt {
  readonly clientId: string;
  /** Payloads as an application gets them: at QoS 2 each once, at QoS 1 and 0 as they come. */
  readonly received: { readonly topic: string; readonly payload: string; readonly qos: Qos }[] = [];
  /** PUBLISH packets of QoS 2 that came again with the id of one that is not released: allowed, and no message. */
  repeated = 0;
  connection: RawMqtt | null = null;
  readonly #identity: Identity;
  readonly #clean: boolean;
  readonly #lagMs: number;
  readonly #outgoing = new Map<number, Outgoing>();
  /** QoS 2 ids that the node has not released. */
  readonly #incoming = new Set<number>();
  #nextId = 1;

  /** @param lagMs it answers so late: much is open then when its connection is lost */
  constructor(identity: Identity, clientId: string, clean: boolean, lagMs = 0) {
    this.#identity = identity;
    this.clientId = clientId;
    this.#clean = clean;
    this.#lagMs = lagMs;
  }

  get connected(): boolean {
    return this.connection !== null && !this.connection.over;
  }

  get unacknowledged(): number {
    return this.#outgoing.size;
  }

  /** Connects, and takes up what was open.  @returns whether the node still had the session */
  async connect(place: Pick<Place, 'mqtt'>): Promise<boolean> {
    const connection = await RawMqtt.open(place);
    connection.answers = false;
    // What comes right behind CONNACK is not missed.
    connection.onPacket = (packet) => this.#onPacket(connection, packet);
    const { clientId } = this;
    const { returnCode, sessionPresent } = await connection.hello(this.#identity, { clientId, clean: this.#clean });
    if (returnCode !== 0) {
      await connection.cut();
      throw new Error(`refused with ${returnCode}`);
    }
    this.connection = connection;
    for (const [messageId, outgoing] of this.#outgoing) {
      // A node that has forgotten the session takes all of it for new.
      if (!sessionPresent) outgoing.released = false;
      if (outgoing.released) connection.send({ cmd: 'pubrel', messageId });
      else this.#send(connection, messageId, outgoing, sessionPresent);
    }
    return sessionPresent;
  }

  /** Resolves when the node has acknowledged it, over however many connections that takes. */
  publish(topic: string, payload: string, qos: 1 | 2): Promise<void> {
    let messageId = this.#nextId;
    while (this.#outgoing.has(messageId)) messageId = (messageId % PACKET_IDS_MAX) + 1;
    this.#nextId = (messageId % PACKET_IDS_MAX) + 1;
    return new Promise((resolve) => {
      const outgoing = { topic, payload, qos, released: false, done: resolve };
      this.#outgoing.set(messageId, outgoing);
      if (this.connection !== null && this.connected) this.#send(this.connection, messageId, outgoing, false);
    });
  }

  async cut(): Promise<void> {
    await this.connection?.cut();
  }

  #send(connection: RawMqtt, messageId: number, { topic, payload, qos }: Outgoing, dup: boolean): void {
    connection.send({ cmd: 'publish', topic, payload, qos, retain: false, dup, messageId });
  }

  #reply(connection: RawMqtt, packet: Packet): void {
    if (this.#lagMs === 0) connection.send(packet);
    else setTimeout(() => connection.send(packet), this.#lagMs);
  }

  #onPublish(connection: RawMqtt, packet: IPublishPacket): void {
    const { topic, qos, messageId = 0 } = packet;
    if (qos === 2 && this.#incoming.has(messageId)) this.repeated++;
    else this.received.push({ topic, payload: packet.payload.toString('utf8'), qos });
    if (qos === 2) this.#incoming.add(messageId);
    if (qos === 1) this.#reply(connection, { cmd: 'puback', messageId });
    else if (qos === 2) this.#reply(connection, { cmd: 'pubrec', messageId });
  }

  #onPacket(connection: RawMqtt, packet: Packet): void {
    const { messageId = 0 } = packet;
    const outgoing = this.#outgoing.get(messageId);
    if (packet.cmd === 'connack') {
      if (!packet.sessionPresent) this.#incoming.clear();
    } else if (packet.cmd === 'publish') {
      this.#onPublish(connection, packet);
    } else if (packet.cmd === 'pubrel') {
      this.#incoming.delete(messageId);
      this.#reply(connection, { cmd: 'pubcomp', messageId });
    } else if (packet.cmd === 'pubrec') {
      if (outgoing !== undefined) outgoing.released = true;
      this.#reply(connection, { cmd: 'pubrel', messageId });
    } else if ((packet.cmd === 'puback' && outgoing?.qos === 1) || (packet.cmd === 'pubcomp' && outgoing?.released)) {
      this.#outgoing.delete(messageId);
      outgoing.done();
    }
  }
}
