import type { Duplex } from 'node:stream';
import type { Logger, LoraDirectory, NetworkServer, NetworkServerMqtt, NetworkServerReport } from '@millrace/core';
import { type IClientOptions, type IPublishPacket, MqttClient } from 'mqtt';
import { generate } from 'mqtt-packet';
import { openBrokerStream } from './broker-stream.ts';
import type { LoraConfig } from './config.ts';
import type { EventSource } from './event-source.ts';
import { eventTopic, readEvent } from './events/read-event.ts';
import type { Intake } from './intake.ts';
import type { LoraMeasures } from './measures.ts';

export interface BrokerHost {
  readonly config: LoraConfig;
  readonly intake: Intake;
  readonly directory: LoraDirectory;
  readonly measures: LoraMeasures;
  readonly logger: Logger;
  /** What brokers know this node by. */
  readonly node: string;
  readonly privateAddresses: boolean;
}
type StreamBuilder = ConstructorParameters<typeof MqttClient>[0];

/** A network server that has a broker. */
export type BrokeredServer = NetworkServer & { readonly mqtt: NetworkServerMqtt };

const RECONNECT_MS_MIN = 500;
const CONNECT_MS_MAX = 20_000;
const KEEP_ALIVE_S = 60;
/** A connection that held for so long was a good one: the next attempt does not wait for long. */
const STEADY_MS = 30_000;
const END_MS_MAX = 2_000;
/** The broker wants an older protocol: 132 of MQTT 5, 1 of 3.1.1. */
const OTHER_PROTOCOL: ReadonlySet<number> = new Set([1, 132]);
/** It does not let us in, whenever we come. */
const REFUSALS: ReadonlySet<number> = new Set([2, 4, 5, 133, 134, 135, 138, 140]);
/** The packet goes on unacknowledged: we acknowledge it ourselves, later. */
const NOT_YET = new Error('not yet');

/** Topic filter of the events of each kind of network server. */
const TOPICS: Readonly<Record<NetworkServer['kind'], string>> = {
  'chirpstack-v4': 'application/+/device/+/event/+',
  'chirpstack-v3': 'application/+/device/+/event/+',
  'tts-v3': 'v3/+/devices/+/#',
};

interface Acknowledgement {
  done: boolean;
  readonly send: () => void;
}

/** Our connection with the broker of one network server, opened again whenever it is lost.
 *  @holds an event is acknowledged only once it is durable, in the order of reception; at most
 *         MILLRACE_LORA_EVENTS_IN_FLIGHT_MAX are under way, then the connection is not read (block) */
export class Broker {
  readonly server: BrokeredServer;
  readonly #host: BrokerHost;
  readonly #stopping = new AbortController();
  #client: MqttClient | null = null;
  #state: NetworkServerReport['state'] = 'connecting';
  #detail = '';
  #lastEventMs: number | null = null;
  #pauseMs = RECONNECT_MS_MIN;
  #openedMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #draining = false;
  #inFlight = 0;
  /** Who waits for room. */
  #held: (() => void)[] = [];
  /** Of the present connection, in order of reception. */
  #unacknowledged: Acknowledgement[] = [];
  #protocol: 4 | 5;

  constructor(server: BrokeredServer, host: BrokerHost) {
    this.server = server;
    this.#host = host;
    // The Things Stack speaks 3.1.1 only.
    this.#protocol = server.kind === 'tts-v3' ? 4 : 5;
    this.#say('connecting', '');
    this.#open();
  }

