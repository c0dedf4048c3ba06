import {
  type Arrivals,
  createLogger,
  createMetrics,
  type Log,
  partitionOf,
  type Questions,
  type SeriesAnswer,
  type SeriesQuestion,
  type StoredReading,
  StoreError,
} from '@millrace/core';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { LiveQuestions } from './live-questions.ts';
import { parsePlaces, placesText } from './places.ts';
import { type LiveAsked, type LiveEvent, LiveQuestion } from './question.ts';

const WAIT = { timeout: 20_000, interval: 5 };
const PARTITIONS = 4;
const partitionOfChannel = (channel: string): number => partitionOf(new TextEncoder().encode(channel), PARTITIONS);

/** What is stored, and a log whose processors stand at its end. */
class Stored {
  readonly readings = new Map<number, StoredReading[]>();
  readonly ends = new Map<number, number>();
  asked = 0;
  failing: Error | null = null;

  /** One message. */
  add(channel: string, values: readonly number[], text = ''): void {
    const partition = partitionOfChannel(channel);
    const offset = this.ends.get(partition) ?? 0;
    const all = this.readings.get(partition) ?? [];
    for (const [index, value] of values.entries())
      all.push({
        channel,
        subtopic: '',
        publisher: 'p',
        protocol: 'mqtt',
        name: `t${text}`,
        unit: '',
        timeNs: String(value * 1e9),
        value,
        offset,
        index,
      });
    this.readings.set(partition, all);
    this.ends.set(partition, offset + 1);
  }

  readonly arrivals: Arrivals = {
    since: async ({ channels, partition, from, before, limit }) => {
      this.asked++;
      await new Promise((resolve) => setImmediate(resolve));
      if (this.failing !== null) throw this.failing;
      const found = (this.readings.get(partition) ?? []).filter(
        ({ channel, offset, index }) =>
          offset < before &&
          (offset > from.offset || (offset === from.offset && index >= from.index)) &&
          channels?.includes(channel) !== false,
      );
      const readings = found.slice(0, Math.min(limit, 50));
      const last = readings.at(-1);
      const isWhole = last === undefined || found.length === readings.length;
      return {
        readings,
        next: isWhole ? { offset: before, index: 0 } : { offset: last.offset, index: last.index + 1 },
      };
    },
  };

  readonly log = {
    partitionCount: PARTITIONS,
    committed: async (_group: string, partition: number) => ({ offset: this.ends.get(partition) ?? -1, metadata: '' }),
  } as unknown as Log;
}

const open: LiveQuestion[] = [];
afterEach(() => {
  for (const question of open.splice(0)) question.end('client');
});

function liveOf(stored: Stored, more: Partial<LiveQuestions['options']> = {}): LiveQuestions {
  return new LiveQuestions({
    arrivals: stored.arrivals,
    questions: {} as Questions,
    log: stored.log,
    group: 'processors',
    questionsMax: 10,
    perSubjectMax: 3,
    pollMs: 5,
    heartbeatMs: 60_000,
    metrics: createMetrics(),
    logger: createLogger({ level: 'silent' }),
    ...more,
  });
}

async function opened(live: LiveQuestions, channels: readonly string[], more: Partial<LiveAsked> = {}) {
  const selection = { org: 'acme', channels };
  const question = new LiveQuestion(
    live,
    { org: 'acme', selection, series: null, time: 's', resume: null, ...more },
    () => {},
  );
  open.push(question);
  await question.open();
  return question;
}

/** Reads until so many readings have come. */
async function valuesOf(question: LiveQuestion, count: number) {
  const values: number[] = [];
  let position = '';
  while (values.length < count) {
    const event = await question.next();
    if (event === null) throw new Error('it has ended');
    position = event.position === '' ? position : event.position;
    const { readings = [] } = JSON.parse(`{${event.text}}`) as { readings?: { value: number }[] };
    values.push(...readings.map(({ value }) => value));
  }
  return { values, position };
}

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index);

