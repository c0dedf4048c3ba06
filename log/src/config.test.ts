import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, createMetrics, readConfig } from '@millrace/core';
import { compressSync } from 'snappy';
import { describe, expect, test } from 'vitest';
import { LogConfig, openLog, partitionCountOf } from './config.ts';
import { crc32Portable } from './embedded/crc.ts';
import { frameBatch } from './kafka/frames.ts';
import { judge, retentionOf } from './kafka/retention-guard.ts';
import { securityOf } from './kafka/security.ts';
import { compressSnappy, uncompressSnappy } from './kafka/snappy-frames.ts';
import { newTopic, shortcomings } from './kafka/topic-settings.ts';

test('without any key the log is embedded, acknowledged after fsync, with 2 partitions', async () => {
  const config = readConfig(LogConfig, {});
  expect(config.MILLRACE_LOG_DURABILITY).toBe('fsync');
  expect(partitionCountOf(config)).toBe(2);
  const directory = mkdtempSync(join(tmpdir(), 'millrace-log-'));
  const started = await openLog(config, {
    directory,
    metrics: createMetrics(),
    logger: createLogger({ level: 'silent' }),
  }).start();
  expect(started.value.name).toBe('embedded');
  await started.stop();
  rmSync(directory, { recursive: true });
});

test('with brokers, topics get 12 partitions unless told otherwise', () => {
  expect(partitionCountOf(readConfig(LogConfig, { MILLRACE_KAFKA_BROKERS: 'a:9092' }))).toBe(12);
  expect(partitionCountOf(readConfig(LogConfig, { MILLRACE_LOG_PARTITIONS: '3' }))).toBe(3);
});

test('the portable checksum is the CRC-32 of zlib', () => {
  expect(crc32Portable(Buffer.from('123456789'))).toBe(0xcbf43926);
});

test('a batch with gaps carries the offset of each record, one without carries none', () => {
  const message = (offset: number, text: string | null) => ({
    offset: String(offset),
    value: text === null ? null : Buffer.from(text),
  });
  const messages = [message(3, 'a'), message(4, null), message(9, 'bc')];
  expect(frameBatch(1, messages, 0, 2, 9)).toMatchObject({ first: 3, last: 4, count: 2, offsets: null });
  const gapped = frameBatch(1, messages, 0, 3, 15);
  expect(gapped.offsets).toEqual(Float64Array.of(3, 4, 9));
  expect([...gapped.bytes]).toEqual([1, 0, 0, 0, 97, 0, 0, 0, 0, 2, 0, 0, 0, 98, 99]);
});

describe('access to Kafka', () => {
  const logger = createLogger({ level: 'silent' });
  const read = (settings: Record<string, string>) =>
    securityOf(readConfig(LogConfig, { MILLRACE_KAFKA_BROKERS: 'k1:9093,k2:9093', ...settings }), logger);
  const user = { MILLRACE_KAFKA_SASL: 'plain', MILLRACE_KAFKA_USER: 'u', MILLRACE_KAFKA_PASSWORD: 'p' };

  test('without any key it is plaintext without a user', () => {
    expect(read({})).toEqual({ tls: null, sasl: null });
  });

  test('a password is not sent in the clear unless that is said, or the broker is on this machine', () => {
    expect(() => read(user)).toThrow(/MILLRACE_KAFKA_TLS=on/);
    expect(read({ ...user, MILLRACE_KAFKA_TLS: 'off' }).tls).toBeNull();
    expect(read({ ...user, MILLRACE_KAFKA_TLS: 'on' }).tls).toEqual({ ca: null, cert: null, key: null });
    expect(read({ ...user, MILLRACE_KAFKA_BROKERS: '127.0.0.1:9092,[::1]:9092,localhost:1' }).tls).toBeNull();
    expect(() => read({ ...user, MILLRACE_KAFKA_BROKERS: '127.0.0.1:9092,k2:9092' })).toThrow(/in the clear/);
  });

  test('all that contradicts itself is told together', () => {
    const settings = {
      MILLRACE_KAFKA_TLS_CERT_FILE: '/nowhere/cert.pem',
      MILLRACE_KAFKA_TLS: 'off',
      MILLRACE_KAFKA_USER: 'u',
    };
    expect(() => read(settings)).toThrow(/nowhere.*contradicts.*need MILLRACE_KAFKA_SASL/);
    expect(() => read({ ...user, MILLRACE_KAFKA_PASSWORD_FILE: '/nowhere' })).toThrow(/give one of them/);
  });
});

