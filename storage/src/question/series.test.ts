import { deepEqual, equal, ok, rejects } from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Aggregation,
  aggregations,
  createLogger,
  createMetrics,
  type Interval,
  type Questions,
  readConfig,
  type SeriesAnswer,
  type SeriesQuestion,
  StoreError,
  seriesFields,
} from '@millrace/core';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { StorageConfig } from '../config.ts';
import { openStore } from '../store.ts';
import { batchOf } from '../testing/batches.ts';
import { type ReferenceSeries, referenceSeries, type StoredReading } from './reference.ts';

const LONG = process.env.MILLRACE_TEST_LONG === '1';
const SEED = process.env.MILLRACE_TEST_SEED === undefined ? 20_261_121 : Number(process.env.MILLRACE_TEST_SEED);

const MINUTE = 60_000_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Where clocks change, where calendars end, and where a device's clock may be. */
const ERAS = [
  Date.UTC(2026, 2, 28, 12),
  Date.UTC(2026, 9, 31, 12),
  Date.UTC(2026, 3, 4, 3),
  Date.UTC(2011, 11, 28, 6),
  Date.UTC(1969, 11, 31, 12),
  Date.UTC(1901, 5, 1),
  Date.UTC(2120, 1, 27),
  Date.UTC(2250, 0, 1),
].map((ms) => ms * 1_000);
const SPREADS = [20_000, 3 * MINUTE, 5 * HOUR, 4 * DAY, 90 * DAY];
const ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kolkata', 'Pacific/Apia'];

interface Room {
  readonly channel: string;
  readonly eraUs: number;
  readonly spreadUs: number;
  readonly readings: readonly StoredReading[];
}

describe('series', () => {
  let questions: Questions;
  let stop: () => Promise<void>;
  let rooms: Room[];
  beforeAll(async () => {
    const directory = await mkdtemp(join(tmpdir(), 'millrace-series-'));
    const options = { directory, metrics: createMetrics(), logger: createLogger({ level: 'silent' }) };
    const started = await openStore(readConfig(StorageConfig, {}), options).start();
    questions = started.value.questions;
    stop = async () => {
      await started.stop();
      await rm(directory, { recursive: true });
    };
    rooms = fc.sample(roomsGiven, { seed: SEED, numRuns: 1 })[0] ?? [];
    rooms.push(plainRoom());
    // Two months of reception, two partitions of the log, and neither in the order of time.
    const parts = [
      { partition: 0, receivedUs: Date.UTC(2026, 9, 30) * 1_000 },
      { partition: 1, receivedUs: Date.UTC(2026, 10, 21) * 1_000 },
    ];
    for (const { partition, receivedUs } of parts) {
      const readings = rooms.flatMap((room) => room.readings).filter(({ place }) => place[0] === partition);
      const messages = new Map<number, StoredReading[]>();
      for (const reading of readings)
        messages.set(reading.place[1], [...(messages.get(reading.place[1]) ?? []), reading]);
      const given = [...messages.entries()]
        .toSorted(([a], [b]) => a - b)
        .map(([, pack]) => ({
          ...(pack[0] as StoredReading),
          receivedUs,
          readings: pack,
        }));
      await started.value.write('messages', batchOf(0, given, partition), { verify: false });
    }
  });
  afterAll(() => stop?.());

  const ask = (more: Partial<SeriesQuestion>): SeriesQuestion => ({
    org: 'acme',
    channels: ['plain'],
    aggregations: [],
    timeZone: 'UTC',
    fill: 'none',
    across: [],
    direction: 'asc',
    limit: 1_000,
    seriesMax: 100,
    rollups: 'auto',
    ...more,
  });

  test(
    'answers as the slow reference does, whatever is asked, with rollups and without',
    async () => {
      const sources = new Set<string>();
      let points = 0;
      await fc.assert(
        fc.asyncProperty(questionGiven(rooms), async (given) => {
          const readings = rooms.flatMap((room) => room.readings);
          const question = ask(given);
          const expected = referenceSeries(readings, question);
          for (const rollups of ['auto', 'raw'] as const) {
            const answer = await questions.series({ ...question, rollups });
            sources.add(answer.used.source);
            points += answer.series.reduce((sum, series) => sum + series.points.length, 0);
            same(answer, expected, question, readings);
          }
        }),
        { seed: SEED, numRuns: LONG ? 10_000 : 250, endOnFailure: false },
      );
      ok(points > 1_000, 'the questions are about something');
      deepEqual([...sources].toSorted(), ['readings', 'rollups_1h', 'rollups_1m']);
    },
    LONG ? 1_800_000 : 120_000,
  );
});

