import { partitionOf } from '@millrace/core';
import { describe, expect, test } from 'vitest';
import { MemoryLog } from '../testing/memory-log.ts';
import { openStage, recordMaker, type Stage, type TestSubscriber, until } from './testing/stage.ts';

const CHANNEL = 'chan-a';
const texts = (count: number, first = 0): string[] => Array.from({ length: count }, (_, index) => `m${first + index}`);
const fromStart = (partitionCount: number) =>
  Array.from({ length: partitionCount }, (_, partition) => ({ partition, offset: 0 }));

const metric = async ({ metrics }: Stage, name: string): Promise<number> => {
  const found = new RegExp(`^${name}(?:\\{[^}]*\\})? ([0-9.e+-]+)$`, 'm').exec(await metrics.registry.metrics());
  return Number(found?.[1] ?? Number.NaN);
};

describe('returning', () => {
  test('10,000 at once cost one pass over the log, and nothing before they come', { timeout: 120_000 }, async () => {
    const channels = 500;
    const messages = 10_000;
    const log = new MemoryLog(1);
    const encode = recordMaker();
    for (let index = 0; index < messages; index++) {
      const channel = `chan-${index % channels}`;
      log.append(0, channel, encode(channel, 'a', `m${index}`), { appended() {}, refused() {} });
    }
    await using stage = openStage({ log });
    const subscribers: TestSubscriber[] = [];
    const subscribed: Promise<unknown>[] = [];
    for (let index = 0; index < 10_000; index++) {
      const { subscriber, attachment } = stage.join(`s${index}`);
      subscribers.push(subscriber);
      const filter = { channel: `chan-${index % channels}`, subtopic: '#' };
      subscribed.push(attachment.subscribe(filter, 't', [{ partition: 0, offset: 0 }]));
    }
    await Promise.all(subscribed);
    const each = messages / channels;
    await until('each has all', () => subscribers.every(({ got }) => got.length >= each), 100_000);
    for (const [index, { got }] of subscribers.entries()) {
      const first = index % channels;
      expect(got).toEqual(Array.from({ length: each }, (_, at) => `m${first + at * channels}`));
    }
    // One pass; another at most for those who came when it had begun.
    expect(log.peeked.records).toBeLessThanOrEqual(messages * 2);
  });

  test('reads little of a log that holds little for who returns', async () => {
    const busy = 40_000;
    await using stage = openStage({ partitionCount: 1, limits: { indexBlockOffsets: 256 } });
    const witness = stage.join('witness');
    await witness.attachment.subscribe({ channel: 'chan-rare', subtopic: '#' }, 't');
    for (let index = 0; index < busy; index++) {
      if (index === busy / 2) stage.publish('chan-rare', '', 'rare');
      stage.publish(`chan-${index % 50}`, '', 'x');
    }
    stage.publish('chan-rare', '', 'last');
    await until('the follower has seen all', () => witness.subscriber.got.length === 2);
    expect(stage.log.peeked.count).toBe(0);
    const { subscriber, attachment } = stage.join('back');
    await attachment.subscribe({ channel: 'chan-rare', subtopic: '#' }, 't', fromStart(1));
    await until('it has both', () => subscriber.got.length === 2);
    expect(subscriber.got).toEqual(['rare', 'last']);
    expect(stage.log.peeked.records).toBeLessThan(busy / 5);
    expect(await metric(stage, 'millrace_delivery_skipped_blocks_total')).toBeGreaterThan(100);
    expect(await metric(stage, 'millrace_delivery_swept_bytes_total')).toBe(stage.log.peeked.bytes);
  });

  test('does not hold up who is live', async () => {
    const backlog = 50_000;
    const log = new MemoryLog(1);
    const encode = recordMaker();
    for (let index = 0; index < backlog; index++) {
      log.append(0, CHANNEL, encode(CHANNEL, '', `m${index}`), { appended() {}, refused() {} });
    }
    await using stage = openStage({ log });
    const live = stage.join('live');
    await live.attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    const back = stage.join('back');
    await back.attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't', [{ partition: 0, offset: 0 }]);
    let caughtUp = Number.NaN;
    live.subscriber.onOffer = () => {
      caughtUp = back.subscriber.got.length;
    };
    stage.publish(CHANNEL, '', 'now');
    await until('the live one has it', () => live.subscriber.got.length === 1);
    // Long before the other had caught up: a pass gives the event loop back after each few milliseconds.
    expect(caughtUp).toBeLessThan(backlog / 2);
    await until('the other has caught up', () => back.subscriber.got.length === backlog + 1);
    expect(back.subscriber.got).toEqual([...texts(backlog), 'now']);
  });

  test('tells of what is gone, once, and goes on behind it', async () => {
    await using stage = openStage({ partitionCount: 1 });
    const slow = stage.join('slow');
    await slow.attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    slow.subscriber.room = 2;
    for (const text of texts(20)) stage.publish(CHANNEL, '', text);
    await until('it is full', () => slow.subscriber.refusals > 0);
    stage.log.trim(0, 15);
    slow.subscriber.room = 100;
    slow.attachment.resume();
    await until('it has what is left', () => slow.subscriber.got.length === 7);
    expect(slow.subscriber.got).toEqual([...texts(2), ...texts(5, 15)]);
    expect(slow.subscriber.gaps).toEqual([
      [
        { partition: 0, offset: 2 },
        { partition: 0, offset: 15 },
      ],
    ]);
    expect(await metric(stage, 'millrace_delivery_gaps_total')).toBe(1);
  });

  test('tells of a gap also when nothing is left at all', async () => {
    await using stage = openStage({ partitionCount: 1 });
    for (const text of texts(20)) stage.publish(CHANNEL, '', text);
    await until('all is durable', () => stage.log.count === 20);
    const { subscriber, attachment } = stage.join('back');
    await new Promise((resolve) => setImmediate(resolve));
    stage.log.trim(0, 20);
    await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't', [{ partition: 0, offset: 4 }]);
    await until('it is told', () => subscriber.gaps.length === 1);
    expect(subscriber.gaps[0]?.map(({ offset }) => offset)).toEqual([4, 20]);
    stage.publish(CHANNEL, '', 'next');
    await until('it goes on', () => subscriber.got.length === 1);
  });

  test('a position beyond the end is the end', async () => {
    await using stage = openStage({ partitionCount: 1 });
    const { subscriber, attachment } = stage.join('back');
    const answer = await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't', [
      { partition: 0, offset: 1_000_000 },
    ]);
    expect(answer).toMatchObject({ from: [{ partition: 0, offset: 0 }] });
    stage.publish(CHANNEL, '', 'next');
    await until('it came', () => subscriber.got.length === 1);
  });

  test('a filter that begins at the tail gets nothing older while its subscriber catches up', async () => {
    await using stage = openStage({ partitionCount: 1 });
    for (const text of texts(100)) stage.publish(CHANNEL, 'a', text);
    await until('all is durable', () => stage.log.count === 100);
    await new Promise((resolve) => setImmediate(resolve));
    const { subscriber, attachment } = stage.join('back');
    subscriber.room = 10;
    await attachment.subscribe({ channel: CHANNEL, subtopic: 'a' }, 'old', [{ partition: 0, offset: 0 }]);
    await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 'new');
    stage.publish(CHANNEL, 'a', 'm100');
    await until('it is full', () => subscriber.refusals > 0);
    subscriber.room = 1_000;
    attachment.resume();
    await until('all came', () => subscriber.got.length === 101);
    expect(subscriber.got).toEqual(texts(101));
    expect(subscriber.tags.slice(0, 100).every((tags) => tags.join() === 'old')).toBe(true);
    expect(subscriber.tags[100]?.toSorted()).toEqual(['new', 'old']);
  });
});

