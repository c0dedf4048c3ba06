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
});
