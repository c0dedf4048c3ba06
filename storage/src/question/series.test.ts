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
  seriesFields,
} from '@millrace/core';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { StorageConfig } from '../config.ts';
import { openStore } from '../store.ts';
import { batchOf } from '../testing/batches.ts';
import { type ReferenceSeries, referenceSeries, type StoredReading } from './reference.ts';
import { saysTheSame, TIMES } from './reference-text.ts';

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
            const time = TIMES[points % TIMES.length] ?? 's';
            saysTheSame(await questions.seriesText({ ...question, rollups }, { time }), answer, time);
          }
        }),
        { seed: SEED, numRuns: LONG ? 5_000 : 100, endOnFailure: true },
      );
      ok(points > 500, 'the questions are about something');
      deepEqual([...sources].toSorted(), ['readings', 'rollups_1h', 'rollups_1m']);
    },
    LONG ? 1_800_000 : 120_000,
  );

  test('says what it used and why: rollups, with ragged ends too, never where they would be wrong', async () => {
    const used = async (more: Partial<SeriesQuestion>): Promise<string> => {
      const question = ask({ aggregations: ['avg'], interval: { kind: 'fixed', everyMs: 60_000 }, ...more });
      const { source, why } = (await questions.series(question)).used;
      return `${source}: ${why}`;
    };
    const hour = (plainRoom().eraUs / HOUR) * HOUR;
    const exactly = 'the rollups answer it exactly';
    equal(await used({}), `rollups_1m: ${exactly}`);
    equal(await used({ interval: { kind: 'fixed', everyMs: 7_200_000 } }), `rollups_1h: ${exactly}`);
    const days = { kind: 'calendar', unit: 'day', count: 1 } as const;
    const [fromUs, toUs] = [BigInt(hour), BigInt(hour + 3 * HOUR)];
    equal(await used({ interval: days, timeZone: 'Europe/Berlin', fromUs, toUs }), `rollups_1h: ${exactly}`);
    equal(await used({ interval: days, timeZone: 'Asia/Kolkata', fromUs, toUs }), `rollups_1m: ${exactly}`);
    equal(
      await used({ fromUs: fromUs + 1n, toUs }),
      `rollups_1m: ${exactly}, with the ends of the range from the readings`,
    );
    equal(await used({ aggregations: ['count'], channels: ['plain'] }), `rollups_1m: ${exactly}`);
    equal(await used({ rollups: 'raw' }), 'readings: rollups were not wanted');
    equal(await used({ aggregations: ['avg', 'last'] }), 'readings: rollups do not hold last');
    equal(
      await used({ interval: { kind: 'fixed', everyMs: 90_000 } }),
      'readings: the intervals do not begin with whole minutes',
    );
    const mixed =
      rooms.find(({ readings }) => readings.some(({ stringValue }) => stringValue !== undefined))?.channel ?? '';
    equal(
      await used({ aggregations: ['count'], channels: [mixed] }),
      'readings: rollups count numbers, and there are other readings',
    );
    const odd = rooms.find(({ readings }) => readings.some(({ value }) => Number.isNaN(value)))?.channel ?? '';
    equal(await used({ aggregations: ['sum'], channels: [odd] }), 'readings: a rollup holds NaN');
  });

  test('thins to the largest triangles, the first and the last kept', async () => {
    const { readings } = plainRoom();
    const of = readings.filter(({ publisher, unit }) => publisher === 'p0' && unit === 'Cel');
    for (const thin of [2, 3, 17, 200]) {
      const question = ask({ publishers: ['p0'], unit: 'K', across: ['unit'], thin });
      equal((await questions.series(question)).series[0]?.points.length, thin);
      const [series] = (await questions.series(ask({ publishers: ['p0'], thin }))).series;
      deepEqual(
        series?.points.map(({ timeNs, values }) => [timeNs, values[0]]),
        thinned(of, thin).map(({ timeUs, value }) => [`${BigInt(timeUs) * 1_000n}`, value]),
      );
    }
    const [series] = (await questions.series(ask({ publishers: ['p0'], thin: 10_000 }))).series;
    equal(series?.points.length, of.length, 'few enough are left alone');
  });

  test('writes the same as rows, in each format', async () => {
    const rows = async (
      more: Partial<SeriesQuestion>,
      format: 'ndjson' | 'csv' | 'parquet' | 'arrow',
    ): Promise<Buffer> => {
      const parts: Uint8Array[] = [];
      const options = { format, time: 'ns', signal: new AbortController().signal, urgency: 'interactive' } as const;
      for await (const part of questions.seriesRows(ask(more), options)) parts.push(part);
      return Buffer.concat(parts);
    };
    const cut = {
      aggregations: ['avg', 'count', 'p10'] as const,
      interval: { kind: 'fixed', everyMs: 3_600_000 } as const,
    };
    for (const more of [{ limit: 3 }, cut, { ...cut, seriesMax: 2, limit: 1 }, { unit: 'K', limit: 2 }, { thin: 4 }]) {
      const answer = await questions.series(ask(more));
      const expected = answer.series.flatMap(({ points, cut: _, ...labels }) =>
        points.map(({ timeNs, values }) => ({
          ...labels,
          time: timeNs,
          ...Object.fromEntries(answer.columns.map((column, index) => [column, values[index]])),
        })),
      );
      const lines = (await rows(more, 'ndjson')).toString('utf8').trim().split('\n');
      const parsed = lines.map((line) => JSON.parse(line.replace(/"time":"?(-?\d+)"?/, '"time":"$1"')) as object);
      deepEqual(parsed, expected);
      equal((await rows(more, 'csv')).toString('utf8').trim().split('\n').length, expected.length + 1);
    }
    equal((await rows(cut, 'parquet')).subarray(0, 4).toString(), 'PAR1');
    ok((await rows(cut, 'arrow')).length > 100);
    const filled = { ...cut, fill: 'linear' as const };
    const engine = (await rows(cut, 'csv')).toString('utf8').split('\n');
    const own = (await rows(filled, 'csv')).toString('utf8').split('\n');
    deepEqual(own, engine, 'without gaps, filling changes nothing, not even the text');
    await rejects(rows(filled, 'parquet'), { code: 'STORE_QUERY_INVALID' });
    await rejects(rows({ unit: 'm' }, 'ndjson'), { code: 'STORE_QUERY_INVALID' });
  });

  test('takes long lists and hostile texts for what they are', async () => {
    const names = Array.from(
      { length: 10_000 },
      (_, index) => `6f1d9c1e-0000-4000-8000-${String(index).padStart(12, '0')}`,
    );
    equal((await questions.series(ask({ names: [...names, 'n'] }))).series.length, 4);
    for (const text of ["' OR 1=1 --", '\\', "\\'", '{of_org:String}', '\u001f', '\n', '\u0000', '']) {
      equal((await questions.series(ask({ names: [text] }))).series.length, 0);
      equal((await questions.series(ask({ names: [text, 'n'] }))).series.length, 4);
      equal((await questions.series(ask({ subtopics: [text, 'x\u001e'] }))).series.length, text === '' ? 4 : 0);
      if (text !== '') equal((await questions.series(ask({ namePrefix: text }))).series.length, 0);
    }
    equal((await questions.series(ask({ channels: [] }))).series.length, 0);
    equal((await questions.series(ask({ org: 'other' }))).series.length, 0);
  });

  test('refuses what makes no sense, and says what to do', async () => {
    const minute = { kind: 'fixed', everyMs: 60_000 } as const;
    const ms = { kind: 'fixed', everyMs: 1 } as const;
    const far = { fromUs: 0n, toUs: 1_000_000_000_000n };
    const refused: Partial<SeriesQuestion>[] = [
      { interval: minute },
      { fill: 'null' },
      { aggregations: ['avg'], fill: 'null' },
      { aggregations: ['avg'], thin: 10 },
      { thin: 1 },
      { limit: 0 },
      { limit: 0.5 },
      { seriesMax: 0 },
      { aggregations: ['p101'] },
      { aggregations: ['p1)(v), sleep(3' as 'p1'] },
      { aggregations: ['constructor' as 'avg'] },
      { aggregations: ['avg', 'avg'] },
      { aggregations: ['avg'], interval: { kind: 'fixed', everyMs: 0.5 } },
      { aggregations: ['avg'], interval: { kind: 'calendar', count: 0, unit: 'day' } },
      { aggregations: ['avg'], interval: { kind: 'calendar', count: 1, unit: 'day' }, timeZone: 'Nowhere' },
      { aggregations: ['avg'], interval: ms, ...far },
      { unit: 'furlong' },
      { unit: 'm' },
      { aggregations: ['avg'], interval: minute, unit: 'W' },
      { aggregations: ['histogram'], histogram: { bins: 3, min: 2, max: 1 } },
      { value: { comparator: 'eq', operand: Number.NaN } },
      // Points of a thousand bins; and 280,000 buckets of each series.
      { aggregations: ['histogram'], histogram: { bins: 1_000 }, interval: ms },
      { aggregations: ['avg'], fill: 'null', interval: { kind: 'fixed', everyMs: 50 }, limit: 1_000_000 },
    ];
    for (const more of refused)
      await rejects(
        questions.series(ask(more)),
        { code: 'STORE_QUERY_INVALID', retry: 'never' },
        JSON.stringify(more, text),
      );
    await rejects(questions.series(ask({}), { signal: AbortSignal.abort(new Error('gone')) }), { message: 'gone' });
  });
});
const text = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);

