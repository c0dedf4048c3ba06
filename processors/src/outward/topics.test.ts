import { createLogger, createMetrics, type Log, LogError, StoreError, type StreamedReading } from '@millrace/core';
import { afterEach, expect, test, vi } from 'vitest';
import { MemoryLog } from '../testing/memory-log.ts';
import { TopicsConfig } from './config.ts';
import { secondsText } from './records.ts';
import { outwardTopics } from './topics.ts';

const config = TopicsConfig.parse({ MILLRACE_READINGS_TOPIC: 'on' });
const reading = (offset: number, index = 0, more: Partial<StreamedReading> = {}): StreamedReading => ({
  org: 'acme',
  channel: 'hall',
  subtopic: '',
  publisher: 'thing',
  protocol: 'http',
  name: 't',
  unit: 'Cel',
  timeNs: '1795305600123456789',
  value: offset,
  receivedUs: '1795305600123456',
  offset,
  index,
  ...more,
});

/** A store that holds two readings a message, and gives so many at a time. */
class Store {
  failures: Error[] = [];
  asked = 0;
  readonly odd = new Map<number, Partial<StreamedReading>>();
  readings = async (query: {
    from: { offset: number; index: number };
    before: number;
  }): Promise<{ rows: StreamedReading[]; next: { offset: number; index: number } }> => {
    this.asked++;
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
    const rows: StreamedReading[] = [];
    for (
      let { offset, index } = query.from;
      offset < query.before;
      [offset, index] = index === 1 ? [offset + 1, 0] : [offset, 1]
    ) {
      if (rows.length === 5) return { rows, next: { offset, index } };
      rows.push(reading(offset, index, this.odd.get(offset)));
    }
    return { rows, next: { offset: query.before, index: 0 } };
  };
  deadLetters = async (): Promise<never> => {
    throw new Error('nobody asks for dead letters');
  };
}

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

async function running(messages: MemoryLog, topic: Log, store: Store, metrics = createMetrics()) {
  const started = await outwardTopics({
    config,
    engine: { name: 'embedded', topic: async () => topic, health: async () => null },
    messages,
    stream: store as never,
    metrics,
    logger: createLogger({ level: 'silent' }),
    pollMs: 5,
  }).start();
  stops.push(() => started.stop());
  return started;
}

type Told = { position: string; readings: { index: number; value: unknown }[] };
async function told(topic: MemoryLog): Promise<Told[]> {
  const all: Told[] = [];
  for (let from = 0; ; from++) {
    const batch = await topic.peek(0, from, { bytesMax: 1 });
    if (batch === null) return all;
    all.push(JSON.parse(Buffer.from(batch.bytes.subarray(4)).toString()));
  }
}
const places = (records: readonly Told[]): string[] =>
  records.flatMap(({ position, readings }) => readings.map(({ index }) => `${position}.${index}`));
const upTo = (count: number): string[] => Array.from({ length: 2 * count }, (_, at) => `0-${at >> 1}.${at % 2}`);

async function published(count: number): Promise<MemoryLog> {
  const messages = new MemoryLog();
  for (let at = 0; at < count; at++) messages.push(new Uint8Array(1));
  await messages.commit({ offset: 0, metadata: '' });
  return messages;
}
const WAIT = { timeout: 20_000 };

test('what the processors have passed comes in order, whole, and no further', async () => {
  const messages = await published(20);
  const topic = new MemoryLog();
  await running(messages, topic, new Store());
  await messages.commit({ offset: 7, metadata: '' });
  await vi.waitFor(async () => expect(places(await told(topic))).toEqual(upTo(7)), WAIT);
  await messages.commit({ offset: 20, metadata: '' });
  await vi.waitFor(async () => expect(places(await told(topic))).toEqual(upTo(20)), WAIT);
  expect(topic.commits.at(-1)?.metadata).toBe('20:0');
});

test('a record says where the message comes from, with all digits of its times', async () => {
  const messages = await published(1);
  const topic = new MemoryLog();
  const store = new Store();
  store.odd.set(0, { value: Number.NaN, sum: 3 });
  await running(messages, topic, store);
  await messages.commit({ offset: 1, metadata: '' });
  await vi.waitFor(async () => expect(await told(topic)).toHaveLength(1), WAIT);
  const batch = await topic.peek(0, 0, { bytesMax: 1 });
  const text = Buffer.from(batch?.bytes.subarray(4) ?? []).toString();
  expect(text).toContain('"time":1795305600.123456789');
  expect(JSON.parse(text)).toMatchObject({
    org: 'acme',
    channel: 'hall',
    received: 1795305600.123456,
    position: '0-0',
    readings: [
      { index: 0, name: 't', unit: 'Cel', value: 'NaN', sum: 3 },
      { index: 1, name: 't' },
    ],
  });
});

