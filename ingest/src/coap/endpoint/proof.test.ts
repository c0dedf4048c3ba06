import { expect, test } from 'vitest';
import type { CoapObserver } from '../contract.ts';
import { Code, codeText, Method, Option, Type } from '../message/message.ts';
import type { EndpointOptions } from './options.ts';
import { block, type Device, Stage, textOf, uintOf } from './testing/stage.ts';

const TEXT = Array.from({ length: 3_000 }, (_, index) => String(index % 10)).join('');

function unproven(options: Partial<EndpointOptions> = {}) {
  const observers: CoapObserver[] = [];
  const stage = new Stage(
    ({ path }) => ({
      code: Code.Content,
      payload: Buffer.from(path[0] === 'small' ? 'small' : TEXT),
      onObserve: (observer) => observers.push(observer),
    }),
    options,
  );
  return { stage, device: stage.device('stranger', false), observers, [Symbol.dispose]: () => stage[Symbol.dispose]() };
}
/** Fetches as a client does: with the block size that it is given. */
function fetchAll(device: Device, path: string): string {
  let answer = device.last();
  let text = textOf(answer);
  for (;;) {
    const told = uintOf(answer, Option.Block2);
    if (told === undefined || (told & 8) === 0) return text;
    answer = device.ask({ path, block2: block((told >> 4) + 1, false, told & 7) });
    text += textOf(answer);
  }
}

test('who claims an address is pinged before anything large goes there, and gets it at once when it answers', () => {
  using given = unproven();
  given.device.say({ path: 'large' });
  expect(given.device.heard.map(({ type, code }) => [type, codeText(code)])).toEqual([
    [Type.Con, '0.00'],
    [Type.Ack, '2.05'],
  ]);
  expect(given.device.last().payload.length).toBe(1_024);
  expect(fetchAll(given.device, 'large')).toBe(TEXT);
});

test('small answers need no proof', () => {
  using given = unproven();
  expect(textOf(given.device.ask({ path: 'small' }))).toBe('small');
  expect(given.device.heard.length).toBe(1);
});

test('a client that answers no pings gets all in small blocks, none larger than the bound', () => {
  using given = unproven();
  given.device.answersPings = false;
  given.device.say({ path: 'large' });
  given.stage.pass(1_200);
  const answer = given.device.last();
  expect([answer.type, answer.payload.length]).toEqual([Type.Ack, 64]);
  expect(fetchAll(given.device, 'large')).toBe(TEXT);
  // The first in an extra 15 bytes of Echo, all within 136.
  expect(given.device.heardBytes / given.device.heard.length).toBeLessThan(136);
});

test('a burst from made-up addresses makes us send each of them no more than 136 bytes, and two pings', () => {
  using given = unproven();
  const victims = Array.from({ length: 200 }, (_, index) => given.stage.device(`victim ${index}`, false));
  for (const victim of victims) {
    victim.answersPings = false;
    victim.say({ path: 'large' });
  }
  given.stage.pass(300_000);
  for (const victim of victims) expect(victim.heardBytes).toBeLessThanOrEqual(136 + 8);
});

test('the pings that are out at once are bounded; beyond, blocks are small at once', () => {
  using given = unproven({ proofsMax: 1 });
  given.stage.device('other', false).answersPings = false;
  given.stage.device('other', false).say({ path: 'large' });
  expect(given.device.ask({ path: 'large' }).payload.length).toBe(64);
});

test('a stranger that answers pings but never acknowledges gets a bounded amount', () => {
  using given = unproven({ unprovenBytesMax: 10_000 });
  for (let count = 0; count < 100; count++) given.device.say({ path: 'large' });
  expect(given.device.heardBytes).toBeLessThan(10_000 * 1.1 + 100 * 136);
  given.device.take();
  given.stage.pass(61_000);
  given.device.say({ path: 'large' });
  expect(given.device.last().payload.length).toBe(1_024);
});