describe('topics in Kafka', () => {
  const options = { topic: 't', partitionCount: 4, retentionMs: 1_000, retentionBytes: Number.POSITIVE_INFINITY };
  const defaults = { replication: null, minInSync: null, recordBytesMax: 1_000 };
  const found = (replicaCount: number, settings: Record<string, string>) => ({
    partitions: [{ partition: 0, replicaCount, inSyncCount: replicaCount }],
    settings: new Map(Object.entries({ 'max.message.bytes': '9999999', 'retention.ms': '-1', ...settings })),
  });

  test('get three replicas of which two must have what is acknowledged, where there are three brokers', () => {
    const three = newTopic(options, defaults, 3);
    expect([three.replication, three.settings.get('min.insync.replicas')]).toEqual([3, '2']);
    const one = newTopic(options, defaults, 1);
    expect([one.replication, one.settings.get('min.insync.replicas')]).toEqual([-1, undefined]);
    expect(newTopic(options, { ...defaults, minInSync: 1 }, 3).settings.get('min.insync.replicas')).toBe('1');
  });

  test('are limited by time, and by size only when asked to', () => {
    expect(newTopic(options, defaults, 3).settings.get('retention.bytes')).toBe('-1');
    expect(newTopic({ ...options, retentionBytes: 4_000 }, defaults, 3).settings.get('retention.bytes')).toBe('1000');
  });

  test('that are less than what is asked for are told', () => {
    const told = (replicas: number, settings: Record<string, string>, brokers = 3): string =>
      shortcomings(found(replicas, settings), options, defaults, brokers).join('; ');
    expect(told(3, { 'min.insync.replicas': '2', 'retention.bytes': '-1' })).toBe('');
    expect(told(1, { 'min.insync.replicas': '1' }, 1)).toBe('');
    expect(told(1, { 'min.insync.replicas': '1' })).toMatch(/1 of 3 replicas/);
    expect(told(3, { 'min.insync.replicas': '1' })).toMatch(/set it to 2/);
    expect(told(2, { 'min.insync.replicas': '3' })).toMatch(/nothing can be appended/);
    expect(told(3, { 'min.insync.replicas': '2', 'max.message.bytes': '500' })).toMatch(/max.message.bytes=500/);
    expect(told(3, { 'min.insync.replicas': '2', 'retention.bytes': '500' })).toMatch(/retention.bytes=500/);
    expect(told(3, { 'min.insync.replicas': '2', 'retention.ms': '10' })).toMatch(/retention.ms=10/);
    expect(told(3, { 'min.insync.replicas': '2', 'cleanup.policy': 'compact' })).toMatch(/set it to delete/);
  });
});

describe('what Kafka may remove', () => {
  const unread = { extent: { earliest: 10, next: 110 }, youngFrom: 50, recordBytes: 100 };
  const at = (offset: number) => ({ ...unread, committed: { offset, metadata: '' } });

  test('is full by age once the group has not read what is older than its share', () => {
    expect(judge(at(40), { ms: 1_000, bytes: null }, 0.8)).toEqual({ lag: 70, lagBytes: 7_000, lost: 0, full: 'age' });
    expect(judge(at(50), { ms: 1_000, bytes: null }, 0.8).full).toBeNull();
    expect(judge(at(40), { ms: 1_000, bytes: null }, null).full).toBeNull();
    expect(judge({ ...at(40), youngFrom: null }, { ms: 1_000, bytes: null }, 0.8).full).toBeNull();
  });

  test('is full by size once the rest is more than its share', () => {
    expect(judge(at(60), { ms: null, bytes: 6_000 }, 0.8).full).toBe('size');
    expect(judge(at(70), { ms: null, bytes: 6_000 }, 0.8).full).toBeNull();
  });

  test('counts what is gone, and counts all as unread for a group that never committed', () => {
    expect(judge(at(4), { ms: null, bytes: null }, 0.8)).toMatchObject({ lag: 100, lost: 6, full: null });
    expect(judge({ ...unread, committed: undefined }, { ms: 9, bytes: null }, 0.8)).toMatchObject({
      lag: 100,
      lost: 0,
      full: 'age',
    });
  });

  test('is read off the topic: −1 is no limit, and what is only compacted has none', () => {
    const read = (settings: Record<string, string>) => retentionOf(new Map(Object.entries(settings)));
    expect(read({ 'retention.ms': '5', 'retention.bytes': '-1' })).toEqual({ ms: 5, bytes: null });
    expect(read({ 'cleanup.policy': 'compact', 'retention.ms': '5' })).toEqual({ ms: null, bytes: null });
  });
});

test('snappy is read with and without the blocks of Java, and what is cut off is refused', () => {
  const plain = Buffer.from('snappy '.repeat(20_000));
  const framed = compressSnappy(plain);
  expect(uncompressSnappy(framed).equals(plain)).toBe(true);
  expect(uncompressSnappy(compressSync(plain)).equals(plain)).toBe(true);
  expect(() => uncompressSnappy(framed.subarray(0, framed.length - 5))).toThrow(RangeError);
});
