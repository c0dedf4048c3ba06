import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, createMetrics, readConfig, type SeriesQuestion } from '@millrace/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { StorageConfig } from '../config.ts';
import { openStore, type Store } from '../store.ts';
import { batchOf, type GivenReading } from '../testing/batches.ts';
import { rowsOf } from '../testing/rows.ts';

const T0 = Date.UTC(2026, 10, 21, 12) * 1_000;
const HOUR_US = 3_600_000_000;
let directory = '';
let store: Store;
let stop: () => Promise<void>;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-points-'));
  const options = { directory, metrics: createMetrics(), logger: createLogger({ level: 'silent' }) };
  const started = await openStore(readConfig(StorageConfig, {}), options).start();
  store = started.value;
  stop = () => started.stop();
  const of = (publisher: string, readings: readonly GivenReading[]) => ({ org: 'acme', publisher, readings });
  await store.write(
    'messages',
    batchOf(0, [
      of('two-units', [
        { name: 'n', unit: 'Cel', timeUs: T0, value: 20 },
        { name: 'n', unit: '%RH', timeUs: T0 + HOUR_US, value: 50 },
      ]),
      of('texts', [
        { name: 'n', timeUs: T0, value: 1 },
        { name: 'n', timeUs: T0 + HOUR_US, stringValue: 'open' },
      ]),
      of('"],[1', [{ name: 'n', unit: ',"]]', timeUs: T0, value: 7 }]),
      of(
        'long',
        Array.from({ length: 20_500 }, (_, index) => ({ name: 'n', timeUs: T0 + index, value: index })),
      ),
      of('old', [{ name: 'n', timeUs: Date.UTC(1900, 0, 2) * 1_000, value: 3 }]),
    ]),
    { verify: false },
  );
});
afterAll(async () => {
  await stop?.();
  await rm(directory, { recursive: true, force: true });
});

const ask = (publisher: string, more: Partial<SeriesQuestion> = {}): SeriesQuestion => ({
  org: 'acme',
  channels: ['room'],
  publishers: [publisher],
  names: ['n'],
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

test('a unit that cannot be converted is told, whichever reading has it and however few series are wanted', async () => {
  const hourly = { aggregations: ['avg'], interval: { kind: 'fixed', everyMs: 3_600_000 } } as const;
  for (const rollups of ['auto', 'raw'] as const)
    for (const across of [['unit'], []] as const)
      for (const seriesMax of [1, 100]) {
        const asked = ask('two-units', { ...hourly, unit: 'K', across, seriesMax, rollups });
        const answer = store.questions.seriesText(asked).catch((error: { code: string }) => error.code);
        // Of two series only one is wanted, and that can be converted.
        const isShown = across.length === 0 && seriesMax === 1;
        if (!isShown) expect(await answer).toBe('STORE_QUERY_INVALID');
        else expect(await answer).not.toBe('STORE_UNREACHABLE');
      }
});

test('a quantile of no number is none, and a gap is filled over it', async () => {
  const asked = ask('texts', {
    aggregations: ['count', 'median', 'p95'],
    interval: { kind: 'fixed', everyMs: 3_600_000 },
  });
  const [series] = (await store.questions.series(asked)).series;
  expect(series?.points.map(({ values }) => values)).toEqual([
    [1, 1, 1],
    [1, null, null],
  ]);
  const [filled] = (await store.questions.series({ ...asked, fill: 'previous' })).series;
  expect(filled?.points.at(-1)?.values).toEqual([1, 1, 1]);
});

test('names that look like an answer stay names', async () => {
  for (const more of [{}, { aggregations: ['avg'], publishers: ['"],[1', 'none'] }] as const) {
    const { series } = await store.questions.seriesText(ask('"],[1', more));
    expect(series).toEqual([
      {
        channel: 'room',
        publisher: '"],[1',
        name: 'n',
        subtopic: '',
        unit: ',"]]',
        points: `[${T0 / 1e6},7]`,
        cut: false,
      },
    ]);
  }
});

test('more points than lines are read of are still as many as were asked for', async () => {
  for (const limit of [19_999, 20_000, 20_400, 30_000]) {
    const [series] = (await store.questions.seriesText(ask('long', { limit }))).series;
    const points = JSON.parse(`[${series?.points}]`) as number[][];
    expect([points.length, series?.cut]).toEqual([Math.min(limit, 20_500), limit < 20_500]);
    expect(points.at(-1)?.[1]).toBe(points.length - 1);
  }
});

test('series of one point are as many as were asked for, as lines and as series', async () => {
  const asked = ask('two-units', { aggregations: ['max', 'median'], publishers: ['two-units', 'texts'] });
  const values = [
    ['texts', 1, 1],
    ['two-units', 50, 50],
    ['two-units', 20, 20],
  ];
  for (const seriesMax of [1, 2, 3, 19_999, 20_000]) {
    const { series, cut } = await store.questions.seriesText({ ...asked, seriesMax });
    expect(cut).toBe(seriesMax < 3);
    const told = series.map(({ publisher, points }) => [publisher, ...JSON.parse(String(points)).slice(1)]);
    expect(told).toEqual(values.slice(0, seriesMax));
    expect(series.some(({ cut: isCut }) => isCut)).toBe(false);
  }
});

test('nearly a million points are answered, as long as their text is', async () => {
  await rowsOf(
    directory,
    'millrace',
  )(`INSERT INTO readings (org, channel, publisher, name, time, kind, value)
SELECT 'acme', 'room', 'many', 'n', fromUnixTimestamp64Micro(${T0} + number), 'number', number / 7 FROM numbers(950000)`);
  const [series] = (await store.questions.seriesText(ask('many', { limit: 1_000_000 }), { time: 'ns' })).series;
  const text = String(series?.points);
  expect(text.length).toBeGreaterThan(32 * 1024 * 1024);
  expect(text.split('],[')).toHaveLength(950_000);
});

test('a bucket that begins before 1900 is told in all forms', async () => {
  const everyMs = 30 * 86_400_000;
  const asked = ask('old', { aggregations: ['avg'], interval: { kind: 'fixed', everyMs } });
  const start = Math.floor(Date.UTC(1900, 0, 2) / everyMs) * everyMs;
  expect(new Date(start).getUTCFullYear()).toBe(1899);
  for (const time of ['s', 'ms', 'us'] as const) {
    const [series] = (await store.questions.seriesText(asked, { time })).series;
    const unit = { s: 1_000, ms: 1, us: 0.001 }[time];
    expect(series?.points).toBe(`[${start / unit},3]`);
  }
  const [series] = (await store.questions.seriesText(asked, { time: 'rfc3339' })).series;
  expect(series?.points).toEqual([{ timeNs: `${BigInt(start) * 1_000_000n}`, values: [3] }]);
});