  get connected(): boolean {
    return this.#state === 'connected';
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** @throws what MQTT.js says when the broker does not acknowledge it */
  async publish(topic: string, payload: Uint8Array): Promise<void> {
    const client = this.#client;
    if (client === null || !client.connected) throw new Error('not connected');
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(reject, CONNECT_MS_MAX, new Error('the broker does not acknowledge'));
    });
    try {
      await Promise.race([client.publishAsync(topic, Buffer.from(payload), { qos: 1 }), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Takes no further events, and lets those under way be acknowledged. */
  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true;
    const end = performance.now() + deadlineMs;
    while (this.#inFlight > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#timer);
    this.#host.measures.state(this.server.id, null);
    const client = this.#client;
    this.#client = null;
    for (const go of this.#held.splice(0)) go();
    if (client === null) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, END_MS_MAX);
    });
    await Promise.race([client.endAsync(!client.connected).catch(() => undefined), late]);
    clearTimeout(timer);
    client.stream?.destroy();
  }

  #open(): void {
    const { mqtt } = this.server;
    const { config, privateAddresses } = this.#host;
    this.#unacknowledged = [];
    this.#openedMs = performance.now();
    let client: MqttClient;
    let reason = '';
    const open = (): Duplex => {
      const stream = openBrokerStream(mqtt, privateAddresses, config.MILLRACE_LORA_EVENT_BYTES_MAX);
      // MQTT.js tells of some of them only.
      stream.on('error', (error: NodeJS.ErrnoException) => {
        reason = error.message || (error.code ?? '');
      });
      return stream;
    };
    try {
      client = new MqttClient(open as unknown as StreamBuilder, this.#options());
    } catch (error) {
      this.#lost(error instanceof Error ? error.message : String(error));
      return;
    }
    this.#client = client;
    client.on('error', (error) => {
      const code = (error as { code?: unknown }).code;
      if (typeof code === 'number' && OTHER_PROTOCOL.has(code) && this.#protocol === 5) {
        this.#protocol = 4;
        this.#pauseMs = RECONNECT_MS_MIN;
      }
      reason = typeof code === 'number' && REFUSALS.has(code) ? `refused: ${error.message}` : error.message;
      // Nothing comes back of a connection with an error.
      client.stream?.destroy();
    });
    client.on('close', () => {
      if (this.#client !== client) return;
      this.#client = null;
      client.end(true);
      this.#lost(reason);
    });
    client.on('connect', () => void this.#subscribe(client));
    client.handleMessage = (packet, done) => this.#handle(client, packet, done);
  }

  #options(): IClientOptions {
    const { mqtt, id } = this.server;
    const { config, node } = this.#host;
    const properties = {
      sessionExpiryInterval: config.MILLRACE_LORA_SESSION_EXPIRY_S,
      receiveMaximum: config.MILLRACE_LORA_EVENTS_IN_FLIGHT_MAX,
    };
    return {
      protocolId: 'MQTT',
      protocolVersion: this.#protocol,
      clientId: `${mqtt.clientId === '' ? `millrace-${id}` : mqtt.clientId}-${node}`,
      // What comes while we are away waits for us.
      clean: false,
      keepalive: KEEP_ALIVE_S,
      connectTimeout: CONNECT_MS_MAX,
      reconnectPeriod: 0,
      resubscribe: false,
      queueQoSZero: false,
      ...(mqtt.username === '' ? {} : { username: mqtt.username }),
      ...(mqtt.password === '' ? {} : { password: mqtt.password }),
      ...(this.#protocol === 5 ? { properties } : {}),
    };
  }

  async #subscribe(client: MqttClient): Promise<void> {
    const { mqtt, kind } = this.server;
    const filter = mqtt.topic === '' ? TOPICS[kind] : mqtt.topic;
    const topic = mqtt.share === '' ? filter : `$share/${mqtt.share}/${filter}`;
    try {
      const granted = await client.subscribeAsync(topic, { qos: mqtt.qos });
      if (granted.some(({ qos }) => (qos as number) >= 128)) throw new Error('not granted');
      if (this.#client === client) this.#say('connected', '');
    } catch (error) {
      if (this.#client !== client) return;
      this.#say('refused', `The broker does not let us subscribe to ${topic}: ${messageOf(error)}.`);
      client.stream?.destroy();
    }
  }

  #handle(client: MqttClient, packet: IPublishPacket, done: (error?: Error) => void): void {
    const { stream } = client;
    const { qos, messageId } = packet;
    const acknowledgement: Acknowledgement = {
      done: false,
      send: () => {
        if (qos === 1) acknowledge(stream as unknown as Duplex, messageId ?? 0, this.#protocol);
      },
    };
    if (this.#draining) return;
    if (qos === 1) this.#unacknowledged.push(acknowledgement);
    const queue = this.#unacknowledged;
    this.#inFlight++;
    const over = (durable: boolean): void => {
      this.#inFlight--;
      if (durable) {
        acknowledgement.done = true;
        // An earlier connection's queue: the broker tells them again.
        if (queue === this.#unacknowledged) this.#acknowledge();
      }
      if (qos === 2 && durable) done();
      this.#held.shift()?.();
    };
    this.#take(packet).then(over, (error: unknown) => {
      this.#host.logger.error({ err: error }, 'lora: a fault in taking an event');
      over(false);
    });
    // Of QoS 2 one is under way at a time: PUBCOMP follows the call.
    if (qos === 2) return;
    const go = (): void => done(qos === 1 ? NOT_YET : undefined);
    if (this.#inFlight < this.#host.config.MILLRACE_LORA_EVENTS_IN_FLIGHT_MAX) go();
    else this.#held.push(go);
  }

  #acknowledge(): void {
    const queue = this.#unacknowledged;
    let count = 0;
    while (queue[count]?.done === true) queue[count++]?.send();
    queue.splice(0, count);
  }

  /** @returns whether the event is durable, or never will be */
  async #take(packet: IPublishPacket): Promise<boolean> {
    const { kind, mqtt, org, id } = this.server;
    const { intake, measures, config } = this.#host;
    const payload = packet.payload as Buffer;
    const told = eventTopic(kind, packet.topic);
    if (told === null || payload.length === 0) return true;
    this.#lastEventMs = Date.now();
    this.#report();
    const read =
      payload.length > config.MILLRACE_LORA_EVENT_BYTES_MAX
        ? ({ kind: 'bad', detail: `The event has ${payload.length} bytes: too many.` } as const)
        : readEvent(kind, mqtt.format, told.event, payload);
    const source: EventSource = {
      org,
      server: this.server,
      caller: null,
      peer: { remoteAddress: addressOf(this.#client), tls: /^(mqtts|wss):/.test(mqtt.url), mutualTls: false },
      contentType: mqtt.format === 'json' ? 'application/json' : 'application/octet-stream',
      patience: this.#stopping.signal,
    };
    const taken = await intake.take(source, read, payload, { applicationId: told.applicationId, otherwise: id });
    measures.event('mqtt', read.kind === 'event' ? read.event.type : 'unknown', taken.kind);
    return taken.kind !== 'refused';
  }

  #lost(reason: string): void {
    if (this.#stopping.signal.aborted) return;
    if (this.#state !== 'refused' || reason !== '') {
      const refused = reason.startsWith('refused: ');
      const detail = refused ? reason.slice('refused: '.length) : reason;
      this.#say(refused ? 'refused' : 'disconnected', detail === '' ? 'The broker closed the connection.' : detail);
    }
    if (performance.now() - this.#openedMs > STEADY_MS) this.#pauseMs = RECONNECT_MS_MIN;
    const waitMs = this.#pauseMs * (0.5 + Math.random());
    this.#pauseMs = Math.min(this.#host.config.MILLRACE_LORA_RECONNECT_MS_MAX, this.#pauseMs * 2);
    this.#timer = setTimeout(() => this.#open(), waitMs);
    this.#timer.unref();
  }

  #say(state: NetworkServerReport['state'], detail: string): void {
    if (this.#state !== state || this.#detail !== detail) {
      const { logger } = this.#host;
      const { id, org, name } = this.server;
      if (state === 'connected') logger.info({ server: id, org, name }, 'lora: connected to the broker');
      else if (state !== 'connecting') logger.warn({ server: id, org, name, state, detail }, 'lora: no broker');
    }
    this.#state = state;
    this.#detail = detail.slice(0, 500);
    this.#host.measures.state(this.server.id, state);
    this.#report();
  }

  #report(): void {
    this.#host.directory.report(this.server.id, {
      state: this.#state,
      detail: this.#detail,
      lastEventMs: this.#lastEventMs,
    });
  }
}

function acknowledge(stream: Duplex, messageId: number, protocolVersion: number): void {
  if (stream.destroyed || !stream.writable) return;
  stream.write(generate({ cmd: 'puback', messageId, reasonCode: 0 }, { protocolVersion }));
}

const addressOf = (client: MqttClient | null): string =>
  (client?.stream as { remoteAddress?: string } | undefined)?.remoteAddress ?? '';

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