describe('faults of the log', () => {
  test('cost time, not messages', async () => {
    await using stage = openStage({ partitionCount: 2 });
    const live = stage.join('live');
    const slow = stage.join('slow');
    for (const { attachment } of [live, slow]) await attachment.subscribe({ channel: null, subtopic: '#' }, 't');
    slow.subscriber.room = 1;
    const publishAll = (count: number, first: number): void => {
      for (const text of texts(count, first)) stage.publish(CHANNEL, '', text);
    };
    publishAll(10, 0);
    await until('ten came', () => live.subscriber.got.length === 10);
    stage.log.faults.follow = 'LOG_UNREACHABLE';
    stage.log.faults.peek = 'LOG_UNREACHABLE';
    stage.log.interrupt();
    slow.subscriber.room = 1_000;
    slow.attachment.resume();
    publishAll(10, 10);
    await until('the log was asked in vain', () => stage.log.count === 20);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(live.subscriber.got.length).toBe(10);
    expect(slow.subscriber.got.length).toBe(1);
    delete stage.log.faults.follow;
    delete stage.log.faults.peek;
    await until('all came', () => live.subscriber.got.length === 20 && slow.subscriber.got.length === 20);
    expect(live.subscriber.got).toEqual(texts(20));
    expect(slow.subscriber.got).toEqual(texts(20));
  });

  test('a subscription that can not be placed is refused with the fault', async () => {
    await using stage = openStage();
    const { attachment } = stage.join('one');
    stage.log.faults.extent = 'LOG_UNREACHABLE';
    await expect(attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't')).rejects.toMatchObject({
      code: 'LOG_UNREACHABLE',
    });
    delete stage.log.faults.extent;
    expect(await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't')).toMatchObject({ kind: 'subscribed' });
  });

  test('one record can be had again, as long as it is kept', async () => {
    await using stage = openStage();
    const partition = partitionOf(Buffer.from(CHANNEL), stage.log.partitionCount);
    for (const text of texts(3)) stage.publish(CHANNEL, 'a', text);
    await until('all is durable', () => stage.log.count === 3);
    await new Promise((resolve) => setImmediate(resolve));
    const message = await stage.delivery.at({ partition, offset: 1 });
    expect(message?.payload.toString()).toBe('m1');
    expect(message).toMatchObject({ partition, offset: 1, channel: CHANNEL, subtopic: 'a' });
    stage.log.trim(partition, 2);
    expect(await stage.delivery.at({ partition, offset: 1 })).toBeNull();
    expect(await stage.delivery.at({ partition, offset: 99 })).toBeNull();
    expect(await stage.delivery.at({ partition: 99, offset: 0 })).toBeNull();
  });
});
