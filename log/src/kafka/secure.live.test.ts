import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { appendOne, createLogger, createMetrics, type LogEngine, readConfig, type Started } from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LogConfig, openLog } from '../config.ts';
import { texts } from '../conformance.ts';
import { kafkaAvailable } from '../testing/kafka.ts';
import { type SecureKafka, startSecureKafka } from '../testing/kafka-secure.ts';

const missing = kafkaAvailable();

describe.skipIf(missing !== null)('Kafka that asks for TLS and a user (needs java, mvn and openssl)', () => {
  let kafka: SecureKafka;
  const directory = mkdtempSync(join(tmpdir(), 'millrace-secrets-'));
  beforeAll(async () => {
    kafka = await startSecureKafka();
  }, 300_000);
  afterAll(async () => {
    await kafka?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const start = (settings: Record<string, string>): Promise<Started<LogEngine>> => {
    const all = { MILLRACE_KAFKA_BROKERS: kafka.brokers, MILLRACE_KAFKA_TLS_CA_FILE: kafka.caFile, ...settings };
    const parts = { directory, metrics: createMetrics(), logger: createLogger({ level: 'silent' }) };
    return openLog(readConfig(LogConfig, all), parts).start();
  };
  const user = (mechanism: string): Record<string, string> => ({
    MILLRACE_KAFKA_SASL: mechanism,
    MILLRACE_KAFKA_USER: kafka.user,
    MILLRACE_KAFKA_PASSWORD: kafka.password,
  });
  const problemOf = async (settings: Record<string, string>): Promise<string> => {
    try {
      await (await start(settings)).stop();
    } catch (error) {
      return (error as Error).message;
    }
    return 'it started';
  };

  test.for(['plain', 'scram-sha-256', 'scram-sha-512'])(
    '%s over TLS: appends, reads and joins a group',
    async (how) => {
      const started = await start(user(how));
      try {
        const topic = { topic: how, partitionCount: 1, retentionMs: 3_600_000, retentionBytes: 2 ** 30 };
        const log = await started.value.topic(topic);
        expect(await appendOne(log, 0, 'key', Buffer.from('kept'))).toEqual({ partition: 0, offset: 0 });
        const batch = await log.peek(0, 0, { bytesMax: 1_000 });
        expect(batch && texts(batch)).toEqual(['kept']);
        let commit: () => Promise<void> = async () => {};
        const leased = new Promise<void>((resolve) => {
          void log.consume('g', async (lease) => {
            commit = () => lease.commit(1, 'done');
            resolve();
            await new Promise((ended) => lease.signal.addEventListener('abort', ended, { once: true }));
          });
        });
        await leased;
        await commit();
        expect(await log.committed('g', 0)).toEqual({ offset: 1, metadata: 'done' });
      } finally {
        await started.stop();
      }
    },
  );

  test('a password may come out of a file, with a line break at its end', async () => {
    const file = join(directory, 'password');
    writeFileSync(file, `${kafka.password}\n`);
    const { MILLRACE_KAFKA_PASSWORD: _, ...rest } = user('scram-sha-512');
    const started = await start({ ...rest, MILLRACE_KAFKA_PASSWORD_FILE: file });
    expect(await started.value.health()).toBeNull();
    await started.stop();
  });

  test('says what to do about a wrong password, and never what it was', async () => {
    const wrong = { ...user('scram-sha-512'), MILLRACE_KAFKA_PASSWORD: 'not-the-password' };
    expect(await problemOf(wrong)).toMatch(/LOG_UNREACHABLE.*does not accept the user or the password/);
    expect(await problemOf({ ...wrong, MILLRACE_KAFKA_SASL: 'plain' })).toMatch(/does not accept the user or the pass/);
    expect(await problemOf(wrong)).not.toContain('not-the-password');
  });

  test('says what to do about an authority that is not known', async () => {
    const told = await problemOf({ ...user('plain'), MILLRACE_KAFKA_TLS_CA_FILE: kafka.otherCaFile });
    expect(told).toMatch(/MILLRACE_KAFKA_TLS_CA_FILE/);
  });

  test('says what to do when one side speaks TLS and the other does not', async () => {
    expect(await problemOf({ ...user('plain'), MILLRACE_KAFKA_BROKERS: kafka.plaintext })).toMatch(/speaks? TLS/);
    const plain = { MILLRACE_KAFKA_TLS: 'off', MILLRACE_KAFKA_TLS_CA_FILE: '', ...user('plain') };
    expect(await problemOf(plain)).toMatch(/MILLRACE_KAFKA_TLS=on/);
  }, 60_000);
});