/** As Steinarsson has it: in each slice the point that makes the largest triangle with the one chosen before it and the
 *  mean of the slice after it. */
function thinned(readings: readonly StoredReading[], count: number): StoredReading[] {
  const points = readings.toSorted((a, b) => a.timeUs - b.timeUs);
  if (points.length <= count) return points;
  const chosen = [points[0] as StoredReading];
  const width = (points.length - 2) / (count - 2);
  for (let slice = 0; slice < count - 2; slice++) {
    const next = points.slice(Math.floor((slice + 1) * width) + 1, Math.floor((slice + 2) * width) + 1);
    const mean = (of: (reading: StoredReading) => number): number =>
      next.reduce((sum, each) => sum + of(each), 0) / next.length;
    const [x, y] = [mean(({ timeUs }) => timeUs), mean(({ value }) => value as number)];
    const from = chosen.at(-1) as StoredReading;
    let best = -1;
    let at = points[0] as StoredReading;
    for (const each of points.slice(Math.floor(slice * width) + 1, Math.floor((slice + 1) * width) + 1)) {
      const area = Math.abs(
        (from.timeUs - x) * ((each.value as number) - (from.value as number)) -
          (from.timeUs - each.timeUs) * (y - (from.value as number)),
      );
      if (area > best) [best, at] = [area, each];
    }
    chosen.push(at);
  }
  return [...chosen, points.at(-1) as StoredReading];
}

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
          // Many at the same time.
          at: fc.oneof(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 0, max: 8 })),
          jitterUs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 2_000 })),
          publisher: fc.constantFrom('p1', 'p1', 'p2'),
          name: fc.constantFrom('a', 'a', 'a', 'hall/a', 'hall/b'),
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
        unit: rarely(fc.constantFrom('Cel', 'K', 'degF'), 6),
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
const rarely = <T>(value: fc.Arbitrary<T>, weight = 14): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: value });

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
        const name: string = columns[column] ?? '';
        const what: string = `${name} of series ${index}, point ${at}: ${value}, wanted ${wanted}; from ${answer.used.source}`;
        if (typeof value !== 'number' || typeof wanted !== 'number') deepEqual(value, wanted, what);
        else if (!Number.isFinite(wanted))
          ok(name === 'integral' || name === 'twa' ? !Number.isFinite(value) : Object.is(value, wanted), what);
        else {
          const scale = largest * (name === 'integral' ? seconds : name === 'variance' ? largest : 1) * 100;
          ok(Math.abs(value - wanted) <= 1e-13 * scale + 1e-9 * Math.abs(wanted), what);
        }
      }
}