describe('a question that stays open', () => {
  test('gives all that is stored from then on, once and in order, however it comes', async () => {
    const stored = new Stored();
    stored.add('a', [1, 2]);
    const question = await opened(liveOf(stored), ['a', 'b', 'c', 'd', 'e']);
    for (let round = 0; round < 20; round++) {
      for (const channel of ['a', 'b', 'c', 'd', 'e']) stored.add(channel, numbers(round * 3, round * 3 + 3));
      if (round % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 4));
    }
    const { values } = await valuesOf(question, 300);
    expect(values.toSorted((a, b) => a - b)).toEqual(numbers(0, 60).flatMap((n) => [n, n, n, n, n]));
  });

  test('goes on after any position, also in the middle of a message', async () => {
    const stored = new Stored();
    const live = liveOf(stored);
    const first = await opened(live, ['a']);
    stored.add('a', numbers(0, 120));
    stored.add('a', numbers(120, 130));
    // A page has 50: the position is in the message.
    const { values, position } = await valuesOf(first, 50);
    expect(position).toMatch(/^\d+-0-50$/);
    const second = await opened(live, ['a'], { resume: parsePlaces(position) });
    expect([...values, ...(await valuesOf(second, 80)).values]).toEqual(numbers(0, 130));
  });

  test('asks the store nothing where nothing comes, and once for all who ask', async () => {
    const stored = new Stored();
    const live = liveOf(stored);
    const questions = await Promise.all([1, 2, 3, 4, 5].map(() => opened(live, ['a'])));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(stored.asked).toBe(0);
    stored.add('a', [7]);
    for (const question of questions) expect((await valuesOf(question, 1)).values).toEqual([7]);
    expect(stored.asked).toBe(1);
  });

  test('holds a bounded amount for a client that takes nothing, delays nobody, and catches up', async () => {
    const stored = new Stored();
    const live = liveOf(stored);
    const slow = await opened(live, ['a']);
    const quick = await opened(live, ['a']);
    const text = 'x'.repeat(10_000);
    for (let round = 0; round < 500; round++) stored.add('a', [round], text);
    expect((await valuesOf(quick, 500)).values).toEqual(numbers(0, 500));
    await vi.waitFor(() => expect(slow.behind).toBe(true), WAIT);
    // 5 MB were stored; what waits is a megabyte and the page that filled it.
    expect(slow.waiting).toBeGreaterThan(1e6);
    expect(slow.waiting).toBeLessThan(1e6 + 50 * 10_300);
    expect((await valuesOf(slow, 500)).values).toEqual(numbers(0, 500));
    await vi.waitFor(() => expect(slow.behind).toBe(false), WAIT);
  });

  test('goes on when the store is back', async () => {
    const stored = new Stored();
    const question = await opened(liveOf(stored), ['a']);
    stored.failing = new StoreError('STORE_UNREACHABLE', 'later');
    stored.add('a', [1]);
    await vi.waitFor(() => expect(stored.asked).toBeGreaterThan(2), WAIT);
    stored.failing = null;
    expect((await valuesOf(question, 1)).values).toEqual([1]);
  });

  test('is still there in silence, and tells where', async () => {
    const question = await opened(liveOf(new Stored(), { heartbeatMs: 10 }), ['a']);
    expect((await question.next())?.type).toBe('subscribed');
    expect(await question.next()).toEqual({ type: 'heartbeat', position: `${partitionOfChannel('a')}-0`, text: '' });
  });

  test('gives nothing of what waits to who may not read any more', async () => {
    const stored = new Stored();
    const question = await opened(liveOf(stored), ['a']);
    stored.add('a', [1]);
    await vi.waitFor(() => expect(stored.asked).toBe(1), WAIT);
    await new Promise((resolve) => setTimeout(resolve, 10));
    question.end('revoked');
    const rest: (LiveEvent | null)[] = [await question.next(), await question.next()];
    expect(rest).toEqual([{ type: 'ended', position: '', text: '"reason":"revoked"' }, null]);
  });

  test('has a place of a bounded number, and of its subject’s', () => {
    const live = liveOf(new Stored(), { questionsMax: 4 });
    const leaves = [live.enter('a'), live.enter('a'), live.enter('a')];
    expect(() => live.enter('a')).toThrow('You have 3 live questions open');
    live.enter('b');
    expect(() => live.enter('c')).toThrow('Too many live questions');
    leaves[0]?.();
    leaves[0]?.();
    live.enter('a');
    expect(() => live.enter('c')).toThrow('Too many live questions');
    live.drain();
    expect(() => live.enter('d')).toThrow('going down');
  });
});

