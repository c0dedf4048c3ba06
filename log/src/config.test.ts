import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, createMetrics, readConfig } from '@millrace/core';
import { expect, test } from 'vitest';
import { LogConfig, openLog, partitionCountOf } from './config.ts';
import { crc32Portable } from './embedded/crc.ts';
import { frameBatch } from './kafka/frames.ts';

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
