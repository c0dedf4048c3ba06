import { MillraceApiError, MillraceConnectionError } from '../error.ts';
import type { Session } from '../session.ts';
import type { Transport } from '../transport.ts';
import type { Feed } from './follow.ts';
import {
  base64,
  encode,
  type LiveMessage,
  type Payload,
  type PublishOptions,
  type SubscribeOptions,
  textOf,
} from './message.ts';
import { Queue } from './queue.ts';
import { socketUrl } from './socket.ts';

/** What is used of the package `mqtt`. */
export interface MqttLibrary {
  connectAsync(url: string, options: Readonly<Record<string, unknown>>): Promise<MqttClient>;
}
export interface MqttClient {
  readonly connected: boolean;
  publishAsync(topic: string, payload: unknown, options: { readonly qos: 0 | 1 | 2 }): Promise<unknown>;
  subscribeAsync(topic: string, options: { readonly qos: 0 | 1 | 2 }): Promise<readonly { readonly qos: number }[]>;
  endAsync(force?: boolean): Promise<void>;
  on(event: 'message', listener: (topic: string, payload: Uint8Array) => void): unknown;
  on(event: 'close', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  handleMessage(packet: unknown, done: (error?: Error) => void): void;
}

export interface MqttOptions {
  /** Of the broker, as `mqtt://host:1883`; left out: MQTT over WebSocket at the node's own address. */
  readonly url?: string | undefined;
  /** For bundlers: `() => import('mqtt')`. Left out, the package is found by itself. */
  readonly library?: (() => Promise<unknown>) | undefined;
  readonly connectMsMax: number;
}

const REFUSED = 0x80;
const WAITING_MAX = 1_000;
const ENDINGS: Readonly<Record<string, string>> = {
  'application/senml+json': 'senml-json',
  'application/senml+cbor': 'senml-cbor',
  'application/octet-stream': 'octet-stream',
};

/** The topic of a channel.  @source docs/mqtt.md */
export function topicOf(channel: string, subtopic?: string, contentType?: string): string {
  const topic = `channels/${channel}/messages${subtopic === undefined || subtopic === '' ? '' : `/${subtopic}`}`;
  if (contentType === undefined) return topic;
  return `${topic}/${ENDINGS[contentType] ?? `ct/${contentType.replace('/', '_').replace('+', '-')}`}`;
}

async function connect(transport: Transport, session: Session, options: MqttOptions): Promise<MqttClient> {
  const url = options.url ?? socketUrl(transport.url, '/mqtt');
  const library = await load(options, url);
  for (let renewed = false; ; renewed = true) {
    const shown = await session.authorization();
    const { key, token } = await session.socketCredential();
    try {
      const client = await library.connectAsync(url, {
        clean: true,
        clientId: '',
        protocolVersion: 4,
        username: session.thing ?? '',
        password: key ?? token ?? '',
        // We come back ourselves, with a fresh token.
        reconnectPeriod: 0,
        connectTimeout: options.connectMsMax,
      });
      // Without a listener it would end the process.
      client.on('error', () => undefined);
      return client;
    } catch (cause) {
      // CONNACK: 4 unknown, 5 not allowed
      const { code } = cause as { code?: unknown };
      if (code !== 4 && code !== 5)
        throw new MillraceConnectionError('UNREACHABLE', url, `${url} does not answer.`, { cause });
      if (renewed || !(await session.renew(shown))) {
        const detail = code === 4 ? 'The token or key is unknown or has expired.' : 'This may not connect.';
        const status = code === 4 ? 401 : 403;
        throw new MillraceApiError({ type: 'about:blank', title: '', status, detail }, 'MQTT CONNECT');
      }
    }
  }
}

async function load({ library }: MqttOptions, url: string): Promise<MqttLibrary> {
  // No literal: bundlers for browsers leave it alone.
  const name = 'mqtt';
  try {
    const loaded = (await (library === undefined
      ? import(/* @vite-ignore */ /* webpackIgnore: true */ name)
      : library())) as { default?: MqttLibrary } & Partial<MqttLibrary>;
    return loaded.connectAsync === undefined ? (loaded.default as MqttLibrary) : (loaded as MqttLibrary);
  } catch (cause) {
    throw new MillraceConnectionError('PACKAGE_MISSING', url, 'MQTT needs a package: npm install mqtt.', { cause });
  }
}

/** Publishes over one MQTT connection that is opened when it is needed. */
export class MqttPublisher {
  readonly #transport: Transport;
  readonly #session: Session;
  readonly #options: MqttOptions;
  #connection: Promise<BrokerConnection> | null = null;

  constructor(transport: Transport, session: Session, options: MqttOptions) {
    this.#transport = transport;
    this.#session = session;
    this.#options = options;
  }

