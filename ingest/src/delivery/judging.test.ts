import type { Gate, Principal, UserRecord } from '@millrace/core';
import { partitionOf } from '@millrace/core';
import { describe, expect, test } from 'vitest';
import { openStage, TestSubscriber, until } from './testing/stage.ts';

const CHANNEL = 'chan-a';

/** Lets the event loop turn a few times: what was going to happen at once has happened. */
const turns = async (count = 20): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
};

describe('who may read', () => {
  test('is asked when it subscribes', async () => {
    await using stage = openStage();
    const { attachment } = stage.join('one');
    const filter = { channel: 'secret', subtopic: '#' };
    expect(await attachment.subscribe(filter, 't')).toEqual({ kind: 'denied', reason: 'not_allowed' });
    expect(await attachment.subscribe({ ...filter, channel: 'nowhere' }, 't')).toMatchObject({
      reason: 'no_such_channel',
    });
    expect(attachment.positions()).toEqual([]);
  });

  test('is asked by an alias as well, and the channel is told by its id', async () => {
    await using stage = openStage();
    const { subscriber, attachment } = stage.join('one');
    const answer = await attachment.subscribe({ channel: 'room', subtopic: '#' }, 't');
    const id = answer.kind === 'subscribed' ? (answer.subscription.channel as string) : '';
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    stage.publish(id, 'a', 'x');
    await until('it came', () => subscriber.got.length === 1);
  });

  test('is asked for each message: what may not be read is left out in silence', async () => {
    await using stage = openStage();
    const some = stage.join('some');
    const all = stage.join('all');
    stage.gate.unreadable.add(`many-some/${CHANNEL}/private`);
    for (const { attachment } of [some, all]) await attachment.subscribe({ channel: null, subtopic: '#' }, 't');
    for (const subtopic of ['a', 'private', 'b']) stage.publish(CHANNEL, subtopic, subtopic);
    await until('all came', () => all.subscriber.got.length === 3 && some.subscriber.got.length === 2);
    expect(some.subscriber.got).toEqual(['a', 'b']);
    expect(await stage.metrics.registry.metrics()).toMatch(/millrace_delivery_skipped_total\{reason="denied"\} 1/);
  });

  test('a decision that takes time keeps the order, and delays nobody else', async () => {
    await using stage = openStage();
    const cold = stage.join('cold');
    const warm = stage.join('warm');
    for (const { attachment } of [cold, warm]) await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    let resolve = (): void => {};
    const promise = new Promise<void>((settle) => {
      resolve = settle;
    });
    stage.gate.undecided.set('many-cold', () => promise);
    const texts = Array.from({ length: 50 }, (_, index) => `m${index}`);
    for (const text of texts) stage.publish(CHANNEL, '', text);
    await until('the warm one has all', () => warm.subscriber.got.length === 50);
    expect(cold.subscriber.got).toEqual([]);
    resolve();
    await until('the cold one has all', () => cold.subscriber.got.length === 50);
    expect(cold.subscriber.got).toEqual(texts);
  });

  test('nobody loses a place while the registry is away', async () => {
    await using stage = openStage();
    const { subscriber, attachment } = stage.join('one');
    await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    let asked = 0;
    stage.gate.undecided.set('many-one', () => {
      asked++;
      return asked < 4 ? Promise.reject(new Error('the registry is away')) : Promise.resolve();
    });
    for (const text of ['a', 'b', 'c']) stage.publish(CHANNEL, '', text);
    await until('all came', () => subscriber.got.length === 3);
    expect(subscriber.got).toEqual(['a', 'b', 'c']);
    expect(asked).toBeGreaterThanOrEqual(6);
  });

  test('a user gets what it may read of every channel', async () => {
    await using stage = openStage();
    const subject: UserRecord = {
      kind: 'user',
      id: 'many-user',
      email: 'u@example.org',
      enabled: true,
      admin: false,
      epoch: 0,
    };
    const principal: Principal = { subject, scope: null, revoked: false };
    const subscriber = new TestSubscriber(principal);
    stage.gate.unreadable.add('many-user/chan-b');
    const answer = await stage.delivery.attach(subscriber).subscribe({ channel: null, subtopic: '+' }, 't');
    expect(answer).toMatchObject({ kind: 'subscribed', subscription: { channel: null } });
    for (const channel of ['chan-a', 'chan-b', 'chan-c']) stage.publish(channel, 'x', channel);
    await until('two came', () => subscriber.got.length >= 2);
    await turns();
    expect(subscriber.got.toSorted()).toEqual(['chan-a', 'chan-c']);
  });
});

