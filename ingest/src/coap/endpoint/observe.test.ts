import { expect, test } from 'vitest';
import type { CoapObserver, CoapResponse } from '../contract.ts';
import { Code, codeText, Method, Option, Type } from '../message/message.ts';
import type { EndpointOptions } from './options.ts';
import { block, Stage, settle, textOf, uintOf } from './testing/stage.ts';

const HOUR_MS = 3_600_000;
const told = (text: string | Buffer): CoapResponse => ({ code: Code.Content, payload: Buffer.from(text) });

function observed(options: Partial<EndpointOptions> = {}) {
  const observers: CoapObserver[] = [];
  const ends: string[] = [];
  let rooms = 0;
  const stage = new Stage(
    () => ({
      ...told('now'),
      onObserve: (observer) => {
        observers.push(observer);
        observer.onEnd = (why) => ends.push(why);
        observer.onRoom = () => rooms++;
      },
    }),
    options,
  );
  const device = stage.device();
  return { stage, device, observers, ends, rooms: () => rooms, [Symbol.dispose]: () => stage[Symbol.dispose]() };
}

test('who asks to observe is answered, then told what is new under the same token, in order', () => {
  using given = observed();
  const answer = given.device.ask({ observe: 0, token: 'obs' });
  const orders = [uintOf(answer, Option.Observe) as number];
  expect(textOf(answer)).toBe('now');
  for (const text of ['a', 'b']) {
    expect(given.observers[0]?.notify(told(text))).toBe(true);
    const notification = given.device.last();
    expect([notification.token.toString(), textOf(notification)]).toEqual(['obs', text]);
    orders.push(uintOf(notification, Option.Observe) as number);
  }
  expect(orders).toEqual([1, 2, 3]);
  expect(given.stage.endpoint.counts.observers).toBe(1);
});

test('every n-th notification has to be acknowledged, and nothing is sent before that', () => {
  using given = observed({ confirmEvery: 3 });
  given.device.say({ observe: 0 });
  given.device.take();
  const [observer] = given.observers as [CoapObserver];
  expect(['a', 'b', 'c', 'd'].map((text) => observer.notify(told(text)))).toEqual([true, true, true, false]);
  const heard = given.device.take();
  expect(heard.map(({ type }) => type)).toEqual([Type.Non, Type.Non, Type.Con]);
  expect(given.rooms()).toBe(0);
  given.device.reply(Type.Ack, heard[2]?.messageId as number);
  expect(given.rooms()).toBe(1);
  expect(observer.notify(told('d'))).toBe(true);
  expect(given.device.take().map(textOf)).toEqual(['d']);
});

test('an observation ends when a notification is never acknowledged', () => {
  using given = observed({ confirmEvery: 1 });
  given.device.say({ observe: 0 });
  given.observers[0]?.notify(told('a'));
  given.stage.pass(100_000);
  expect([given.ends, given.stage.endpoint.counts.observers]).toEqual([['timeout'], 0]);
  given.device.take();
  expect(given.observers[0]?.notify(told('b'))).toBe(true);
  expect(given.device.heard).toEqual([]);
});

test.each([
  ['of a notification that has to be acknowledged', 1, 0],
  ['of the last one that has not', 10, 0],
  ['of one a few before the last', 10, 3],
])('an observation ends by the RST %s', (_what, confirmEvery, after) => {
  using given = observed({ confirmEvery });
  given.device.say({ observe: 0 });
  given.device.take();
  given.observers[0]?.notify(told('a'));
  const { messageId } = given.device.last();
  for (let count = 0; count < after; count++) given.observers[0]?.notify(told('b'));
  given.device.reply(Type.Rst, messageId);
  expect(given.ends).toEqual(['reset']);
});

