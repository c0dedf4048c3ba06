import {
  appendOne,
  type Consumer,
  type Log,
  type LogBatch,
  type LogEngine,
  LogError,
  type PartitionLease,
  type TopicOptions,
} from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

/** An engine under test. `reopen` stops it, as a restart would, and gives it back with the same contents. */
export interface OpenLog {
  readonly engine: LogEngine;
  reopen?(): Promise<LogEngine>;
  close(): Promise<void>;
}

const READ = { bytesMax: 1024 * 1024, waitMsMax: 15_000 };
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const record = (text: string): Uint8Array => encoder.encode(text);

/** The records of a batch as text, checked against its own head. */
export function texts(batch: LogBatch): string[] {
  expect(batch.bytes.byteOffset).toBe(0);
  expect(batch.bytes.byteLength).toBe(batch.bytes.buffer.byteLength);
  const view = new DataView(batch.bytes.buffer);
  const found: string[] = [];
  for (let at = 0; at < view.byteLength; ) {
    const size = view.getUint32(at, true);
    found.push(decoder.decode(batch.bytes.subarray(at + 4, at + 4 + size)));
    at += 4 + size;
  }
  expect(found.length).toBe(batch.count);
  if (batch.offsets === null) {
    expect(batch.last - batch.first + 1).toBe(batch.count);
  } else {
    expect(batch.offsets.length).toBe(batch.count);
    expect(batch.offsets[0]).toBe(batch.first);
    expect(batch.offsets[batch.count - 1]).toBe(batch.last);
  }
  return found;
}

/** Joins a group and gives each lease to a function, as a queue of leases and a way out. */
async function join(
  log: Log,
  group: string,
): Promise<{ lease: (partition: number) => Promise<PartitionLease>; consumer: Consumer; live: Set<number> }> {
  const leases = new Map<number, PartitionLease>();
  const waiting = new Map<number, ((lease: PartitionLease) => void)[]>();
  const live = new Set<number>();
  const consumer = await log.consume(group, async (lease) => {
    leases.set(lease.partition, lease);
    live.add(lease.partition);
    for (const resolve of waiting.get(lease.partition) ?? []) resolve(lease);
    waiting.delete(lease.partition);
    if (!lease.signal.aborted) {
      await new Promise((resolve) => lease.signal.addEventListener('abort', resolve, { once: true }));
    }
    live.delete(lease.partition);
    if (leases.get(lease.partition) === lease) leases.delete(lease.partition);
  });
  return {
    consumer,
    live,
    lease: (partition) => {
      const lease = leases.get(partition);
      if (lease !== undefined) return Promise.resolve(lease);
      return new Promise((resolve) => {
        waiting.set(partition, [...(waiting.get(partition) ?? []), resolve]);
      });
    },
  };
}