test('whoever goes on after a node that was killed repeats the last, and misses nothing', async () => {
  const messages = await published(9);
  const topic = new MemoryLog();
  await messages.commit({ offset: 4, metadata: '' });
  topic.beforeCommit = ({ metadata }) => {
    if (metadata === '4:0') throw new LogError('LOG_FENCED', 'never');
  };
  const first = await running(messages, topic, new Store());
  await vi.waitFor(async () => expect(places(await told(topic)).slice(-1)).toEqual(['0-3.1']), WAIT);
  await first.stop();
  topic.beforeCommit = () => {};
  await messages.commit({ offset: 9, metadata: '' });
  await running(messages, topic, new Store());
  await vi.waitFor(async () => expect(places(await told(topic)).slice(-1)).toEqual(['0-8.1']), WAIT);
  const all = places(await told(topic));
  expect([...new Set(all)]).toEqual(upTo(9));
  expect(all.length).toBeGreaterThan(18);
});

test('a store that does not answer and a topic that is full are waited for', async () => {
  const messages = await published(6);
  const topic = new MemoryLog();
  const store = new Store();
  store.failures = [new StoreError('STORE_UNREACHABLE', 'later'), new StoreError('STORE_QUERY_TOO_EXPENSIVE', 'never')];
  let full = 3;
  vi.spyOn(topic, 'refusalOf').mockImplementation((): null =>
    full-- > 0 ? (new LogError('LOG_FULL', 'later') as never) : null,
  );
  await messages.commit({ offset: 6, metadata: '' });
  await running(messages, topic, store);
  await vi.waitFor(async () => expect(places(await told(topic))).toEqual(upTo(6)), WAIT);
  expect(full).toBeLessThan(0);
});

test('what was refused after all is appended again from there on', async () => {
  const messages = await published(2);
  const topic = new MemoryLog();
  const append = topic.append.bind(topic);
  let refusals = 2;
  vi.spyOn(topic, 'append').mockImplementation((partition, key, record, receipt) => {
    if (refusals-- > 0) receipt.refused(new LogError('LOG_UNREACHABLE', 'later'));
    else append(partition, key, record, receipt);
  });
  await messages.commit({ offset: 2, metadata: '' });
  await running(messages, topic, new Store());
  await vi.waitFor(async () => expect([...new Set(places(await told(topic)))]).toEqual(upTo(2)), WAIT);
});

test('what is larger than the topic takes is left out, and counted', async () => {
  const messages = await published(3);
  const topic = new MemoryLog();
  const store = new Store();
  store.odd.set(1, { stringValue: 'x'.repeat(topic.recordBytesMax) });
  const metrics = createMetrics();
  await messages.commit({ offset: 3, metadata: '' });
  await running(messages, topic, store, metrics);
  await vi.waitFor(async () => expect(places(await told(topic))).toEqual(['0-0.0', '0-0.1', '0-2.0', '0-2.1']), WAIT);
  const text = await metrics.registry.metrics();
  expect(text).toMatch(/millrace_topic_left_out_total\{topic="millrace.readings"\} 2/);
  await vi.waitFor(
    async () => expect(await metrics.registry.metrics()).toMatch(/millrace_topic_lag_messages\{[^}]*\} 0/),
    WAIT,
  );
});

test('while nothing is stored anew the store is asked nothing', async () => {
  const messages = await published(2);
  const topic = new MemoryLog();
  const store = new Store();
  const looks = vi.spyOn(messages, 'committed');
  await running(messages, topic, store);
  await vi.waitFor(() => expect(looks.mock.calls.length).toBeGreaterThan(5), WAIT);
  expect(store.asked).toBe(0);
});

test('a place beyond the log of messages is that of another log', async () => {
  const messages = await published(2);
  const topic = new MemoryLog();
  await topic.commit({ offset: 0, metadata: '5000:0' });
  await messages.commit({ offset: 2, metadata: '' });
  await running(messages, topic, new Store());
  await vi.waitFor(async () => expect(places(await told(topic))).toEqual(upTo(2)), WAIT);
});

test('times are written in full, also before 1970', () => {
  for (const [ns, text] of [
    ['0', '0'],
    ['1', '0.000000001'],
    ['-1500000000', '-1.5'],
    ['1795305600000000000', '1795305600'],
  ] as const)
    expect(secondsText(ns)).toBe(text);
});
