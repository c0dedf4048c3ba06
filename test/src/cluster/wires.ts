import { randomUUID } from 'node:crypto';
import { connectAsync, type MqttClient } from 'mqtt';
import type { Publisher } from '../millrace.ts';
import type { Answer, Wire } from './publisher.ts';

/** Then the client turns to another node. */
const ANSWER_MS_MAX = 4_000;

const reading = (number: number): string => JSON.stringify([{ n: 'number', v: number }]);

/** HTTP, each message under an idempotency key of its own.  @param urls of the nodes, as they are now */
export class HttpWire implements Wire {
  readonly #urls: () => readonly string[];

  constructor(urls: () => readonly string[]) {
    this.#urls = urls;
  }

  /** @throws on an answer that is neither "taken" nor "later" */
  async publish(to: Publisher, node: number, number: number): Promise<Answer> {
    let status: number;
    try {
      const response = await fetch(`${this.#urls()[node]}/channels/${to.channel}/messages`, {
        method: 'POST',
        headers: {
          authorization: `Thing ${to.key}`,
          'content-type': 'application/senml+json',
          'idempotency-key': `${to.channel}/${number}`,
        },
        body: reading(number),
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
      });
      await response.arrayBuffer();
      status = response.status;
    } catch {
      return 'unanswered';
    }
    if (status === 202) return 'taken';
    if (status === 503) return 'refused';
    throw new Error(`HTTP answered ${status}`);
  }

  async close(): Promise<void> {}
}

/** MQTT, QoS 1, one message in flight. */
export class MqttWire implements Wire {
  readonly #urls: () => readonly string[];
  #client: MqttClient | null = null;
  #node = -1;

  constructor(urls: () => readonly string[]) {
    this.#urls = urls;
  }

  async publish(to: Publisher, node: number, number: number): Promise<Answer> {
    if (this.#client === null || node !== this.#node) {
      await this.close();
      try {
        this.#client = await dialled(this.#urls()[node] ?? '', to);
      } catch {
        return 'unanswered';
      }
      this.#node = node;
    }
    const answer = await acknowledged(this.#client, `channels/${to.channel}/messages/senml-json`, reading(number));
    if (answer !== 'taken') await this.close();
    return answer;
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    if (client === null) return;
    await new Promise<void>((resolve) => client.end(true, {}, () => resolve()));
  }
}

async function dialled(url: string, { thing, key }: Publisher): Promise<MqttClient> {
  const client = await connectAsync(
    url,
    {
      username: thing,
      password: key,
      clientId: randomUUID(),
      connectTimeout: ANSWER_MS_MAX,
      reconnectPeriod: 0,
      keepalive: 10,
    },
    false,
  );
  client.on('error', () => {});
  return client;
}

function acknowledged(client: MqttClient, topic: string, payload: string): Promise<Answer> {
  return new Promise((resolve) => {
    const done = (answer: Answer): void => {
      clearTimeout(timer);
      client.off('close', lost);
      resolve(answer);
    };
    const lost = (): void => done('unanswered');
    const timer = setTimeout(lost, ANSWER_MS_MAX);
    client.once('close', lost);
    if (!client.connected) {
      lost();
      return;
    }
    client.publish(topic, payload, { qos: 1 }, (error) =>
      done(error === null || error === undefined ? 'taken' : 'unanswered'),
    );
  });
}