describe('revocation', () => {
  test('ends the subscription to a channel that may no longer be read, unasked, and no other', async () => {
    await using stage = openStage({ limits: { patrolMs: 200 } });
    const { subscriber, attachment } = stage.join('one');
    await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 'a');
    await attachment.subscribe({ channel: 'chan-b', subtopic: '#' }, 'b');
    stage.gate.unreadable.add(`many-one/${CHANNEL}`);
    stage.gate.changed();
    stage.publish(CHANNEL, '', 'too late');
    await until('it is told', () => subscriber.over.length > 0, 20_000);
    expect(subscriber.over).toEqual([['a', 'not_allowed']]);
    stage.publish(CHANNEL, '', 'later');
    stage.publish('chan-b', '', 'still');
    await until('the other goes on', () => subscriber.got.length > 0);
    await turns();
    expect(subscriber.got).toEqual(['still']);
    expect(attachment.positions().length).toBe(1);
  });

  test('a principal that is revoked gets nothing until it is known again, and then misses nothing', async () => {
    await using stage = openStage();
    const { subscriber, attachment } = stage.join('one');
    await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    stage.publish(CHANNEL, '', 'before');
    await until('it came', () => subscriber.got.length === 1);
    stage.gate.revoke('many-one');
    stage.gate.changed();
    const other = stage.join('other');
    await other.attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    for (const text of ['x', 'y']) stage.publish(CHANNEL, '', text);
    await until('the other has them', () => other.subscriber.got.length === 2);
    await turns();
    expect(subscriber.got).toEqual(['before']);
    subscriber.principal = stage.principal('one');
    await until('the rest came', () => subscriber.got.length === 3);
    expect(subscriber.got).toEqual(['before', 'x', 'y']);
    expect(subscriber.over).toEqual([]);
  });

  test('goes by the time that it is, not by when the subscriber last looked at the clock', async () => {
    await using stage = openStage();
    const { subscriber, attachment } = stage.join('one');
    await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    const endMs = subscriber.context.nowMs + 1;
    const may = stage.gate.may.bind(stage.gate);
    Object.assign(stage.gate, {
      may: (...asked: Parameters<Gate['may']>) => {
        const [principal, action, channel, subtopic, { nowMs }] = asked;
        return nowMs > endMs ? { kind: 'deny', reason: 'denied_by_policy' } : may(principal, action, channel, subtopic);
      },
    });
    stage.gate.changed();
    await until('it is told', () => subscriber.over.length === 1);
    expect(subscriber.over).toEqual([['t', 'denied_by_policy']]);
  });

  test('comes to everybody when the policy of all is void at once, also beside one who fails', async () => {
    await using stage = openStage();
    const all = Array.from({ length: 1_000 }, (_, index) => stage.join(`s${index}`));
    for (const { attachment } of all) await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    const [broken, kept, ...rest] = all;
    Object.defineProperty(broken?.subscriber, 'principal', {
      get() {
        throw new Error('broken');
      },
    });
    for (const { subscriber } of rest) stage.gate.unreadable.add(`${subscriber.principal.subject.id}/${CHANNEL}`);
    stage.gate.changed();
    await until('all others are told', () => rest.every(({ subscriber }) => subscriber.over.length === 1));
    expect(kept?.subscriber.over).toEqual([]);
    expect(broken?.attachment.positions()).toEqual([]);
    expect(kept?.attachment.positions().length).toBe(1);
  });

  test('is not decided while the registry is away', async () => {
    await using stage = openStage();
    const { subscriber, attachment } = stage.join('one');
    await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    let asked = 0;
    stage.gate.undecided.set('many-one', () => {
      asked++;
      return Promise.reject(new Error('the registry is away'));
    });
    stage.gate.unreadable.add(`many-one/${CHANNEL}`);
    stage.gate.changed();
    await until('it was tried again', () => asked >= 3);
    expect(subscriber.over).toEqual([]);
    stage.gate.undecided.clear();
    await until('it is told', () => subscriber.over.length === 1);
  });
});