describe('buckets of a question that stays open', () => {
  const series: SeriesQuestion = {
    org: 'acme',
    channels: ['a'],
    aggregations: ['sum'],
    interval: { kind: 'fixed', everyMs: 1_000 },
    timeZone: 'UTC',
    fill: 'none',
    across: [],
    direction: 'asc',
    limit: 100,
    seriesMax: 100,
    rollups: 'auto',
  };
  /** As the planner answers, of what is stored now. */
  const planner = (stored: Stored, gate: () => Promise<void> = async () => {}): Questions =>
    ({
      async series({ fromUs = 0n, toUs = 0n }: SeriesQuestion): Promise<SeriesAnswer> {
        await gate();
        const sums = new Map<string, number>();
        for (const { timeNs, value = 0 } of stored.readings.get(partitionOfChannel('a')) ?? []) {
          if (BigInt(timeNs) < fromUs * 1_000n || BigInt(timeNs) >= toUs * 1_000n) continue;
          sums.set(timeNs, (sums.get(timeNs) ?? 0) + value);
        }
        const points = [...sums].map(([timeNs, sum]) => ({ timeNs, values: [sum] }));
        return {
          columns: ['sum'],
          series: points.length === 0 ? [] : [{ name: 't', points, cut: false }],
          cut: false,
          used: { source: 'readings', why: '' },
        };
      },
    }) as unknown as Questions;

  const next = async (question: LiveQuestion): Promise<[object, string]> => {
    for (;;) {
      const event = await question.next();
      if (event === null) throw new Error('it has ended');
      if (event.type === 'bucket') return [JSON.parse(`{${event.text}}`) as object, event.position];
    }
  };

  test('are told when they have ended, and again only when they changed', async () => {
    const stored = new Stored();
    const question = await opened(liveOf(stored, { questions: planner(stored) }), ['a'], { series });
    stored.add('a', [5, 5, 6]);
    expect([(await next(question))[0], (await next(question))[0]]).toEqual([
      { name: 't', time: 5, values: { sum: 10 }, revision: 0 },
      { name: 't', time: 6, values: { sum: 6 }, revision: 0 },
    ]);
    stored.add('a', [5]);
    expect((await next(question))[0]).toEqual({ name: 't', time: 5, values: { sum: 15 }, revision: 1 });
  });

  test('that were not told yet are read again by who comes back', async () => {
    const stored = new Stored();
    let pass = (): void => {};
    const held = new Promise<void>((resolve) => {
      pass = resolve;
    });
    let asked = 0;
    const gate = async (): Promise<void> => {
      asked++;
      await held;
    };
    const live = liveOf(stored, { questions: planner(stored, gate), heartbeatMs: 10 });
    const first = await opened(live, ['a'], { series });
    stored.add('a', [5]);
    await vi.waitFor(() => expect(asked).toBe(1), WAIT);
    // While the bucket is asked for, and after: its reading is not passed yet.
    let event = await first.next();
    while (event?.type !== 'heartbeat') event = await first.next();
    expect(event.position).toBe(`${partitionOfChannel('a')}-0`);
    pass();
    const second = await opened(live, ['a'], { series, resume: parsePlaces(event.position) });
    expect((await next(second))[0]).toMatchObject({ time: 5, revision: 0 });
    expect((await next(first))[1]).toBe(`${partitionOfChannel('a')}-1`);
  });
});

test('positions are read as they are written, and nothing else is', () => {
  const places = new Map([
    [3, { offset: 17, index: 0 }],
    [11, { offset: 0, index: 4 }],
  ]);
  expect(parsePlaces(placesText(places))).toEqual(places);
  for (const text of ['', 'x', '1', '1-', '1-2.', '1-2.1-3', '1-2-3-4', '-1-2', '1--2', '1-9999999999999999'])
    expect(parsePlaces(text)).toBeNull();
});
