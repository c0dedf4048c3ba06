import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { kafkaAvailable } from '@millrace/log/testing';
import { beforeAll, describe, expect, test } from 'vitest';
import { WORK_PREFIX } from './directory.ts';
import { runKafka, SUBJECTS } from './kafka/kafka.ts';
import { KAFKA_QUICK } from './kafka/options.ts';
import type { KafkaReport } from './kafka/report.ts';
import { sampleRecords } from './kafka/subject/records.ts';
import { formatKafkaReport } from './kafka/table.ts';

const missing = kafkaAvailable();
const leftovers = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith(WORK_PREFIX));

describe.skipIf(missing !== null)('the log in Kafka, for a moment (needs java and mvn)', () => {
  let report: KafkaReport;
  let before: string[];
  beforeAll(async () => {
    before = leftovers();
    report = await runKafka(
      { ...KAFKA_QUICK, records: 2_000, inFlight: 1_000, perSecond: 500, seconds: 0.5, compressions: ['zstd'] },
      () => undefined,
    );
  }, 600_000);
  const median = (name: string): number => report.figures[name]?.median ?? 0;

  test('measures what each client produces and reads, beside its floor and the tools of Kafka', () => {
    for (const name of [...SUBJECTS.map((subject) => subject.join('-')), 'java', 'codec-zstd-kafkajs']) {
      for (const work of ['produce', 'consume']) {
        expect(median(`${name}/${work}/records_per_second`), `${name} ${work}`).toBeGreaterThan(0);
        expect(median(`${name}/${work}/cpu_per_million`), `${name} ${work}`).toBeGreaterThan(0);
      }
    }
  });

  test('measures how soon records are acknowledged at a steady rate', () => {
    for (const subject of SUBJECTS) {
      const name = `${subject.join('-')}/open`;
      expect(median(`${name}/ack_p50`), name).toBeGreaterThan(0);
      expect(median(`${name}/ack_p99`), name).toBeGreaterThanOrEqual(median(`${name}/ack_p50`));
    }
  });

  test('finds less on the disk where records are compressed', () => {
    const { recordBytes } = report.settings;
    for (const client of ['kafkajs', 'platformatic']) {
      expect(median(`codec-zstd-${client}/disk`), client).toBeGreaterThan(10);
      expect(median(`codec-zstd-${client}/disk`), client).toBeLessThan(recordBytes);
    }
  });

  test('prints what it found, and leaves no directory behind', () => {
    expect(formatKafkaReport(report)).toContain('the log with @platformatic/kafka');
    expect(leftovers().filter((name) => !before.includes(name))).toEqual([]);
  });
});

test('the records of the benchmark have the size that is said, and are the same each time', () => {
  const records = sampleRecords(300);
  expect(new Set(records.map(({ length }) => length))).toEqual(new Set([300]));
  expect(new Set(records.map(String)).size).toBe(records.length);
  expect(sampleRecords(300)).toEqual(records);
});