describe('what others write to the log', () => {
  test('is delivered to those who subscribe if its publisher has the right, and passed over if not', async () => {
    await using stage = openStage({ verify: true });
    const { subscriber, attachment } = stage.join('one');
    for (const channel of [CHANNEL, 'chan-2']) await attachment.subscribe({ channel, subtopic: '#' }, 't');
    stage.gate.genuine = false;
    stage.gate.unpublishable.add('many-publisher/chan-2');
    stage.publish('chan-2', '', 'forged');
    stage.publish(CHANNEL, '', 'of a bridge');
    await until('it came', () => subscriber.got.length === 1);
    await until('the other was passed over', () => attachment.positions().every(({ offset }) => offset > 0));
    expect(subscriber.got).toEqual(['of a bridge']);
    expect(await stage.metrics.registry.metrics()).toMatch(/skipped_total\{reason="unadmitted"\} [1-9]/);
    const at = (channel: string) =>
      stage.delivery.at({ partition: partitionOf(Buffer.from(channel), stage.log.partitionCount), offset: 0 });
    expect(await at(CHANNEL)).not.toBeNull();
    expect(await at('chan-2')).toBeNull();
  });

  test('waits, in its place, until the registry can be asked about its publisher', async () => {
    await using stage = openStage({ verify: true });
    const { subscriber, attachment } = stage.join('one');
    await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    stage.gate.genuine = false;
    let asked = 0;
    stage.gate.undecided.set('many-publisher', () => {
      asked++;
      return asked < 3 ? Promise.reject(new Error('the registry is away')) : Promise.resolve();
    });
    for (const text of ['1', '2', '3']) stage.publish(CHANNEL, '', text);
    await until('all came', () => subscriber.got.length === 3);
    expect(subscriber.got).toEqual(['1', '2', '3']);
  });

  test('is nobody’s if its publisher is not known, or the channel is in another organisation', async () => {
    await using stage = openStage({ verify: true });
    const { subscriber, attachment } = stage.join('one');
    await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    stage.gate.genuine = false;
    stage.publish(CHANNEL, '', 'of a stranger', { publisher: 'stranger' });
    stage.publish(CHANNEL, '', 'of another organisation', { org: '01890000-0000-7000-8000-00000000000b' });
    stage.publish(CHANNEL, '', 'ours');
    await until('it came', () => subscriber.got.length >= 1);
    expect(subscriber.got).toEqual(['ours']);
  });

  test('is passed over when it is no envelope', async () => {
    await using stage = openStage({ partitionCount: 1 });
    const { subscriber, attachment } = stage.join('one');
    await attachment.subscribe({ channel: CHANNEL, subtopic: '#' }, 't');
    const nobody = { appended() {}, refused() {} };
    for (const size of [0, 3, 16, 500]) stage.log.append(0, 'x', new Uint8Array(size).fill(0xfe), nobody);
    stage.publish(CHANNEL, '', 'after');
    await until('it came', () => subscriber.got.length === 1);
    expect(subscriber.messages[0]?.offset).toBe(4);
    expect(await stage.metrics.registry.metrics()).toMatch(/skipped_total\{reason="malformed"\} 4/);
    expect(await stage.delivery.at({ partition: 0, offset: 2 })).toBeNull();
  });
});
