import { randomBytes } from 'node:crypto';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
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
import { filterText, topicOf, topicText } from './mqtt-topic.ts';

/** The npm package mqtt, by TCP or by WebSocket. */
export const mqttJs = (transport: 'tcp' | 'ws'): ClientKind => ({
  name: `mqtt.js by ${transport}`,
  missing: null,
  publishes: true,
  subscribes: true,
  publishesEmpty: true,
  connect: async (place, identity) => new MqttJs(await connectMqttJs(place, identity, { transport })),
});

/** @throws when the node refuses it */
export function connectMqttJs(
  place: Place,
  { thing, key }: Identity,
  { transport = 'tcp', ...options }: IClientOptions & { readonly transport?: 'tcp' | 'ws' } = {},
): Promise<MqttClient> {
  const url = transport === 'tcp' ? place.mqtt : `${place.http.replace(/^http/, 'ws')}/mqtt`;
  return mqtt.connectAsync(
    url,
    {
      username: thing,
      password: key,
      clientId: `js-${randomBytes(8).toString('hex')}`,
      protocolVersion: 4,
      reconnectPeriod: 0,
      ...options,
    },
    false,
  );
}

class MqttJs implements Client {
  readonly #client: MqttClient;

  constructor(client: MqttClient) {
    this.#client = client;
    client.on('error', () => {});
  }

  async publish(
    topic: Topic,
    payload: Uint8Array,
    { qos = 1, retain = false, ...rest }: PublishOptions = {},
  ): Promise<void> {
    await this.#client.publishAsync(topicText(topic, rest), Buffer.from(payload), { qos, retain });
  }

  async subscribe(filters: readonly Topic[], { qos = 1 }: { readonly qos?: Qos } = {}): Promise<Inbox> {
    const inbox = new Inbox();
    this.#client.on('message', (topic, payload, packet) => {
      inbox.add({ ...topicOf(topic), payload, contentType: null, qos: packet.qos, retain: packet.retain });
    });
    this.#client.on('close', () => inbox.end('the connection is closed'));
    const granted = await this.#client.subscribeAsync(filters.map(filterText), { qos });
    const refused = granted.filter((grant) => (grant.qos as number) > 2);
    if (refused.length > 0) throw new Error(`refused: ${refused.map((grant) => grant.topic).join(', ')}`);
    return inbox;
  }

  async close(): Promise<void> {
    await this.#client.endAsync(true);
  }
}
