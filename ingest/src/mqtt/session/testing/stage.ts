import {
  createLogger,
  createMetrics,
  EnvelopeEncoder,
  EnvelopeReader,
  type Log,
  type Metrics,
  type Principal,
  Protocol,
  parseUuid,
  partitionOf,
  type SessionKey,
  type ShareGroupStore,
  type SubjectRecord,
  uuidV7,
} from '@millrace/core';
import { type IConnackPacket, type IPublishPacket, type Packet, parser } from 'mqtt-packet';
import { createDelivery, type StoppableDelivery } from '../../../delivery/delivery.ts';
import { ORG, TestGate } from '../../../testing/gate.ts';
import { MemoryLog } from '../../../testing/memory-log.ts';
import type { CloseReason, MqttQos, Outlet, Session, Sessions } from '../../contract.ts';
import { createSessions, type SessionsConfig } from '../sessions.ts';
import { MemoryRetainedStore, MemorySessionStore } from './memory-stores.ts';

export type { IConnackPacket };

export const CONFIG: SessionsConfig = {
  MILLRACE_MQTT_IN_FLIGHT_MAX: 100,
  MILLRACE_MQTT_UNSENT_BYTES_MAX: 1_048_576,
  MILLRACE_MQTT_SUBSCRIPTIONS_MAX: 100,
  MILLRACE_MQTT_RECEIVED_MAX: 100,
  MILLRACE_MQTT_RETAINED_MAX: 1_000,
  MILLRACE_MQTT_SESSION_EXPIRY_S: 3_600,
  MILLRACE_MQTT_SAVE_MS: 20,
  MILLRACE_MQTT_SAVE_ROWS_MAX: 1_000,
  MILLRACE_MQTT_UNSAVED_SESSIONS_MAX: 50_000,
};

/** What a node of the platform is made of, as far as its sessions need it. Nodes may share log, store and gate. */
export interface StageOptions {
  readonly log?: MemoryLog;
  readonly store?: MemorySessionStore | null;
  readonly retained?: MemoryRetainedStore | null;
  readonly gate?: TestGate;
  /** Shares groups with other nodes. */
  readonly shareGroups?: ShareGroupStore;
  readonly config?: Partial<SessionsConfig>;
}

/** A node with sessions over a delivery of its own, and clients whose packets are looked at one by one. */
export class Stage {
  readonly log: MemoryLog;
  readonly store: MemorySessionStore;
  readonly retained: MemoryRetainedStore;
  readonly gate: TestGate;
  readonly metrics: Metrics = createMetrics();
  readonly delivery: StoppableDelivery;
  readonly sessions: Sessions;
  readonly #encoder = new EnvelopeEncoder();
  readonly #reader = new EnvelopeReader();

  constructor(options: StageOptions = {}) {
    this.log = options.log ?? new MemoryLog(2);
    this.store = options.store ?? new MemorySessionStore();
    this.retained = options.retained ?? new MemoryRetainedStore();
    this.gate = options.gate ?? new TestGate();
    const logger = createLogger({ level: 'silent' });
    this.delivery = createDelivery({
      log: this.log as unknown as Log,
      gate: this.gate,
      metrics: this.metrics,
      logger,
      verify: false,
      limits: { patrolMs: 20, retryMsMin: 5, retryMsMax: 40 },
    });
    this.sessions = createSessions({
      delivery: this.delivery,
      log: this.log as unknown as Log,
      store: options.store === null ? null : this.store,
      retained: options.retained === null ? null : this.retained,
      shareGroups: options.shareGroups,
      gate: this.gate,
      config: { ...CONFIG, ...options.config },
      metrics: this.metrics,
      logger,
    });
  }

  /** Connects a client of a thing. */
  async connect(clientId: string, options: ConnectOptions = {}): Promise<TestClient> {
    const client = new TestClient(
      options.principal ?? thing(this.gate, options.thing ?? clientId),
      options.acks ?? true,
    );
    const key: SessionKey = { owner: client.principal.subject.id, clientId };
    const { session, present } = await this.sessions.open({ key, clean: options.clean ?? false, outlet: client });
    client.begin(session, present);
    return client;
  }

