import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { appendOne, createLogger, createMetrics, type LogEngine, type Started } from '@millrace/core';
import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { texts } from '../conformance.ts';
import { kafkaAvailable, kafkaLibraries, type RunningKafka, startKafka } from '../testing/kafka.ts';
import type { KafkaCompression } from './client.ts';
import { kafkaLog } from './engine.ts';

const missing = kafkaAvailable();
const CODECS: readonly KafkaCompression[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd'];
const COUNT = 40;
const PAYLOAD = `{"bn":"urn:dev:mac:0024befffe804ff1","n":"temperature","u":"Cel","v":23.1}`.repeat(20);

describe.skipIf(missing !== null)('compression in Kafka (needs java and mvn)', () => {
  let kafka: RunningKafka;
  const running: Started<LogEngine>[] = [];
  const work = mkdtempSync(join(tmpdir(), 'millrace-codecs-'));
  beforeAll(async () => {
    kafka = await startKafka();
  }, 300_000);
  afterAll(async () => {
    for (const started of running) await started.stop();
    await kafka?.stop();
    rmSync(work, { recursive: true, force: true });
  });

  async function topicOf(compression: KafkaCompression, topic: string) {
    const started = await kafkaLog({
      brokers: kafka.brokers,
      compression,
      pendingBytesMax: 16 * 1024 * 1024,
      recordBytesMax: 512 * 1024,
      metrics: createMetrics(),
      logger: createLogger({ level: 'silent' }),
    }).start();
    running.push(started);
    return await started.value.topic({ topic, partitionCount: 1, retentionMs: 3_600_000, retentionBytes: 2 ** 30 });
  }

  /** One of Kafka's own command line tools. */
  const tool = async (name: string, ...words: string[]): Promise<string> => {
    const java = ['-Xmx128m', '-cp', `${await kafkaLibraries()}/*`, name, ...words];
    const { stdout } = await promisify(execFile)('java', java, { maxBuffer: 64 * 1024 * 1024 });
    return stdout;
  };

  test('what each codec wrote is read by a node that writes with another, and by the console consumer', async () => {
    for (const codec of CODECS) {
      const log = await topicOf(codec, 'all');
      await Promise.all(
        Array.from({ length: COUNT }, (_, index) => appendOne(log, 0, '', Buffer.from(`${codec}-${index} ${PAYLOAD}`))),
      );
    }
    const sent = CODECS.flatMap((codec) => Array.from({ length: COUNT }, (_, index) => `${codec}-${index} ${PAYLOAD}`));
    const reader = await topicOf('none', 'all');
    const found: string[] = [];
    while (found.length < sent.length) {
      const batch = await reader.peek(0, found.length, { bytesMax: 8 * 1024 * 1024 });
      if (batch === null) break;
      found.push(...texts(batch));
    }
    expect(found).toEqual(sent);
    const told = await tool(
      'org.apache.kafka.tools.consumer.ConsoleConsumer',
      ...['--bootstrap-server', kafka.brokers, '--topic', 'all', '--from-beginning'],
      ...['--max-messages', String(sent.length), '--timeout-ms', '60000'],
    );
    expect(told.trim().split('\n')).toEqual(sent);
  }, 120_000);

  test("what Kafka's own producer compressed is read", async () => {
    const file = join(work, 'payload.txt');
    writeFileSync(file, PAYLOAD);
    const log = await topicOf('none', 'theirs');
    const codecs = CODECS.filter((codec) => codec !== 'none');
    for (const codec of codecs) {
      await tool(
        'org.apache.kafka.tools.ProducerPerformance',
        ...['--topic', 'theirs', '--num-records', String(COUNT), '--throughput', '-1', '--payload-file', file],
        ...['--producer-props', `bootstrap.servers=${kafka.brokers}`, `compression.type=${codec}`, 'linger.ms=100'],
      );
    }
    const found: string[] = [];
    while (found.length < codecs.length * COUNT) {
      const batch = await log.peek(0, found.length, { bytesMax: 8 * 1024 * 1024 });
      if (batch === null) break;
      found.push(...texts(batch));
    }
    expect(found).toEqual(Array.from({ length: codecs.length * COUNT }, () => PAYLOAD));
  }, 120_000);

  test('a fault on which kafkajs gives up for good does not end a consumer', async () => {
    const log = await topicOf('lz4', 'stubborn');
    await appendOne(log, 0, '', Buffer.from(PAYLOAD));
    const { CompressionCodecs, CompressionTypes } = kafkajs;
    const good = CompressionCodecs[CompressionTypes.LZ4] as () => object;
    let failures = 0;
    CompressionCodecs[CompressionTypes.LZ4] = () => ({
      ...good(),
      decompress: async () => {
        failures++;
        CompressionCodecs[CompressionTypes.LZ4] = good;
        throw Object.assign(new Error('it cannot be unpacked'), { retriable: false });
      },
    });
    const found = await new Promise<string[]>((resolve) => {
      void log.consume('readers', async (lease) => {
        while (!lease.signal.aborted) {
          const batch = await lease.read(0, { bytesMax: 1024 * 1024, waitMsMax: 500 }).catch(() => null);
          if (batch !== null) resolve(texts(batch));
        }
      });
    });
    expect(found).toEqual([PAYLOAD]);
    expect(failures).toBe(1);
  }, 120_000);
});