/** Numbers alone, every second: what rollups are good for. */
function plainRoom(): Room {
  const eraUs = Date.UTC(2026, 2, 28, 22) * 1_000;
  const readings = Array.from(
    { length: 2_000 },
    (_, index): StoredReading => ({
      channel: 'plain',
      publisher: `p${index % 2}`,
      name: 'n',
      subtopic: '',
      unit: index % 4 < 2 ? 'Cel' : 'K',
      protocol: 'mqtt',
      timeUs: eraUs + index * 7_000_000,
      place: [index % 2, 50_000 + index, 0],
      value: ((index * 7_919) % 1_000) / 8,
    }),
  );
  return { channel: 'plain', eraUs, spreadUs: 4 * HOUR, readings };
}

const kindGiven: fc.Arbitrary<Partial<StoredReading>> = fc.oneof(
  { weight: 30, arbitrary: fc.integer({ min: -800, max: 800 }).map((eighths) => ({ value: eighths / 8 })) },
  { weight: 10, arbitrary: fc.double({ min: -1e3, max: 1e3, noNaN: true }).map((value) => ({ value })) },
  { weight: 1, arbitrary: fc.constantFrom({ value: Number.NaN }, { value: Number.POSITIVE_INFINITY }) },
  { weight: 1, arbitrary: fc.constant({ value: Number.NEGATIVE_INFINITY }) },
  { weight: 2, arbitrary: fc.constantFrom({ stringValue: 'open' }, { stringValue: 'ajar' }, { stringValue: '' }) },
  { weight: 1, arbitrary: fc.boolean().map((boolValue) => ({ boolValue })) },
);
const plainGiven: fc.Arbitrary<Partial<StoredReading>> = fc
  .integer({ min: -800, max: 800 })
  .map((eighths) => ({ value: eighths / 8 }));

const roomsGiven: fc.Arbitrary<Room[]> = fc
  .array(
    fc.record({
      eraUs: fc.constantFrom(...ERAS),
      spreadUs: fc.constantFrom(...SPREADS),
      plain: fc.boolean(),
      seeds: fc.array(
        fc.record({
          at: fc.integer({ min: 0, max: 400 }),
          jitterUs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 2_000 })),
          publisher: fc.constantFrom('p1', 'p2'),
          name: fc.constantFrom('a', 'hall/a', 'hall/b'),
          subtopic: fc.constantFrom('', '', '', 's'),
          unit: fc.constantFrom('Cel', 'Cel', 'Cel', 'K', 'degF'),
          protocol: fc.constantFrom('mqtt', 'http'),
          partition: fc.constantFrom(0, 1),
          number: plainGiven,
          any: kindGiven,
        }),
        { minLength: 0, maxLength: 120, size: 'max' },
      ),
    }),
    { minLength: LONG ? 60 : 24, maxLength: LONG ? 60 : 24 },
  )
  .map((given) => {
    let offset = 0;
    return given.map(({ eraUs, spreadUs, plain, seeds }, index): Room => {
      const channel = `c${index}`;
      const readings = seeds.map(
        ({ at, jitterUs, partition, number, any, ...rest }): StoredReading => ({
          ...rest,
          channel,
          timeUs: eraUs + Math.floor((at * spreadUs) / 400) + jitterUs,
          place: [partition, offset++, 0],
          ...(plain ? number : any),
        }),
      );
      return { channel, eraUs, spreadUs, readings };
    });
  });

const quantileGiven = fc.constantFrom<Aggregation>('p0', 'p10', 'p50', 'p99.9', 'p100');