  /** Appends a message. @returns its place once it is durable */
  publish(
    channel: string,
    subtopic: string,
    text: string,
    options: {
      readonly qos?: MqttQos;
      readonly retain?: boolean;
      readonly org?: string;
      readonly contentType?: string;
      readonly dedupKey?: string | undefined;
      readonly publisher?: string;
    } = {},
  ): Promise<{ partition: number; offset: number }> {
    const partition = partitionOf(Buffer.from(channel), this.log.partitionCount);
    const payload = Buffer.from(text);
    const record = this.#encoder.encode({
      id: parseUuid(uuidV7()) as Uint8Array,
      org: options.org ?? ORG,
      channel,
      subtopic,
      publisher: options.publisher ?? 'many-publisher',
      dedupKey: options.dedupKey,
      protocol: Protocol.http,
      contentType: options.contentType ?? 'text/plain',
      receivedUs: Date.now() * 1_000,
      payload,
      qos: options.qos ?? 1,
      retain: options.retain ?? false,
    });
    return new Promise((resolve, reject) => {
      this.log.append(partition, channel, record, {
        appended: (at, offset) => resolve({ partition: at, offset }),
        refused: reject,
      });
    });
  }

  partitionOf(channel: string): number {
    return partitionOf(Buffer.from(channel), this.log.partitionCount);
  }

  /** Appends a retained message and keeps it, as the connection of a publisher does. */
  async retain(channel: string, subtopic: string, text: string, qos: MqttQos = 1): Promise<void> {
    const at = await this.publish(channel, subtopic, text, { qos, retain: true });
    await this.retained.keep([
      {
        ...at,
        id: uuidV7(),
        org: ORG,
        channel,
        subtopic,
        publisher: 'many-publisher',
        contentType: 'text/plain',
        receivedUs: Date.now() * 1_000,
        qos,
        payload: Buffer.from(text),
      },
    ]);
  }

  /** Ends at once, as when the process is killed: nothing more is saved. */
  async kill(): Promise<void> {
    this.sessions.stop();
    await this.delivery.stop();
  }

  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const values = (await this.metrics.registry.getSingleMetric(name)?.get())?.values ?? [];
    let sum = 0;
    for (const value of values) {
      if (Object.entries(labels).every(([label, wanted]) => value.labels[label] === wanted)) sum += value.value;
    }
    return sum;
  }

  payloadAt(record: Uint8Array): string {
    return this.#reader.open(record) ? this.#reader.payload.toString() : '';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

export interface ConnectOptions {
  readonly clean?: boolean;
  /** Whose client it is; a thing of its own by default. */
  readonly thing?: string;
  readonly principal?: Principal;
  /** False: it acknowledges nothing by itself. */
  readonly acks?: boolean;
}

export function thing(gate: TestGate, name: string): Principal {
  const known = gate.identify({ kind: 'key', key: `many-${name}` });
  if (known instanceof Promise || known.kind !== 'known') throw new Error('the gate does not know it');
  return known.principal;
}

export function user(id: string, admin: boolean): Principal {
  const subject: SubjectRecord = { kind: 'user', id, email: `${id}@example.org`, enabled: true, admin, epoch: 0 };
  return { subject, scope: null, revoked: false };
}

/** What a client was sent, in order; a client that keeps its side of QoS 1 and 2 as a real one does. */
export class TestClient implements Outlet {
  readonly principal: Principal;
  readonly context = {
    protocol: Protocol.mqtt,
    remoteAddress: '127.0.0.1',
    tls: false,
    mutualTls: false,
    nowMs: Date.now(),
  };
  unsentBytes = 0;
  /** Packets count as not taken until told. */
  stuck = false;
  acks: boolean;
  readonly packets: Packet[] = [];
  closed: CloseReason | null = null;
  present = false;
  /** Publishes that it has acknowledged. */
  acknowledged = 0;
  session!: Session;
  readonly #parser = parser({ protocolVersion: 4 });

  constructor(principal: Principal, acks: boolean) {
    this.principal = principal;
    this.acks = acks;
    this.#parser.on('packet', (packet: Packet) => {
      this.packets.push(packet);
      if (this.acks) setImmediate(() => this.acknowledge(packet));
    });
    this.#parser.on('error', (error: Error) => {
      throw error;
    });
  }

  begin(session: Session, present: boolean): void {
    this.session = session;
    this.present = present;
    session.begin();
  }

  write(head: Buffer, payload?: Buffer): void {
    if (this.closed !== null) return;
    if (this.stuck) this.unsentBytes += head.length + (payload?.length ?? 0);
    this.#parser.parse(head);
    if (payload !== undefined) this.#parser.parse(payload);
  }

  close(reason: CloseReason): void {
    this.closed ??= reason;
  }

  /** Takes what was written. */
  take(): void {
    this.stuck = false;
    this.unsentBytes = 0;
    this.session.drained();
  }

  acknowledge(packet: Packet): void {
    if (this.closed !== null) return;
    if (packet.cmd === 'publish') this.acknowledged++;
    if (packet.cmd === 'publish' && packet.qos === 1) this.session.onPuback(packet.messageId as number);
    else if (packet.cmd === 'publish' && packet.qos === 2) this.session.onPubrec(packet.messageId as number);
    else if (packet.cmd === 'pubrel') this.session.onPubcomp(packet.messageId as number);
  }

  async subscribe(topic: string, qos: MqttQos = 1): Promise<number> {
    const [result] = await this.subscribeAll([{ topic, qos }]);
    return result as number;
  }

  async subscribeAll(filters: readonly { topic: string; qos: MqttQos }[]): Promise<readonly number[]> {
    const results = await this.session.subscribe(filters);
    this.session.granted(filters, results);
    return results;
  }

  /** The connection breaks. */
  leave(): void {
    this.session.leave();
    this.closed ??= 'fault';
  }

  get publishes(): IPublishPacket[] {
    return this.packets.filter((packet) => packet.cmd === 'publish');
  }

  get texts(): string[] {
    return this.publishes.map(({ payload }) => payload.toString());
  }

  got(cmd: Packet['cmd']): Packet[] {
    return this.packets.filter((packet) => packet.cmd === cmd);
  }
}

/** Waits until it is so. */
export async function until(what: string, holds: () => boolean, withinMs = 20_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
