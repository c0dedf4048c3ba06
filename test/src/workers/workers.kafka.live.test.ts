import { kafkaAvailable, startKafka } from '@millrace/log/testing';
import mqtt, { type MqttClient } from 'mqtt';
import { afterAll, describe, expect, test } from 'vitest';
import { eventually, Millrace, newPublisher, Rest } from '../millrace.ts';
import { expectStoredOnce } from '../stored.ts';
import { KeptConnection, startFamily, workersWith } from './family.ts';

const WORKERS = 2;
const CONNECTIONS = 4;
const ROUNDS = 10;
const missing = kafkaAvailable();

describe.skipIf(missing !== null)(`workers with Apache Kafka${missing === null ? '' : ` (${missing})`}`, () => {
  const ends: (() => unknown)[] = [];
  afterAll(async () => {
    for (const end of ends.reverse()) await end();
  }, 120_000);

  test('each has a client of its own: what comes to one is heard by the subscribers of all, and stored once', {
    timeout: 600_000,
  }, async () => {
    const kafka = await startKafka();
    ends.push(() => kafka.stop());
    const millrace = new Millrace({ MILLRACE_WORKERS: String(WORKERS), MILLRACE_KAFKA_BROKERS: kafka.brokers });
    ends.push(() => millrace.dispose());
    await startFamily(millrace);
    const publisher = await newPublisher(await Rest.asAdmin(millrace), 'kafka');
    const heard = await Promise.all(
      Array.from({ length: CONNECTIONS }, async () => {
        const client: MqttClient = mqtt.connect(millrace.mqtt, {
          username: publisher.thing,
          password: publisher.key,
          reconnectPeriod: 0,
        });
        ends.push(() => client.endAsync(true));
        client.on('error', () => {});
        const names = new Set<string>();
        client.on('message', (_topic, payload) => names.add(JSON.parse(payload.toString())[0].n));
        await new Promise<void>((resolve) => client.once('connect', () => resolve()));
        await client.subscribeAsync(`channels/${publisher.channel}/messages`, { qos: 1 });
        return names;
      }),
    );
    const clients = Array.from({ length: CONNECTIONS }, () => new KeptConnection(millrace));
    ends.push(() => clients.map((client) => client.close()));
    // A tail on a broker is found some time after the subscription.
    let tries = 0;
    await eventually('everybody hears', 90_000, async () => {
      await clients[0]?.publish(publisher, `first-${++tries}`);
      return heard.every((own) => own.size > 0);
    });
    const names: string[] = [];
    await Promise.all(
      clients.map(async (client, index) => {
        for (let round = 0; round < ROUNDS; round++) {
          names.push(`k${index}-${round}`);
          expect((await client.publish(publisher, `k${index}-${round}`)).status).toBe(202);
        }
      }),
    );
    expect((await workersWith(millrace, 'millrace_ingest_messages_total', 'protocol="http"')).size).toBe(WORKERS);
    await eventually('all is heard', 60_000, async () => heard.every((own) => names.every((name) => own.has(name))));
    await expectStoredOnce(publisher.rest, publisher.channel, names);
  });
});