test('an observation ends by Observe: 1 and by a plain GET with its token, not by one with another', () => {
  using given = observed();
  given.device.say({ observe: 0, token: 'a' });
  given.device.say({ observe: 0, token: 'b' });
  given.device.say({ token: 'c' });
  given.device.say({ token: 'a', block2: block(1, false, 6) });
  given.device.say({ token: 'a', code: Method.Put });
  expect(given.ends).toEqual([]);
  given.device.say({ observe: 1, token: 'a' });
  given.device.say({ token: 'b' });
  expect(given.ends).toEqual(['cancelled', 'cancelled']);
});

test('asking again with the same token takes the place of the old, and the order goes on', () => {
  using given = observed();
  given.device.say({ observe: 0 });
  given.observers[0]?.notify(told('a'));
  const again = given.device.ask({ observe: 0 });
  expect([given.ends, uintOf(again, Option.Observe), given.stage.endpoint.counts.observers]).toEqual([
    ['replaced'],
    3,
    1,
  ]);
});

test('the last word ends it, without an order, and takes the place of what was not acknowledged', () => {
  using given = observed({ confirmEvery: 1 });
  given.device.say({ observe: 0 });
  given.observers[0]?.notify(told('a'));
  given.observers[0]?.end({ code: Code.Forbidden });
  expect(given.ends).toEqual(['ended']);
  const last = given.device.last();
  expect([last.type, codeText(last.code), uintOf(last, Option.Observe)]).toEqual([Type.Con, '4.03', undefined]);
  given.device.take();
  given.stage.pass(3_000);
  expect(given.device.take().map(({ code }) => codeText(code))).toEqual(['4.03']);
});

test('an error as notification ends it likewise', () => {
  using given = observed();
  given.device.say({ observe: 0 });
  given.observers[0]?.notify({ code: Code.NotFound });
  expect(given.ends).toEqual(['ended']);
});

test('a peer that is forgotten observes nothing any more', () => {
  using given = observed();
  given.device.say({ observe: 0, token: 'a' });
  given.device.say({ observe: 0, token: 'b' });
  given.stage.endpoint.forget(given.device.peer);
  expect([given.ends, given.stage.endpoint.counts.observers]).toEqual([['closed', 'closed'], 0]);
});

test('beyond the limits who asks to observe is only answered', () => {
  using given = observed({ observersPerPeerMax: 2, observersMax: 3 });
  const asked = (name: string, token: string) =>
    uintOf(given.stage.device(name).ask({ observe: 0, token }), Option.Observe);
  expect(['a', 'b', 'c'].map((token) => asked('device', token))).toEqual([1, 1, undefined]);
  expect(['a', 'b'].map((token) => asked('other', token))).toEqual([1, undefined]);
  expect(asked('device', 'a')).toBe(2);
});

test('a large notification is told by its first block, and fetched by a plain GET', () => {
  using given = observed();
  const text = 'x'.repeat(1_500);
  given.device.say({ observe: 0, path: 'r', token: 'a' });
  given.observers[0]?.notify(told(text));
  const notification = given.device.last();
  expect(uintOf(notification, Option.Block2)).toBe(block(0, true, 6));
  const rest = given.device.ask({ path: 'r', token: 'b', block2: block(1, false, 6) });
  expect(textOf(notification) + textOf(rest)).toBe(text);
  expect(uintOf(rest, Option.Observe)).toBeUndefined();
});

test('the first notification after a quiet hour, if that is the interval, has to be acknowledged', () => {
  using given = observed({ confirmIntervalMs: HOUR_MS });
  given.device.say({ observe: 0 });
  given.stage.pass(HOUR_MS - 1_000);
  given.observers[0]?.notify(told('a'));
  expect(given.device.last().type).toBe(Type.Non);
  given.stage.pass(2_000);
  given.observers[0]?.notify(told('b'));
  expect(given.device.last().type).toBe(Type.Con);
});

