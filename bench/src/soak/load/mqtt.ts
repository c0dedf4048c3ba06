import { connectAsync, type MqttClient } from 'mqtt';
import type { ProvisionedTarget } from '../../product.ts';
import type { Told, Wire } from './wire.ts';

const IN_FLIGHT_MAX = 20;

/** A client of a thing.  @param url mqtt://… or ws://…/mqtt */
export function dialled(url: string, { thing, key }: ProvisionedTarget): Promise<MqttClient> {
  return connectAsync(url, { username: thing, password: key, protocolVersion: 4, reconnectPeriod: 1_000 });
}

interface Client {
  readonly client: MqttClient;
  readonly topic: string;
  inFlight: number;
}

/** Publishes with QoS 1, over TCP or over a WebSocket. */
export class MqttWire implements Wire {
  readonly protocol: 'mqtt' | 'ws';
  readonly #clients: readonly Client[];
  readonly #body: string;
  readonly #told: Told;
  #next = 0;

  private constructor(protocol: 'mqtt' | 'ws', clients: readonly Client[], body: string, told: Told) {
    this.protocol = protocol;
    this.#clients = clients;
    this.#body = body;
    this.#told = told;
  }

  static async open(
    protocol: 'mqtt' | 'ws',
    url: string,
    targets: readonly ProvisionedTarget[],
    body: string,
    told: Told,
  ): Promise<MqttWire> {
    const clients = await Promise.all(
      targets.map(async (target) => ({
        client: await dialled(url, target),
        topic: `channels/${target.channel}/messages/senml-json`,
        inFlight: 0,
      })),
    );
    for (const { client } of clients) client.on('error', () => {});
    return new MqttWire(protocol, clients, body, told);
  }

  send(): boolean {
    for (let tries = 0; tries < this.#clients.length; tries++) {
      const each = this.#clients[this.#next++ % this.#clients.length] as Client;
      if (each.inFlight >= IN_FLIGHT_MAX) continue;
      each.inFlight++;
      const sentAt = performance.now();
      each.client.publish(each.topic, this.#body, { qos: 1 }, (error) => {
        each.inFlight--;
        this.#told.answered(!error, performance.now() - sentAt);
      });
      return true;
    }
    return false;
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map(({ client }) => client.endAsync(true)));
  }
}