test('guessing the number of a ping is not worth it', () => {
  using given = unproven();
  given.device.answersPings = false;
  given.device.say({ path: 'large' });
  const { messageId } = given.device.last();
  for (let guess = 1; guess < 10; guess++) given.device.reply(Type.Rst, messageId + guess);
  expect(given.device.last().payload.length).toBe(64);
  // The right one comes too late now.
  given.device.reply(Type.Rst, messageId);
  expect(given.device.ask({ path: 'large' }).payload.length).toBe(64);
});

test('nor is guessing it in acknowledgements: who does is not believed the right one either', () => {
  using given = unproven();
  given.device.answersPings = false;
  given.device.say({ path: 'large' });
  const { messageId } = given.device.last();
  for (let guess = 0; guess < 0x1_00_00; guess++) given.device.reply(Type.Ack, (messageId + 1 + guess) & 0xffff);
  expect(given.device.last().payload.length).toBe(64);
  expect(given.device.peer.verified).toBe(false);
  given.device.say({ path: 'small', observe: 0, token: 'o' });
  given.observers[0]?.notify({ code: Code.Content, payload: Buffer.from(TEXT) });
  given.device.reply(Type.Ack, given.device.last().messageId);
  expect(given.device.peer.verified).toBe(false);
  // What it is told stays small, and has to be acknowledged each time.
  given.observers[0]?.notify({ code: Code.Content, payload: Buffer.from(TEXT) });
  expect([given.device.last().type, given.device.last().payload.length]).toEqual([Type.Con, 64]);
});

test('a request that is said again and again gets its large answer again only within that amount', () => {
  using given = unproven({ unprovenBytesMax: 10_000 });
  const messageId = given.device.say({ path: 'large' });
  for (let count = 0; count < 1_000; count++) given.device.say({ path: 'large', messageId });
  expect(given.device.heardBytes).toBeLessThan(10_000 * 1.1);
  expect(given.device.heardBytes).toBeGreaterThan(9_000);
});

test('notifications count against that amount, too', () => {
  using given = unproven({ unprovenBytesMax: 10_000 });
  for (let count = 0; count < 100; count++) {
    given.device.say({ path: 'small', observe: 0, token: 'o' });
    given.observers.at(-1)?.notify({ code: Code.Content, payload: Buffer.from(TEXT) });
    given.device.reply(Type.Rst, given.device.last().messageId);
  }
  expect(given.device.heardBytes).toBeLessThan(10_000 * 1.1 + 200 * 136);
});

test('those who are asked to prove their address do not take the places of those at work', () => {
  using given = unproven({ underWayMax: 10 });
  for (let index = 0; index < 20; index++) {
    const victim = given.stage.device(`victim ${index}`, false);
    victim.answersPings = false;
    victim.say({ path: 'large' });
  }
  expect(textOf(given.device.ask({ path: 'small' }))).toBe('small');
  expect(given.stage.endpoint.counts.underWay).toBe(0);
});

test('an answer to the ping that comes late still counts', () => {
  using given = unproven();
  given.device.answersPings = false;
  given.device.say({ path: 'large' });
  const ping = given.device.last().messageId;
  given.stage.pass(1_200);
  given.device.reply(Type.Rst, ping);
  expect(given.device.ask({ path: 'large' }).payload.length).toBe(1_024);
});

test('acknowledging what was sent to it proves an address for good', async () => {
  using given = unproven({ confirmEvery: 5 });
  given.device.acknowledges = true;
  given.device.say({ path: 'small', observe: 0 });
  expect(given.device.peer.verified).toBe(false);
  given.observers[0]?.notify({ code: Code.Content });
  expect(given.device.peer.verified).toBe(true);
});

test('an observer that is not proven gets one notification until it acknowledges', () => {
  using given = unproven();
  given.device.say({ path: 'small', observe: 0 });
  const [observer] = given.observers as [CoapObserver];
  expect(observer.notify({ code: Code.Content })).toBe(true);
  expect(given.device.last().type).toBe(Type.Con);
  expect(observer.notify({ code: Code.Content })).toBe(false);
});

