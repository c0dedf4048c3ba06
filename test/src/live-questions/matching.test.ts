import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createLogger,
  createMetrics,
  type Interval,
  type ReadingsSelection,
  readConfig,
  type StoredReading,
} from '@millrace/core';
import { bucketAt, matcherOf, readingText } from '@millrace/registry';
import { openStore, StorageConfig } from '@millrace/storage';
import { batchOf, type GivenMessage, type GivenReading } from '@millrace/storage/testing';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LONG } from '../crash.ts';

const T0 = Date.UTC(2026, 0, 5, 12) * 1_000;
const TEXTS = ['', 'a', 'ab', 'b', 'é', '\u{1f600}', '\uff5e', 'a\n"b"'];
const NUMBERS = [0, -0, 1, 1.5, -3, 1e300, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN];
const DATA = [[], [0], [255, 254], [1, 2, 3]];
const NAMES = ['hall/t', 'hall/h', 'cellar', 'é'];

const someOf = <T>(values: readonly T[]) => fc.option(fc.subarray([...values], { minLength: 0 }), { nil: undefined });
const given = fc.record({
  subtopic: fc.constantFrom('', 'x', 'x/y'),
  publisher: fc.constantFrom('p1', 'p2'),
  protocol: fc.constantFrom('mqtt', 'http'),
  channel: fc.constantFrom('one', 'two', 'three'),
  readings: fc.array(
    fc
      .record({ name: fc.constantFrom(...NAMES), timeUs: fc.integer({ min: -4, max: 4 }).map((us) => T0 + us) })
      .chain((base) =>
        fc.oneof(
          fc.constantFrom(...NUMBERS).map((value) => ({ ...base, value })),
          fc.constantFrom(...TEXTS).map((stringValue) => ({ ...base, stringValue })),
          fc.boolean().map((boolValue) => ({ ...base, boolValue })),
          fc.constantFrom(...DATA).map((bytes) => ({ ...base, dataValue: Uint8Array.from(bytes) })),
        ),
      ) as fc.Arbitrary<GivenReading>,
    { minLength: 1, maxLength: 6 },
  ),
}) as fc.Arbitrary<GivenMessage>;

const comparator = fc.constantFrom('eq', 'lt', 'le', 'gt', 'ge');
const optional = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined, freq: 3 });
const selection = fc
  .record({
    org: fc.constant('acme'),
    channels: fc.subarray(['one', 'two']),
    publishers: someOf(['p1', 'p2', 'p3']),
    names: someOf(NAMES),
    namePrefix: optional(fc.constantFrom('', 'ha', 'hall/', 'é')),
    subtopics: someOf(['', 'x']),
    protocols: someOf(['mqtt', 'coap']),
    fromUs: optional(fc.integer({ min: -4, max: 4 }).map((us) => BigInt(T0 + us))),
    toUs: optional(fc.integer({ min: -4, max: 4 }).map((us) => BigInt(T0 + us))),
    of: optional(
      fc.oneof(
        fc.record({ value: fc.record({ comparator, operand: fc.constantFrom(0, 1, 1.5, -3, 1e300) }) }),
        fc.record({
          stringValue: fc.record({
            comparator: fc.oneof(comparator, fc.constant('contains')),
            operand: fc.constantFrom(...TEXTS),
          }),
        }),
        fc.record({ boolValue: fc.boolean() }),
        fc.record({ dataValue: fc.constantFrom(...DATA).map((bytes) => Buffer.from(bytes).toString('base64url')) }),
      ),
    ),
  })
  .map(({ of, ...rest }) => Object.fromEntries(Object.entries({ ...rest, ...of }).filter(([, it]) => it !== undefined)))
  .map((made) => made as unknown as ReadingsSelection);