/** Reads until `count` records came. */
async function readAll(
  lease: PartitionLease,
  from: number,
  count: number,
  bytesMax = READ.bytesMax,
): Promise<string[]> {
  const found: string[] = [];
  let next = from;
  while (found.length < count) {
    const batch = await lease.read(next, { bytesMax, waitMsMax: READ.waitMsMax });
    if (batch === null) break;
    found.push(...texts(batch));
    next = batch.last + 1;
  }
  return found;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** What every engine of the log must do.
 *  @holds the engine is opened once for the whole suite; each test has topics of its own */
export function describeLog(name: string, open: () => Promise<OpenLog>): void {
  describe(`the log: ${name}`, () => {
    let opened: OpenLog;
    let engine: LogEngine;
    let serial = 0;
    const topicOptions = (partitionCount = 2): TopicOptions => ({
      topic: `millrace.test-${process.pid}-${Date.now()}-${++serial}`,
      partitionCount,
      retentionMs: 3_600_000,
      retentionBytes: 1024 * 1024 * 1024,
    });
    beforeAll(async () => {
      opened = await open();
      engine = opened.engine;
    });
    afterAll(async () => {
      await opened?.close();
    });

    test('keeps the order of a partition, and gives offsets without gaps from 0', async () => {
      const log = await engine.topic(topicOptions());
      const told: number[] = [];
      await Promise.all(
        Array.from({ length: 500 }, async (_, index) => {
          const { partition, offset } = await appendOne(log, 1, 'key', record(`r${index}`));
          expect(partition).toBe(1);
          told.push(offset);
        }),
      );
      expect(told).toEqual(Array.from({ length: 500 }, (_, index) => index));
      const { lease, consumer } = await join(log, 'readers');
      expect(await readAll(await lease(1), 0, 500)).toEqual(Array.from({ length: 500 }, (_, index) => `r${index}`));
      await consumer.stop();
    });

    test('copies the record before append returns, so that the caller may use its buffer again', async () => {
      const log = await engine.topic(topicOptions(1));
      const buffer = record('first');
      const first = appendOne(log, 0, '', buffer);
      buffer.fill(0x7a);
      const second = appendOne(log, 0, '', buffer);
      await Promise.all([first, second]);
      const batch = await log.peek(0, 0, { bytesMax: READ.bytesMax });
      expect(batch && texts(batch)).toEqual(['first', 'zzzzz']);
    });

    test('has nothing pending once everything is acknowledged', async () => {
      const log = await engine.topic(topicOptions(1));
      const done = appendOne(log, 0, '', new Uint8Array(10_000));
      expect(log.pendingBytes).toBeGreaterThanOrEqual(10_000);
      await done;
      expect(log.pendingBytes).toBe(0);
    });

    test('gives empty and large records back byte for byte', async () => {
      const log = await engine.topic(topicOptions(1));
      const large = Uint8Array.from({ length: 700_000 }, (_, index) => index % 251);
      await Promise.all([
        appendOne(log, 0, '', new Uint8Array(0)),
        appendOne(log, 0, '', large),
        appendOne(log, 0, '', record('after')),
      ]);
      const batch = await log.peek(0, 0, { bytesMax: 4 * 1024 * 1024 });
      expect(batch?.count).toBe(3);
      const bytes = batch?.bytes ?? new Uint8Array(0);
      expect(new DataView(bytes.buffer).getUint32(0, true)).toBe(0);
      expect(new DataView(bytes.buffer).getUint32(4, true)).toBe(large.length);
      expect(Buffer.compare(bytes.subarray(8, 8 + large.length), large)).toBe(0);
    });

    test('says beforehand whether there is room for all of a batch', async () => {
      const log = await engine.topic(topicOptions(1));
      expect(log.refusalOf(1_000)).toBeNull();
      expect(log.refusalOf(2 ** 50)).toMatchObject({ code: 'LOG_FULL', retry: 'later' });
    });

    test('refuses a record that is too large, and takes the next', async () => {
      const log = await engine.topic(topicOptions(1));
      const refused = await appendOne(log, 0, '', new Uint8Array(log.recordBytesMax + 1)).catch(
        (error: unknown) => error,
      );
      expect(refused).toBeInstanceOf(LogError);
      expect((refused as LogError).code).toBe('LOG_RECORD_TOO_LARGE');
      expect((await appendOne(log, 0, '', record('small'))).offset).toBe(0);
    });

    test('refuses a partition that does not exist', async () => {
      const log = await engine.topic(topicOptions(1));
      await expect(appendOne(log, 7, '', record('lost'))).rejects.toBeInstanceOf(LogError);
    });

    test('cuts batches by bytes, but gives one record at least', async () => {
      const log = await engine.topic(topicOptions(1));
      await Promise.all(
        Array.from({ length: 10 }, (_, index) => appendOne(log, 0, '', record(`${index}`.repeat(100)))),
      );
      const { lease, consumer } = await join(log, 'readers');
      const held = await lease(0);
      const three = await held.read(0, { ...READ, bytesMax: 3 * 104 + 50 });
      expect(three?.count).toBe(3);
      const one = await held.read(3, { ...READ, bytesMax: 1 });
      expect([one?.first, one?.last, one?.count]).toEqual([3, 3, 1]);
      const rest = await held.read(4, READ);
      expect([rest?.first, rest?.last]).toEqual([4, 9]);
      await consumer.stop();
    });

    test('never reads beyond `last`, so that a batch can be redone with the very same range', async () => {
      const log = await engine.topic(topicOptions(1));
      await Promise.all(Array.from({ length: 10 }, (_, index) => appendOne(log, 0, '', record(`r${index}`))));
      const { lease, consumer } = await join(log, 'readers');
      const held = await lease(0);
      const again = await held.read(2, { ...READ, last: 5 });
      expect(again && texts(again)).toEqual(['r2', 'r3', 'r4', 'r5']);
      expect(await held.read(6, { ...READ, last: 5, waitMsMax: 50 })).toBeNull();
      const back = await held.read(0, { ...READ, last: 0 });
      expect(back && texts(back)).toEqual(['r0']);
      await consumer.stop();
    });

    test('wakes a waiting read as soon as something comes, and gives null when nothing does', async () => {
      const log = await engine.topic(topicOptions(1));
      const { lease, consumer } = await join(log, 'readers');
      const held = await lease(0);
      expect(await held.read(0, { ...READ, waitMsMax: 30 })).toBeNull();
      const waiting = held.read(0, READ);
      await appendOne(log, 0, '', record('news'));
      const batch = await waiting;
      expect(batch && texts(batch)).toEqual(['news']);
      const giving = new AbortController();
      const aborted = held.read(1, { ...READ, signal: giving.signal });
      giving.abort();
      expect(await aborted).toBeNull();
      await consumer.stop();
    });

    test('batches own their buffer: two reads of the same records share nothing', async () => {
      const log = await engine.topic(topicOptions(1));
      await appendOne(log, 0, '', record('mine'));
      const first = await log.peek(0, 0, { bytesMax: 100 });
      const second = await log.peek(0, 0, { bytesMax: 100 });
      first?.bytes.fill(0);
      structuredClone(first?.bytes, { transfer: first === null ? [] : [first.bytes.buffer] });
      expect(second && texts(second)).toEqual(['mine']);
    });

    test('a group goes on where it committed, with the metadata, also after the engine was reopened', async () => {
      const options = topicOptions(2);
      let log = await engine.topic(options);
      await Promise.all(Array.from({ length: 6 }, (_, index) => appendOne(log, 0, '', record(`r${index}`))));
      expect(await log.committed('g', 0)).toEqual({ offset: -1, metadata: '' });
      const one = await join(log, 'g');
      const held = await one.lease(0);
      expect(held.committed).toEqual({ offset: 0, metadata: '' });
      await held.commit(0, 'intent:0-3 é');
      await held.commit(4, 'intent:4-5');
      await one.consumer.stop();
      expect(await log.committed('g', 0)).toEqual({ offset: 4, metadata: 'intent:4-5' });
      if (opened.reopen !== undefined) {
        engine = await opened.reopen();
        log = await engine.topic(options);
      }
      const two = await join(log, 'g');
      const again = await two.lease(0);
      expect(again.committed).toEqual({ offset: 4, metadata: 'intent:4-5' });
      const batch = await again.read(4, READ);
      expect(batch && texts(batch)).toEqual(['r4', 'r5']);
      expect(await log.extent(0)).toEqual({ earliest: 0, next: 6 });
      expect((await appendOne(log, 0, '', record('r6'))).offset).toBe(6);
      await two.consumer.stop();
    });

    test('fences a lease that is over', async () => {
      const log = await engine.topic(topicOptions(1));
      await appendOne(log, 0, '', record('r0'));
      const { lease, consumer, live } = await join(log, 'g');
      const held = await lease(0);
      await consumer.stop();
      expect(live.size).toBe(0);
      expect(held.signal.aborted).toBe(true);
      await expect(held.commit(1, '')).rejects.toMatchObject({ code: 'LOG_FENCED' });
      await expect(held.read(0, { ...READ, waitMsMax: 0 })).rejects.toMatchObject({ code: 'LOG_FENCED' });
      expect((await log.committed('g', 0)).offset).toBe(-1);
    });

    test('two members of a group share the partitions, and the one that stays gets all of them', async () => {
      const log = await engine.topic(topicOptions(2));
      const one = await join(log, 'g');
      await Promise.all([one.lease(0), one.lease(1)]);
      const two = await join(log, 'g');
      await until(() => one.live.size === 1 && two.live.size === 1);
      expect(new Set([...one.live, ...two.live])).toEqual(new Set([0, 1]));
      await one.consumer.stop();
      await until(() => two.live.size === 2);
      await two.consumer.stop();
    });

    test('groups do not see each other', async () => {
      const log = await engine.topic(topicOptions(1));
      await appendOne(log, 0, '', record('r0'));
      const [one, two] = await Promise.all([join(log, 'g1'), join(log, 'g2')]);
      await (await one.lease(0)).commit(1, 'done');
      expect((await two.lease(0)).committed).toEqual({ offset: 0, metadata: '' });
      await Promise.all([one.consumer.stop(), two.consumer.stop()]);
    });

    test('a follower of the tail sees what comes after it began, in order, and from offsets what was there', async () => {
      const log = await engine.topic(topicOptions(2));
      await appendOne(log, 0, '', record('old'));
      const ending = new AbortController();
      const seen: string[] = [];
      const options = { bytesMax: READ.bytesMax, signal: ending.signal };
      const tail = (async () => {
        for await (const batch of log.follow([0, 1], 'tail', options)) seen.push(...texts(batch));
      })();
      const replayed: string[] = [];
      const replay = (async () => {
        for await (const batch of log.follow([0], new Map([[0, 0]]), options)) replayed.push(...texts(batch));
      })();
      // A tail in another process or on a broker is found some time after the call.
      for (let index = 0; seen.length === 0; index++) {
        await appendOne(log, 0, '', record(`n${index}`));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await appendOne(log, 1, '', record('other'));
      await appendOne(log, 0, '', record('end'));
      await until(() => seen.includes('end') && seen.includes('other') && replayed.includes('end'));
      ending.abort();
      await Promise.all([tail, replay]);
      expect(seen).not.toContain('old');
      const numbers = seen.filter((text) => text.startsWith('n')).map((text) => Number(text.slice(1)));
      expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index));
      expect(replayed.slice(0, 2)).toEqual(['old', 'n0']);
    });

    test('peeks at any offset without a group, and sees null beyond the tail', async () => {
      const log = await engine.topic(topicOptions(1));
      expect(await log.peek(0, 0, { bytesMax: 10 })).toBeNull();
      expect(await log.extent(0)).toEqual({ earliest: 0, next: 0 });
      await Promise.all(['a', 'b', 'c'].map((text) => appendOne(log, 0, '', record(text))));
      const batch = await log.peek(0, 1, { bytesMax: 5 });
      expect(batch && texts(batch)).toEqual(['b']);
      expect(await log.peek(0, 3, { bytesMax: 10 })).toBeNull();
      expect(await log.extent(0)).toEqual({ earliest: 0, next: 3 });
    });

    test('the partition count of a topic is fixed when it is created', async () => {
      const options = topicOptions(2);
      const log = await engine.topic(options);
      expect(log.partitionCount).toBe(2);
      expect((await engine.topic({ ...options, partitionCount: 5 })).partitionCount).toBe(2);
    });

    test('is healthy', async () => {
      expect(await engine.health()).toBeNull();
    });
  });
}