test('an observer that gets nothing is pinged once in a while, and ends when nobody is there', () => {
  using given = observed({ confirmIntervalMs: 60_000 });
  given.device.say({ observe: 0 });
  given.device.take();
  given.stage.pass(61_000);
  expect(given.device.take().map(({ type, code }) => [type, code])).toEqual([[Type.Con, 0]]);
  expect(given.ends).toEqual([]);
  given.device.deafen();
  given.stage.pass(60_000 + 100_000);
  expect(given.ends).toEqual(['timeout']);
});

test('only GET and FETCH observe', () => {
  using given = observed();
  given.device.say({ code: Method.Post, observe: 0, token: 'a' });
  given.device.say({ code: Method.Fetch, observe: 0, token: 'b' });
  expect(given.observers.map(({ request }) => request.method)).toEqual([Method.Fetch]);
});

test('no notification overtakes an answer that takes long', async () => {
  let answer: (response: CoapResponse) => void = () => {};
  const observers: CoapObserver[] = [];
  using stage = new Stage(() => new Promise((resolve) => (answer = resolve)));
  const device = stage.device();
  device.say({ observe: 0 });
  stage.pass(2_000);
  answer({ ...told('late'), onObserve: (observer) => observers.push(observer) });
  await settle();
  const separate = device.last();
  expect([separate.type, textOf(separate), uintOf(separate, Option.Observe)]).toEqual([Type.Con, 'late', 1]);
  expect(observers[0]?.notify(told('a'))).toBe(false);
  device.reply(Type.Ack, separate.messageId);
  expect(observers[0]?.notify(told('a'))).toBe(true);
  expect(textOf(device.last())).toBe('a');
});

test('who rejects an answer that takes long does not observe', async () => {
  const ends: string[] = [];
  using stage = new Stage(async () => ({ ...told('x'), onObserve: (o) => (o.onEnd = (why) => ends.push(why)) }));
  const device = stage.device();
  // A repeat has it acknowledged before the answer is there.
  device.say({ observe: 0, messageId: 7 });
  device.say({ observe: 0, messageId: 7 });
  await settle();
  device.reply(Type.Rst, device.last().messageId);
  expect([ends, stage.endpoint.counts.observers]).toEqual([['reset'], 0]);
});

test('asking for a further block of an answer begins no other observation', () => {
  const observers: CoapObserver[] = [];
  using stage = new Stage(() => ({ ...told('x'.repeat(3_000)), onObserve: (observer) => observers.push(observer) }));
  const device = stage.device();
  device.say({ observe: 0, token: 'one' });
  const part = device.ask({ observe: 0, token: 'two', block2: block(1, false, 6) });
  expect(part.payload.length).toBe(1_024);
  expect(uintOf(part, Option.Observe)).toBeUndefined();
  expect([observers.length, stage.endpoint.counts.observers]).toEqual([1, 1]);
});

test('nobody ends an observation by trying message ids; who has it may still end it by word', () => {
  using given = observed();
  given.device.say({ observe: 0, token: 'obs' });
  const [observer] = given.observers as [CoapObserver];
  for (let count = 0; count < 9; count++) observer.notify(told('x'));
  const { messageId } = given.device.last();
  for (let guess = 1; guess < 0x1_00_00; guess++) given.device.reply(Type.Rst, (messageId + 1_000 + guess) & 0xffff);
  expect(given.ends).toEqual([]);
  given.device.say({ observe: 1, token: 'obs' });
  expect(given.ends).toEqual(['cancelled']);
});

test('a device that has started anew ends each of its observations by RST', () => {
  using given = observed();
  for (let index = 0; index < 4; index++) given.device.say({ observe: 0, token: `${index}` });
  given.device.take();
  for (const observer of given.observers) for (let count = 0; count < 3; count++) observer.notify(told('x'));
  for (const { messageId } of given.device.take()) given.device.reply(Type.Rst, messageId);
  expect(given.ends).toEqual(['reset', 'reset', 'reset', 'reset']);
});