function questionGiven(rooms: readonly Room[]): fc.Arbitrary<Partial<SeriesQuestion>> {
  return fc.constantFrom(...rooms, ...rooms.slice(-6)).chain((room) => {
    const { eraUs, spreadUs } = room;
    const grain = fc.constantFrom(1, 1_000, MINUTE, HOUR);
    const border = fc.oneof(
      { weight: 2, arbitrary: fc.constant(undefined) },
      {
        weight: 5,
        arbitrary: fc
          .tuple(fc.integer({ min: -50, max: 450 }), grain)
          .map(([part, us]) => BigInt(Math.floor((eraUs + (part * spreadUs) / 400) / us)) * BigInt(us)),
      },
    );
    // Never so many buckets that the reference takes long.
    const fixed = [1, 250, 7_000, 60_000, 120_000, 3_600_000, 7_200_000, 86_400_000, 864_000_000].filter(
      (everyMs) => spreadUs / 1_000 / everyMs < 3_000,
    );
    const interval: fc.Arbitrary<Interval | undefined> = fc.oneof(
      { weight: 1, arbitrary: fc.constant(undefined) },
      { weight: 4, arbitrary: fc.constantFrom(...fixed).map((everyMs) => ({ kind: 'fixed' as const, everyMs })) },
      {
        weight: 3,
        arbitrary: fc.record({
          kind: fc.constant('calendar' as const),
          count: fc.constantFrom(1, 1, 1, 2, 5),
          unit: fc.constantFrom('day', 'day', 'week', 'month', 'quarter', 'year'),
        }),
      },
    );
    const rolled = fc.subarray<Aggregation>(['min', 'max', 'avg', 'sum', 'count'], { minLength: 1 });
    const named = fc.oneof(
      { weight: 3, arbitrary: rolled },
      { weight: 4, arbitrary: fc.subarray<Aggregation>([...aggregations], { minLength: 1, maxLength: 5 }) },
      { weight: 1, arbitrary: quantileGiven.map((each): Aggregation[] => [each]) },
      { weight: 1, arbitrary: fc.constant<Aggregation[]>([]) },
    );
    return fc
      .record({
        channels: fc.constantFrom([room.channel], [room.channel], [room.channel, rooms[0]?.channel ?? '']),
        publishers: rarely(fc.subarray(['p1', 'p2', 'nobody'])),
        names: rarely(fc.subarray(['a', 'hall/a', "it's"], { minLength: 1 })),
        namePrefix: rarely(fc.constantFrom('hall/', 'h', '')),
        subtopics: rarely(fc.subarray(['', 's'])),
        protocols: rarely(fc.constantFrom(['mqtt'], ['http', 'mqtt']), 12),
        value: rarely(
          fc.record({
            comparator: fc.constantFrom('eq', 'lt', 'le', 'gt', 'ge'),
            operand: fc.integer({ min: -9, max: 9 }),
          }),
          12,
        ),
        stringValue: rarely(
          fc.record({ comparator: fc.constantFrom('eq', 'lt', 'contains'), operand: fc.constantFrom('a', 'open', '') }),
          20,
        ),
        boolValue: rarely(fc.boolean(), 30),
        fromUs: border,
        toUs: border,
        aggregations: named,
        interval,
        timeZone: fc.constantFrom(...ZONES),
        fill: fc.constantFrom('none', 'none', 'null', 'previous', 'linear'),
        across: rarely(fc.subarray([...seriesFields])),
        unit: rarely(fc.constantFrom('Cel', 'K', 'degF')),
        histogram: rarely(
          fc.constantFrom({ bins: 3 }, { bins: 7, min: -10, max: 20 }, { bins: 4, min: 0 }, { bins: 2, max: 5.5 }),
        ),
        direction: fc.constantFrom('asc', 'desc'),
        limit: fc.constantFrom(1, 3, 50, 5_000),
        seriesMax: fc.constantFrom(1, 2, 100),
      })
      .map(({ interval: cut, fill, ...given }) => {
        const buckets = given.aggregations.length > 0 && cut !== undefined;
        const far = given.channels.length > 1 || (cut?.kind === 'fixed' && cut.everyMs < 7_000 && spreadUs > HOUR);
        const all = { ...given, interval: buckets ? cut : undefined, fill: buckets && !far ? fill : ('none' as const) };
        return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
      });
  }) as fc.Arbitrary<Partial<SeriesQuestion>>;
}
const rarely = <T>(value: fc.Arbitrary<T>, freq = 5): fc.Arbitrary<T | undefined> =>
  fc
    .option(value, { nil: undefined, freq: 1 })
    .chain((some) => fc.integer({ min: 1, max: freq }).map((n) => (n === 1 ? some : undefined)));

/** Equal but for the last bits of what is added in another order. */
function same(
  answer: SeriesAnswer,
  expected: readonly ReferenceSeries[],
  question: SeriesQuestion,
  readings: readonly StoredReading[],
): void {
  const of = question.channels;
  const finite = readings.flatMap((each) =>
    of.includes(each.channel) && Number.isFinite(each.value) ? [Math.abs(each.value as number)] : [],
  );
  const largest = Math.max(1, ...finite) + 500;
  const times = readings.flatMap((each) => (of.includes(each.channel) ? [each.timeUs] : []));
  const seconds = (Math.max(0, ...times) - Math.min(0, ...times)) / 1e6;
  const { columns, series } = answer;
  deepEqual(columns, question.aggregations.length === 0 ? ['value'] : question.aggregations);
  deepEqual(
    series.map(({ points, ...labels }) => ({ ...labels, times: points.map(({ timeNs }) => timeNs) })),
    expected.map(({ buckets, ...labels }) => ({
      ...labels,
      times: buckets.map(({ startUs }) => `${BigInt(startUs) * 1_000n}`),
    })),
  );
  for (const [index, { points }] of series.entries())
    for (const [at, { values }] of points.entries())
      for (const [column, value] of values.entries()) {
        const wanted = expected[index]?.buckets[at]?.values[column] ?? null;
        const name = columns[column] ?? '';
        const what = `${name} of series ${index}, point ${at}: ${value}, wanted ${wanted}; from ${answer.used.source}`;
        if (typeof value !== 'number' || typeof wanted !== 'number') deepEqual(value, wanted, what);
        else if (!Number.isFinite(wanted))
          ok(name === 'integral' || name === 'twa' ? !Number.isFinite(value) : Object.is(value, wanted), what);
        else {
          const scale = largest * (name === 'integral' ? seconds : name === 'variance' ? largest : 1) * 100;
          ok(Math.abs(value - wanted) <= 1e-13 * scale + 1e-9 * Math.abs(wanted), what);
        }
      }
}
void equal;
void rejects;
void StoreError;
