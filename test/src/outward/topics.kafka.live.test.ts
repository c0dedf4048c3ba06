import { kafkaAvailable, type RunningKafka, startKafka } from '@millrace/log/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Millrace, newPublisher, Rest } from '../millrace.ts';
import { allWritten, onceEach, publish, readTopics, TOPICS } from './topics.ts';

const missing = kafkaAvailable();

describe.skipIf(missing !== null)(`topics on Apache Kafka${missing === null ? '' : ` (${missing})`}`, () => {
  let kafka: RunningKafka | undefined;
  let millrace: Millrace | undefined;

  beforeAll(async () => {
    kafka = await startKafka();
    millrace = new Millrace({
      ...TOPICS,
      MILLRACE_KAFKA_BROKERS: kafka.brokers,
      MILLRACE_LOG_PARTITIONS: '3',
      MILLRACE_COAP_PORT: 'off',
      MILLRACE_MQTT_PORT: 'off',
    });
    await millrace.start();
  }, 240_000);
  afterAll(async () => {
    await millrace?.dispose();
    await kafka?.stop();
  }, 120_000);

  test('all that is stored comes to whoever reads them, through a kill -9 of the node', async () => {
    if (millrace === undefined || kafka === undefined) throw new Error('not started');
    const { rest, ...publisher } = await newPublisher(await Rest.asAdmin(millrace), 'hall');
    const from = () => ({ ...publisher, rest: new Rest(millrace?.url ?? '', rest.authorization) });
    for (let value = 0; value < 30; value++) await publish(from(), value);
    await millrace.end('SIGKILL');
    await millrace.start();
    for (let value = 30; value < 40; value++) await publish(from(), value);
    await allWritten(millrace);
    const told = await readTopics({ MILLRACE_KAFKA_BROKERS: kafka.brokers }, millrace.directory);
    expect(onceEach(told, publisher.channel)).toEqual(Array.from({ length: 40 }, (_, value) => value));
    expect(new Set(told.deadLetters.map(({ position, index }) => `${position}.${index}`)).size).toBe(40);
  }, 240_000);
});
