import { randomBytes } from 'node:crypto';
import {
  type Client,
  type ClientKind,
  type Identity,
  Inbox,
  type Place,
  type PublishOptions,
  type Qos,
  type Topic,
} from './client.ts';
import { type LineEvent, LineProgram } from './lines.ts';
import { filterText, topicOf, topicText } from './mqtt-topic.ts';
import { pythonWith } from './program.ts';

const SCRIPT = new URL('./paho-lines.py', import.meta.url).pathname;
const python = pythonWith('paho.mqtt.client');

/** Eclipse Paho for Python, by TCP or by WebSocket. */
export const paho = (transport: 'tcp' | 'ws'): ClientKind => ({
  name: `paho by ${transport}`,
  missing: python === null ? 'no Python has paho-mqtt' : null,
  publishes: true,
  subscribes: true,
  publishesEmpty: true,
  async connect(place, identity) {
    const client = new Paho(python ?? 'python3');
    await client.connect(place, identity, transport);
    return client;
  },
});

class Paho implements Client {
  readonly #inboxes: Inbox[] = [];
  readonly #program: LineProgram;

  constructor(program: string) {
    this.#program = new LineProgram([program, SCRIPT], (event) => this.#onEvent(event));
  }

  async connect(place: Place, { thing, key }: Identity, transport: 'tcp' | 'ws'): Promise<void> {
    const { hostname, port } = new URL(transport === 'tcp' ? place.mqtt : place.http);
    await this.#program.ask('connect', {
      client: `paho-${randomBytes(8).toString('hex')}`,
      clean: true,
      transport: transport === 'tcp' ? 'tcp' : 'websockets',
      user: thing,
      password: key,
      host: hostname,
      port: Number(port),
    });
  }

  async publish(
    topic: Topic,
    payload: Uint8Array,
    { qos = 1, retain = false, ...rest }: PublishOptions = {},
  ): Promise<void> {
    await this.#program.ask('publish', {
      topic: topicText(topic, rest),
      payload: Buffer.from(payload).toString('base64'),
      qos,
      retain,
    });
  }

  async subscribe(filters: readonly Topic[], { qos = 1 }: { readonly qos?: Qos } = {}): Promise<Inbox> {
    const inbox = new Inbox();
    this.#inboxes.push(inbox);
    const { granted } = await this.#program.ask('subscribe', { topics: filters.map(filterText), qos });
    if ((granted as number[]).some((code) => code > 2)) throw new Error(`refused: ${granted}`);
    return inbox;
  }

  async close(): Promise<void> {
    await this.#program.ask('disconnect').catch(() => {});
    await this.#program.end();
  }

  #onEvent(event: LineEvent): void {
    if (event.event === 'message') {
      const payload = Buffer.from(String(event.payload), 'base64');
      const { qos, retain } = event as unknown as { qos: Qos; retain: boolean };
      for (const inbox of this.#inboxes)
        inbox.add({ ...topicOf(String(event.topic)), payload, contentType: null, qos, retain });
    } else {
      for (const inbox of this.#inboxes) inbox.end(`${event.event} ${event.error ?? event.code}`);
    }
  }
}
