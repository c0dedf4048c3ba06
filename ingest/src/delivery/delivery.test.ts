import { partitionOf } from '@millrace/core';
import { describe, expect, test } from 'vitest';
import { openStage, until } from './testing/stage.ts';

const CHANNEL = 'chan-a';
const texts = (count: number, first = 0): string[] => Array.from({ length: count }, (_, index) => `m${first + index}`);

describe('delivery', () => {
  test('gives each subscriber what is published after it subscribed, once and in order', async () => {
    await using stage = openStage();
    stage.publish(CHANNEL, '', 'before');
    await until('it is durable', () => stage.log.count === 1);
    const { subscriber, attachment } = stage.join('one');
    const subscribed = await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 'all');
    expect(subscribed).toMatchObject({ kind: 'subscribed', from: [{ offset: 1 }] });
    for (const text of texts(500)) stage.publish(CHANNEL, 'a/b', text);
    await until('all came', () => subscriber.got.length >= 500);
    expect(subscriber.got).toEqual(texts(500));
    expect(subscriber.messages[0]).toMatchObject({
      channel: CHANNEL,
      subtopic: 'a/b',
      offset: 1,
      qos: 1,
      retain: false,
    });
    expect(attachment.positions()).toEqual([{ partition: subscriber.messages[0]?.partition, offset: 501 }]);
  });

  test('offers a message once to who matches it by several filters, with all of them', async () => {
    await using stage = openStage();
    const { subscriber, attachment } = stage.join('one');
    for (const subtopic of ['#', 'a/+', 'a/b', 'a/#', 'b', '']) {
      await attachment.subscribe({ channel: CHANNEL, subtopic }, subtopic);
    }
    await attachment.subscribe({ channel: null, subtopic: 'a/b' }, 'any');
    stage.publish(CHANNEL, 'a/b', 'x');
    stage.publish(CHANNEL, '', 'y');
    stage.publish('chan-b', 'a/b', 'z');
    await until('three came', () => subscriber.got.length >= 3);
    const byText = new Map(subscriber.got.map((text, index) => [text, subscriber.tags[index]?.toSorted()]));
    expect(byText.get('x')).toEqual(['#', 'a/#', 'a/+', 'a/b', 'any']);
    expect(byText.get('y')).toEqual(['', '#']);
    expect(byText.get('z')).toEqual(['any']);
    expect(subscriber.got.length).toBe(3);
  });

  test('keeps the place of who has no room, and delays nobody else', async () => {
    await using stage = openStage();
    const slow = stage.join('slow');
    const fast = stage.join('fast');
    for (const { attachment } of [slow, fast]) await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    slow.subscriber.room = 3;
    for (const text of texts(1_000)) stage.publish(CHANNEL, '', text);
    await until('the fast one has all', () => fast.subscriber.got.length >= 1_000);
    expect(slow.subscriber.got).toEqual(texts(3));
    expect(slow.subscriber.refusals).toBe(1);
    expect(slow.attachment.positions()[0]?.offset).toBe(3);
    for (let taken = 3; taken < 1_000; taken += 100) {
      slow.subscriber.room = 100;
      slow.attachment.resume();
      const expected = Math.min(1_000, taken + 100);
      await until('it took as much as it could', () => slow.subscriber.got.length >= expected);
    }
    expect(slow.subscriber.got).toEqual(texts(1_000));
    expect(fast.subscriber.got).toEqual(texts(1_000));
  });

  test('resumes from a position without a gap or a repetition', async () => {
    await using stage = openStage();
    const first = stage.join('one');
    await first.attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    for (const text of texts(10)) stage.publish(CHANNEL, '', text);
    await until('ten came', () => first.subscriber.got.length >= 10);
    const positions = first.attachment.positions();
    first.attachment.detach();
    for (const text of texts(100, 10)) stage.publish(CHANNEL, '', text);
    const again = stage.join('one');
    await again.attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't', positions);
    for (const text of texts(10, 110)) stage.publish(CHANNEL, '', text);
    await until('the rest came', () => again.subscriber.got.length >= 110);
    expect(again.subscriber.got).toEqual(texts(110, 10));
    expect(first.subscriber.got).toEqual(texts(10));
  });

  test('refuses more subscriptions than one subscriber, or the node, may have', async () => {
    await using stage = openStage({ limits: { subscriberSubscriptionsMax: 3, subscriptionsMax: 5 } });
    const one = stage.join('one');
    const other = stage.join('other');
    const kinds = async ({ attachment }: typeof one): Promise<string[]> => {
      const filters = ['a', 'b', 'c', 'd'].map((subtopic) => ({ channel: CHANNEL, subtopic }));
      return Promise.all(filters.map(async (filter) => (await attachment.subscribe(filter, filter.subtopic)).kind));
    };
    expect(await kinds(one)).toEqual(['subscribed', 'subscribed', 'subscribed', 'full']);
    expect(await kinds(other)).toEqual(['subscribed', 'subscribed', 'full', 'full']);
    one.attachment.detach();
    other.attachment.detach();
    const again = stage.join('again');
    expect(await kinds(again)).toEqual(['subscribed', 'subscribed', 'subscribed', 'full']);
    const deep = Array.from({ length: 65 }, () => 'a').join('/');
    const last = stage.join('last');
    expect(await last.attachment.subscribe({ channel: CHANNEL, subtopic: deep }, 't')).toEqual({ kind: 'full' });
  });

  test('hands one message and one payload to all of its subscribers', async () => {
    await using stage = openStage();
    const all = Array.from({ length: 1_000 }, (_, index) => stage.join(`s${index}`));
    for (const { attachment } of all) await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    stage.publish(CHANNEL, 'a', 'x');
    await until('it came to all', () => all.every(({ subscriber }) => subscriber.got.length === 1));
    expect(new Set(all.map(({ subscriber }) => subscriber.messages[0])).size).toBe(1);
    const [message] = all[0]?.subscriber.messages ?? [];
    message?.encoded.set('a', Buffer.from('once'));
    expect(message?.encoded.get('a')?.toString()).toBe('once');
  });

  test('a subscriber may leave, and end a subscription, in the middle of an offer', async () => {
    await using stage = openStage();
    const leaving = stage.join('leaving');
    const ending = stage.join('ending');
    const staying = stage.join('staying');
    const filter = { channel: CHANNEL, subtopic: '#' };
    for (const { attachment } of [leaving, staying]) await attachment.subscribe(filter, 't');
    const ended = await ending.attachment.subscribe(filter, 't');
    leaving.subscriber.onOffer = () => leaving.attachment.detach();
    leaving.subscriber.room = 0;
    ending.subscriber.onOffer = () => {
      if (ended.kind === 'subscribed') ending.attachment.unsubscribe(ended.subscription);
    };
    for (const text of texts(5)) stage.publish(CHANNEL, '', text);
    await until('who stays has all', () => staying.subscriber.got.length === 5);
    expect(leaving.subscriber.refusals).toBe(1);
    expect(ending.subscriber.got).toEqual(['m0']);
    expect(leaving.attachment.positions()).toEqual([]);
    expect(ending.attachment.positions()).toEqual([]);
    expect(await stage.metrics.registry.metrics()).toMatch(/delivery_cursors\{state="behind"\} 0/);
  });

  test('takes a resume that comes in the middle of the refused offer', async () => {
    await using stage = openStage();
    const { subscriber, attachment } = stage.join('one');
    await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    subscriber.room = 0;
    subscriber.onOffer = () => {
      if (subscriber.refusals === 0) attachment.resume();
      else subscriber.room = 1;
    };
    stage.publish(CHANNEL, '', 'x');
    await until('it came', () => subscriber.got.length === 1);
  });

  test('a subscriber that throws is alone in paying for it', async () => {
    await using stage = openStage();
    const broken = stage.join('broken');
    const other = stage.join('other');
    for (const { attachment } of [broken, other]) await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    broken.subscriber.onOffer = () => {
      throw new Error('broken');
    };
    for (const text of texts(3)) stage.publish(CHANNEL, '', text);
    await until('the other has all', () => other.subscriber.got.length === 3);
    expect(await stage.metrics.registry.metrics()).toMatch(/millrace_delivery_faults_total 1/);
  });

  test('stops following what nobody needs, and begins again where the log is then', async () => {
    await using stage = openStage({ partitionCount: 1, limits: { lingerMs: 1 } });
    const first = stage.join('one');
    await first.attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    const [position] = first.attachment.positions();
    first.attachment.detach();
    await until('nobody reads', () => stage.log.readers === 0);
    for (const text of texts(5)) stage.publish(CHANNEL, '', text);
    await until('all is durable', () => stage.log.count === 5);
    await new Promise((resolve) => setImmediate(resolve));
    const tail = stage.join('tail');
    await tail.attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    const back = stage.join('back');
    await back.attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't', position === undefined ? [] : [position]);
    stage.publish(CHANNEL, '', 'm5');
    await until('it came', () => tail.subscriber.got.length === 1 && back.subscriber.got.length === 6);
    expect(tail.subscriber.got).toEqual(['m5']);
    expect(back.subscriber.got).toEqual(texts(6));
  });

  test('draining gives out what is on the log', async () => {
    await using stage = openStage();
    const { subscriber, attachment } = stage.join('one');
    await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    for (const text of texts(2_000)) stage.publish(CHANNEL, '', text);
    await until('all is durable', () => stage.log.count === 2_000);
    await new Promise((resolve) => setImmediate(resolve));
    await stage.delivery.drain(20_000);
    expect(subscriber.got.length).toBe(2_000);
  });

  test('misses nothing of a partition that is needed while following the others begins', async () => {
    await using stage = openStage({ partitionCount: 2, followTogether: true });
    stage.log.tailTurns = 200;
    const one = stage.join('one');
    const other = stage.join('other');
    const channelIn = (partition: number): string =>
      ['chan-a', 'chan-b', 'chan-c', 'chan-d', 'chan-e', 'chan-f'].find(
        (channel) => partitionOf(Buffer.from(channel), 2) === partition,
      ) as string;
    await one.attachment.subscribe({ channel: channelIn(0), subtopic: '#' }, 't');
    await other.attachment.subscribe({ channel: channelIn(1), subtopic: '#' }, 't');
    stage.publish(channelIn(0), '', 'x');
    stage.publish(channelIn(1), '', 'y');
    await until('both came', () => one.subscriber.got.length === 1 && other.subscriber.got.length === 1);
    expect(stage.log.readers).toBe(1);
  });
});