test('a made-up observer costs its address three small messages', () => {
  using given = unproven();
  given.device.answersPings = false;
  given.device.say({ path: 'large', observe: 0 });
  given.stage.pass(1_200);
  expect(given.observers.length).toBe(1);
  for (let count = 0; count < 100; count++)
    given.observers[0]?.notify({ code: Code.Content, payload: Buffer.from(TEXT) });
  given.stage.pass(300_000);
  expect(given.stage.endpoint.counts.observers).toBe(0);
  expect(given.device.heardBytes).toBeLessThanOrEqual(8 + 3 * 136);
});

test('a good Echo option proves an address without a ping', () => {
  using given = unproven({ proof: 'echo' });
  const refused = given.device.ask({ path: 'large' });
  expect(codeText(refused.code)).toBe('4.01');
  const echo = refused.options.find(([number]) => number === Option.Echo)?.[1] as Buffer;
  const options = [[Option.Echo, echo]] as const;
  const forged = Buffer.from(echo);
  forged[11] = (forged[11] as number) ^ 1;
  expect(codeText(given.device.ask({ path: 'large', options: [[Option.Echo, forged]] }).code)).toBe('4.01');
  given.stage.pass(200_000);
  expect(given.device.ask({ path: 'large', options }).payload.length).toBe(1_024);
  expect(given.device.peer.verified).toBe(true);
});

test('an Echo option is good for minutes, and for its address', () => {
  using given = unproven({ proof: 'echo' });
  const refused = given.device.ask({ path: 'large' });
  const echo = refused.options.find(([number]) => number === Option.Echo)?.[1] as Buffer;
  const elsewhere = given.stage.device('elsewhere', false);
  Object.assign(elsewhere.peer, { address: '192.0.2.2' });
  expect(codeText(elsewhere.ask({ path: 'large', options: [[Option.Echo, echo]] }).code)).toBe('4.01');
  given.stage.pass(400_000);
  expect(codeText(given.device.ask({ path: 'large', options: [[Option.Echo, echo]] }).code)).toBe('4.01');
});

test('a longer request may have a longer answer', () => {
  using given = unproven();
  given.device.answersPings = false;
  const answer = given.device.ask({
    code: Method.Put,
    path: 'large',
    payload: 'x'.repeat(400),
    block2: block(0, false, 6),
  });
  expect([answer.payload.length, given.device.heard.length]).toEqual([1_024, 1]);
});

test('a slow answer to an address that answers nothing is repeated only within the bound', async () => {
  let answer: (payload: Buffer) => void = () => {};
  using stage = new Stage(
    () => new Promise((resolve) => (answer = (payload) => resolve({ code: Code.Content, payload }))),
  );
  for (const [size, times] of [
    [3_000, 1],
    [100, 1],
    [30, 3],
    [2, 5],
  ] as const) {
    const victim = stage.device(`victim ${size}`, false);
    victim.answersPings = false;
    victim.say({ path: 'slow' });
    stage.pass(2_000);
    answer(Buffer.alloc(size));
    await Promise.resolve();
    await Promise.resolve();
    stage.pass(300_000);
    expect(victim.heard.filter(({ code }) => code === Code.Content).length).toBe(times);
    // The acknowledgement and two pings are beside it.
    expect(victim.heardBytes).toBeLessThanOrEqual(136 + 12);
  }
});

test('observers whose addresses are asked at the same time do not become more than there may be', () => {
  using given = unproven({ observersMax: 3 });
  const victims = Array.from({ length: 20 }, (_, index) => given.stage.device(`victim ${index}`, false));
  for (const victim of victims) {
    victim.answersPings = false;
    victim.say({ path: 'large', observe: 0 });
  }
  given.stage.pass(2_000);
  expect(given.stage.endpoint.counts.observers).toBe(3);
  expect(given.observers.length).toBe(3);
});