describe('what a live question is told', () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-matching-'));
  const messages = fc.sample(given, { seed: 36, numRuns: 150 });
  let started: Awaited<ReturnType<ReturnType<typeof openStore>['start']>>;
  let arrived: StoredReading[];

  const since = (limit: number, from = { offset: 0, index: 0 }) =>
    started.value.arrivals.since({ orgs: ['acme', 'none'], partition: 7, from, before: messages.length, limit });

  beforeAll(async () => {
    started = await openStore(readConfig(StorageConfig, {}), {
      directory,
      metrics: createMetrics(),
      logger: createLogger({ level: 'silent' }),
    }).start();
    await started.value.write('messages', batchOf(0, messages, 7), { verify: false });
    await started.value.write('messages', batchOf(0, messages.slice(0, 9), 8), { verify: false });
    arrived = [...(await since(10_000)).readings];
  }, 60_000);
  afterAll(async () => {
    await started?.stop();
    rmSync(directory, { recursive: true });
  });

  test('is each reading of the partition once, in the order of the log, however it is cut', async () => {
    const places = messages.flatMap(({ readings = [] }, offset) => readings.map((_, index) => [offset, index]));
    expect(arrived.map(({ offset, index }) => [offset, index])).toEqual(places);
    for (const limit of [1, 7, places.length]) {
      const all: StoredReading[] = [];
      let from = { offset: 3, index: 0 };
      for (let page = await since(limit, from); ; page = await since(limit, from)) {
        all.push(...page.readings);
        expect(page.readings.length).toBeLessThanOrEqual(limit);
        from = page.next;
        if (from.offset === messages.length || all.length > 60) break;
      }
      expect(all).toEqual(arrived.filter(({ offset }) => offset >= 3).slice(0, all.length));
    }
    expect((await since(10_000)).next).toEqual({ offset: messages.length, index: 0 });
    expect(await since(5, { offset: messages.length, index: 0 })).toMatchObject({ readings: [] });
  });

  test('is of buckets that are the store’s own, in every zone', async () => {
    const readings = INSTANTS.map((ms) => ({ name: 't', timeUs: ms * 1_000, value: 1 }));
    await started.value.write('messages', batchOf(0, [{ channel: 'times', readings }], 9), { verify: false });
    for (const timeZone of ['UTC', 'Europe/Berlin', 'Australia/Lord_Howe']) {
      for (const interval of INTERVALS) {
        const { series } = await started.value.questions.series({
          org: 'acme',
          channels: ['times'],
          aggregations: ['count'],
          interval,
          timeZone,
          fill: 'none',
          across: [],
          direction: 'asc',
          limit: 1_000,
          seriesMax: 1,
          rollups: 'raw',
          ...(interval.kind === 'fixed'
            ? {}
            : { fromUs: BigInt(Date.UTC(1940, 0)) * 1_000n, toUs: BigInt(Date.UTC(2110, 0)) * 1_000n }),
        });
        const ours = INSTANTS.map((ms) => {
          const { fromMs, toMs } = bucketAt(interval, timeZone, ms);
          expect(fromMs <= ms && ms < toMs && bucketAt(interval, timeZone, toMs).fromMs === toMs).toBe(true);
          return fromMs;
        });
        const theirs = series[0]?.points.map(({ timeNs }) => Number(BigInt(timeNs) / 1_000_000n));
        expect(theirs, `${JSON.stringify(interval)} in ${timeZone}`).toEqual(
          [...new Set(ours)].toSorted((a, b) => a - b),
        );
      }
    }
  }, 60_000);

  test('is what the query answers, whatever is selected', async () => {
    let matching = 0;
    await fc.assert(
      fc.asyncProperty(selection, async (asked) => {
        const options = {
          format: 'ndjson',
          time: 'us',
          signal: new AbortController().signal,
          urgency: 'interactive',
        } as const;
        const parts: Uint8Array[] = [];
        const question = { ...asked, order: 'time', direction: 'asc' } as const;
        for await (const part of started.value.questions.rows(question, options)) parts.push(part);
        const stored = Buffer.concat(parts).toString().split('\n').slice(0, -1);
        const told = arrived.filter(matcherOf(asked)).map((reading) => readingText(reading, 'us'));
        const parsed = (lines: readonly string[]) =>
          lines.map((line) => JSON.stringify(sorted(JSON.parse(line)))).sort();
        // Partition 8 holds copies of the first messages.
        const copies = arrived.filter(({ offset }) => offset < 9).filter(matcherOf(asked));
        expect(parsed(stored)).toEqual(parsed([...told, ...copies.map((reading) => readingText(reading, 'us'))]));
        matching += told.length;
      }),
      { seed: 36, numRuns: LONG ? 3_000 : 100, endOnFailure: true },
    );
    expect(matching).toBeGreaterThan(100);
  }, 120_000);
});

const INTERVALS: readonly Interval[] = [
  { kind: 'fixed', everyMs: 1 },
  { kind: 'fixed', everyMs: 90_000 },
  ...(['day', 'week', 'month', 'quarter', 'year'] as const).flatMap((unit) =>
    [1, 3].map((count) => ({ kind: 'calendar', unit, count }) as const),
  ),
];
/** Where clocks change, on both sides of 1970. */
const INSTANTS = fc.sample(
  fc.oneof(
    fc.integer({ min: Date.UTC(1950, 0), max: Date.UTC(2100, 0) }),
    fc.integer({ min: Date.UTC(2026, 2, 27), max: Date.UTC(2026, 2, 31) }),
    fc.integer({ min: Date.UTC(2026, 9, 23), max: Date.UTC(2026, 9, 27) }),
  ),
  { seed: 36, numRuns: 60 },
);

const sorted = (row: object): object =>
  Object.fromEntries(Object.entries(row).toSorted(([a], [b]) => (a < b ? -1 : 1)));
