import { createLogger, createMetrics } from '@millrace/core';
import { afterEach, expect, test } from 'vitest';
import { SessionRecord } from './record.ts';
import { SessionTally } from './tally.ts';
import { MemorySessionStore } from './testing/memory-stores.ts';
import { until } from './testing/stage.ts';
import { WriteBehind } from './write-behind.ts';

const stoppers: (() => void)[] = [];
afterEach(() => {
  for (const stop of stoppers.splice(0)) stop();
});

async function open(rowsMax: number, intervalMs: number) {
  const store = new MemorySessionStore();
  const settled: SessionRecord[] = [];
  const none = (): number => 0;
  const tally = new SessionTally(createMetrics(), {
    connected: none,
    persistent: none,
    subscriptions: none,
    unsaved: none,
    oldestSeconds: none,
  });
  const write = new WriteBehind({
    store,
    logger: createLogger({ level: 'silent' }),
    tally,
    nowMs: Date.now,
    intervalMs,
    rowsMax,
    expiryMs: 1_000,
    unsavedMax: 1_000,
    onSettled: (record) => settled.push(record),
    onBack: () => {},
  });
  stoppers.push(() => write.stop());
  const record = async (clientId: string): Promise<SessionRecord> => {
    const key = { owner: 'o', clientId };
    const { generation } = await store.open(key);
    return new SessionRecord({ key, persistent: true, generation, windowMax: 10, state: null });
  };
  return { store, settled, write, record };
}

test('gathers all that change while one statement runs, and never runs two', async () => {
  const { store, write, record } = await open(1_000, 10_000);
  const records = await Promise.all(Array.from({ length: 300 }, (_, index) => record(`c${index}`)));
  let go = (): void => {};
  store.gate = new Promise((resolve) => {
    go = resolve;
  });
  write.urge(records[0] as SessionRecord);
  await until('the first statement runs', () => store.concurrency === 1);
  const waiting = records.map((each) => each.whenDurable(write.urge(each)));
  go();
  store.gate = null;
  await Promise.all(waiting);
  expect(store.saves).toBe(2);
  expect(store.concurrency).toBe(1);
});

test('lets those that wait go first, and takes the others along once their time has come', async () => {
  const { store, write, record } = await open(8, 30);
  const lazy = await Promise.all(Array.from({ length: 20 }, (_, index) => record(`l${index}`)));
  for (const each of lazy) write.touch(each);
  const urgent = await record('u');
  await urgent.whenDurable(write.urge(urgent));
  expect(store.savedRows).toBe(1);
  // Somebody always waits; the others are written nevertheless, so many at a time.
  let stop = false;
  const busy = (async () => {
    while (!stop) await urgent.whenDurable(write.urge(urgent));
  })();
  await until('all are written', () => lazy.every((each) => each.savedMark === each.mark));
  stop = true;
  await busy;
  expect(write.unsaved).toBe(0);
});

test('writes a change that comes during its own statement once more', async () => {
  const { store, write, record } = await open(100, 10);
  const one = await record('one');
  let go = (): void => {};
  store.gate = new Promise((resolve) => {
    go = resolve;
  });
  const first = one.whenDurable(write.urge(one));
  await until('it runs', () => store.concurrency === 1);
  one.filters.set('t', { qos: 1, from: [] });
  const second = write.touch(one);
  go();
  store.gate = null;
  await first;
  expect(one.savedMark).toBeLessThan(second);
  await one.whenDurable(second);
  expect(store.stateOf(one.key)?.subscriptions).toHaveLength(1);
});

test('keeps trying while the store is away, and loses no change', async () => {
  const { store, write, record, settled } = await open(100, 10);
  const records = await Promise.all(Array.from({ length: 30 }, (_, index) => record(`c${index}`)));
  store.away = true;
  const waiting = records.slice(0, 10).map((each) => each.whenDurable(write.urge(each)));
  for (const each of records.slice(10, 20)) write.touch(each);
  for (const each of records.slice(20)) {
    each.leftMs = Date.now();
    write.leave(each);
  }
  await until('it knows', () => write.away);
  expect(write.unsaved).toBe(30);
  store.away = false;
  await Promise.all(waiting);
  await write.flush(10_000);
  expect(write.unsaved).toBe(0);
  expect(records.every((each) => each.savedMark === each.mark)).toBe(true);
  expect(settled.toSorted()).toEqual(records.slice(20).toSorted());
  expect([...store.rows.values()].filter(({ expiresMs }) => expiresMs !== null)).toHaveLength(10);
});

test('removes before what is kept anew under the same key', async () => {
  const { store, write, record } = await open(100, 10);
  const one = await record('one');
  await one.whenDurable(write.urge(one));
  write.remove(one.key);
  await write.whenRemoved(one.keyText);
  expect(store.rows.size).toBe(0);
  await write.whenRemoved(one.keyText);
});

test('ends the session that can not be written, and writes the others', async () => {
  const { store, write, record, settled } = await open(100, 10);
  const records = await Promise.all(Array.from({ length: 20 }, (_, index) => record(`c${index}`)));
  store.poison = 'c7';
  const waiting = records.map((each) => each.whenDurable(write.urge(each)));
  const results = await Promise.allSettled(waiting);
  expect(results.flatMap(({ status }, index) => (status === 'rejected' ? [index] : []))).toEqual([7]);
  expect(settled).toEqual([records[7]]);
  expect(write.unsaved).toBe(0);
});

test('gives up flushing at the deadline', async () => {
  const { store, write, record } = await open(100, 10);
  const one = await record('one');
  store.away = true;
  write.touch(one);
  await write.flush(50);
  expect(write.unsaved).toBe(1);
});