  /** At QoS 1: done once the message is durable. */
  async publish(channel: string, payload: Payload, { subtopic, contentType }: PublishOptions): Promise<void> {
    const { bytes, contentType: told } = encode(payload, contentType);
    const { client, waiting } = await this.#open();
    await new Promise<void>((resolve, reject) => {
      waiting.add(reject);
      client
        .publishAsync(topicOf(channel, subtopic, told), toBuffer(bytes), { qos: 1 })
        .then(() => resolve(), reject)
        .finally(() => waiting.delete(reject));
    });
  }

  async close(): Promise<void> {
    const connection = this.#connection;
    this.#connection = null;
    await (await connection?.catch(() => null))?.client.endAsync(true);
  }

  async #open(): Promise<BrokerConnection> {
    const before = this.#connection;
    const open = before === null ? null : await before.catch(() => null);
    if (open?.client.connected === true) return open;
    // Of all that find it closed, the first opens another one.
    if (this.#connection === before || this.#connection === null) {
      this.#connection = this.#connect();
      this.#connection.catch(() => undefined);
    }
    return this.#connection;
  }

  async #connect(): Promise<BrokerConnection> {
    const client = await connect(this.#transport, this.#session, this.#options);
    const waiting = new Set<(error: Error) => void>();
    client.on('close', () => {
      const detail = 'The broker closed the connection: this may not be published, or the node went down.';
      for (const reject of waiting) reject(new MillraceConnectionError('CLOSED', this.#transport.url, detail));
    });
    return { client, waiting };
  }
}

interface BrokerConnection {
  readonly client: MqttClient;
  /** Publishes that are not acknowledged: the library would keep them for a connection that never comes. */
  readonly waiting: Set<(error: Error) => void>;
}

/** The library takes Node's Buffer, where there is one, and text; a browser's own bundle brings a Buffer with it. */
function toBuffer(bytes: Uint8Array): unknown {
  const { Buffer } = globalThis as { Buffer?: { from(bytes: Uint8Array): unknown } };
  return Buffer === undefined ? (textOf(bytes) ?? bytes) : Buffer.from(bytes);
}

/** Messages of a channel by MQTT at QoS 1. When more wait than may, the broker is not acknowledged until there is room. */
export function mqttFeed(
  transport: Transport,
  session: Session,
  channel: string,
  { subtopic = '#', waitingMax = WAITING_MAX }: SubscribeOptions,
  options: MqttOptions,
): Feed {
  return async function* feed(_from, opened, signal) {
    const client = await connect(transport, session, options);
    const queue = new Queue<LiveMessage>();
    const held: (() => void)[] = [];
    client.handleMessage = (_packet, done) => {
      if (queue.size < waitingMax) done();
      else held.push(done);
    };
    const prefix = `channels/${channel}/messages`;
    client.on('message', (topic, payload) => queue.push(messageOf(channel, topic.slice(prefix.length + 1), payload)));
    client.on('close', () =>
      queue.end(new MillraceConnectionError('CLOSED', transport.url, 'The broker closed the connection.')),
    );
    const stop = (): void => queue.end(null);
    signal.addEventListener('abort', stop, { once: true });
    try {
      const [granted] = await client.subscribeAsync(topicOf(channel, subtopic), { qos: 1 }).catch(refusedSubscription);
      if (granted === undefined || granted.qos >= REFUSED) throw refused();
      opened();
      for (let message = await queue.take(); message !== null; message = await queue.take()) {
        yield message;
        if (queue.size < waitingMax) held.shift()?.();
      }
    } finally {
      signal.removeEventListener('abort', stop);
      await client.endAsync(true);
    }
  };
}

const refused = (): MillraceApiError =>
  new MillraceApiError(
    { type: 'about:blank', title: 'Forbidden', status: 403, detail: 'This channel may not be read, or there is none.' },
    'MQTT SUBSCRIBE',
  );
/** The library makes an error of a SUBACK that refuses, and hangs the packet on it. */
function refusedSubscription(cause: unknown): never {
  if ((cause as { packet?: { cmd?: string } }).packet?.cmd === 'suback') throw refused();
  throw new MillraceConnectionError('CLOSED', '', 'The broker closed the connection.', { cause });
}

function messageOf(channel: string, subtopic: string, bytes: Uint8Array): LiveMessage {
  const text = textOf(bytes);
  if (text === null) return { channel, subtopic, payload_base64: base64(bytes) };
  if (/^\s*[[{]/.test(text)) {
    try {
      return { channel, subtopic, json: JSON.parse(text) };
    } catch {
      // Looks like JSON, but is text.
    }
  }
  return { channel, subtopic, payload: text };
}
