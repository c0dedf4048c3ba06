import { setTimeout as sleep } from 'node:timers/promises';
import type { MqttClient } from 'mqtt';
import type { ControlPlane, ProductNode, ProvisionedTarget } from '../../product.ts';
import { dialled } from './mqtt.ts';

const SUBSCRIBERS = 4;
const CONNECT_EVERY_MS = 500;
const QUERY_EVERY_MS = 500;
const KEY_EVERY_MS = 3_000;

/** What goes on beside the messages, each counted. */
export interface BesideFigures {
  received: number;
  connects: number;
  queries: number;
  keyChanges: number;
  readonly failures: string[];
}

/** Subscribers by MQTT and WebSocket, clients that come and go, questions, things that are made, get another key and
 *  are removed. */
export class Beside {
  readonly figures: BesideFigures = { received: 0, connects: 0, queries: 0, keyChanges: 0, failures: [] };
  readonly #node: ProductNode;
  readonly #plane: ControlPlane;
  readonly #targets: readonly ProvisionedTarget[];
  #subscribers: MqttClient[] = [];
  #loops: Promise<void>[] = [];
  #stopped = false;
  #turn = 0;

  private constructor(node: ProductNode, plane: ControlPlane, targets: readonly ProvisionedTarget[]) {
    this.#node = node;
    this.#plane = plane;
    this.#targets = targets;
  }

  static async open(node: ProductNode, plane: ControlPlane, targets: readonly ProvisionedTarget[]): Promise<Beside> {
    const beside = new Beside(node, plane, targets);
    try {
      for (let index = 0; index < SUBSCRIBERS; index++) await beside.#subscribe(index);
    } catch (error) {
      await beside.stop();
      throw error;
    }
    beside.#loops = [
      beside.#every(CONNECT_EVERY_MS, () => beside.#comeAndGo()),
      beside.#every(QUERY_EVERY_MS, () => beside.#query()),
      beside.#every(KEY_EVERY_MS, () => beside.#changeKey()),
    ];
    return beside;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
    await Promise.all(this.#subscribers.map((client) => client.endAsync(true)));
  }

  async #every(ms: number, act: () => Promise<void>): Promise<void> {
    while (!this.#stopped) {
      try {
        await act();
      } catch (error) {
        this.figures.failures.push(String(error));
      }
      await sleep(ms);
    }
  }

  #url(index: number): string {
    return index % 2 === 0 ? String(this.#node.addresses.mqtt) : `${this.#node.url.replace('http', 'ws')}/mqtt`;
  }

  #target(): ProvisionedTarget {
    return this.#targets[this.#turn++ % this.#targets.length] as ProvisionedTarget;
  }

  async #subscribe(index: number): Promise<void> {
    const target = this.#target();
    const client = await dialled(this.#url(index), target);
    this.#subscribers.push(client);
    client.on('error', () => {});
    client.on('message', () => {
      this.figures.received++;
    });
    await client.subscribeAsync(`channels/${target.channel}/messages/#`, { qos: 1 });
  }

  async #comeAndGo(): Promise<void> {
    const target = this.#target();
    const client = await dialled(this.#url(this.#turn >> 1), target);
    client.on('error', () => {});
    await client.subscribeAsync(`channels/${target.channel}/messages/visit`);
    await client.endAsync();
    this.figures.connects++;
  }

  async #query(): Promise<void> {
    const { channel, key } = this.#target();
    const path = this.#turn % 2 === 0 ? 'limit=100' : 'limit=10&name=temp';
    const response = await fetch(`${this.#node.url}/channels/${channel}/messages?${path}`, {
      headers: { authorization: `Thing ${key}` },
    });
    await response.arrayBuffer();
    if (!response.ok) throw new Error(`a query: ${response.status}`);
    this.figures.queries++;
  }

  async #changeKey(): Promise<void> {
    const { id, key } = await this.#plane<{ id: string; key: string }>('POST', '/things', { name: 'visitor' });
    const { channel } = this.#target();
    await this.#plane('POST', '/connect', { channel_ids: [channel], thing_ids: [id] });
    const changed = await this.#plane<{ key: string }>('POST', `/things/${id}/key`, {});
    const ask = (with_: string) =>
      fetch(`${this.#node.url}/channels/${channel}/messages?limit=1`, { headers: { authorization: `Thing ${with_}` } });
    for (const [old, status] of [
      [changed.key, 200],
      [key, 401],
    ] as const) {
      const response = await ask(old);
      await response.arrayBuffer();
      if (response.status !== status) throw new Error(`after a change of keys: ${response.status}, not ${status}`);
    }
    await this.#plane('DELETE', `/things/${id}`);
    this.figures.keyChanges++;
  }
}
