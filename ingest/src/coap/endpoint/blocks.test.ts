import { expect, test } from 'vitest';
import type { CoapRequest } from '../contract.ts';
import { buildMessage, Code, codeText, Method, Option, Type, uintBytes } from '../message/message.ts';
import { MessageScanner } from '../message/scan.ts';
import type { EndpointOptions } from './options.ts';
import { ServerRequest } from './server-request.ts';
import { block, type Device, Stage, settle, textOf, uintOf } from './testing/stage.ts';

const body = (bytes: number): string => Array.from({ length: bytes }, (_, index) => String(index % 10)).join('');

function receiving(options: Partial<EndpointOptions> = {}) {
  const seen: CoapRequest[] = [];
  const stage = new Stage((request) => {
    seen.push(request);
    return { code: Code.Changed };
  }, options);
  return { stage, seen, device: stage.device(), [Symbol.dispose]: () => stage[Symbol.dispose]() };
}
/** One block of a body, in a message with a token of its own. */
const put = (device: Device, text: string, number: number, szx: number, more?: { path?: string; tag?: string }) => {
  const size = 16 << szx;
  const piece = text.slice(number * size, (number + 1) * size);
  return device.ask({
    code: Method.Put,
    path: more?.path ?? 'up',
    token: `t${number}`,
    block1: block(number, (number + 1) * size < text.length, szx),
    payload: piece,
    options: more?.tag === undefined ? [] : [[Option.RequestTag, Buffer.from(more.tag)]],
  });
};

test('a body in blocks is joined, whatever their tokens, and the resource sees it once', () => {
  using given = receiving();
  const text = body(150);
  for (const number of [0, 1]) {
    const answer = put(given.device, text, number, 2);
    expect([codeText(answer.code), uintOf(answer, Option.Block1)]).toEqual(['2.31', block(number, true, 2)]);
  }
  const last = put(given.device, text, 2, 2);
  expect([codeText(last.code), uintOf(last, Option.Block1)]).toEqual(['2.04', block(2, false, 2)]);
  expect(given.seen.map(({ payload }) => payload.toString())).toEqual([text]);
  expect(given.stage.endpoint.counts.transfers).toBe(0);
});

test('a body in one block is whole at once', () => {
  using given = receiving();
  expect(codeText(put(given.device, 'short', 0, 6).code)).toBe('2.04');
  expect(given.seen[0]?.payload.toString()).toBe('short');
});

test('a block whose predecessor is missing is refused, one that comes again is not', () => {
  using given = receiving();
  const text = body(300);
  expect(codeText(put(given.device, text, 1, 2).code)).toBe('4.08');
  put(given.device, text, 0, 2);
  expect(codeText(put(given.device, text, 2, 2).code)).toBe('4.08');
  put(given.device, text, 1, 2);
  expect(codeText(put(given.device, text, 1, 2).code)).toBe('2.31');
  put(given.device, text, 2, 2);
  put(given.device, text, 3, 2);
  expect(codeText(put(given.device, text, 4, 2).code)).toBe('2.04');
  expect(given.seen[0]?.payload.toString()).toBe(text);
  expect(given.stage.endpoint.counts.rejected.incomplete).toBe(2);
});

test('the first block begins anew', () => {
  using given = receiving();
  put(given.device, body(300), 0, 2);
  put(given.device, body(300), 1, 2);
  const other = 'x'.repeat(100);
  put(given.device, other, 0, 2);
  put(given.device, other, 1, 2);
  expect(given.seen.map(({ payload }) => payload.toString())).toEqual([other]);
});

test('bodies to other resources, with other tags, and of other peers are not mixed', () => {
  using given = receiving();
  const other = given.stage.device('other');
  const ways = [
    [given.device, {}],
    [given.device, { path: 'else' }],
    [given.device, { tag: 'a' }],
    [given.device, { tag: 'b' }],
    [other, {}],
  ] as const;
  const text = (index: number): string => String(index).repeat(130);
  for (const number of [0, 1, 2])
    for (const [index, [device, more]] of ways.entries()) put(device, text(index), number, 2, more);
  expect(given.seen.map(({ payload }) => payload.toString())).toEqual(ways.map((_, index) => text(index)));
});

test('a block that is shorter or longer than it says is refused', () => {
  using given = receiving();
  const say = (payload: string, more: boolean) =>
    codeText(given.device.ask({ code: Method.Put, block1: block(0, more, 2), payload }).code);
  expect([say('x'.repeat(63), true), say('x'.repeat(65), true), say('x'.repeat(65), false)]).toEqual(
    Array(3).fill('4.08'),
  );
});

test('a body that is too large is refused as soon as that is known, with the size that is not', () => {
  using given = receiving({ bodyBytesMax: 200 });
  const text = body(300);
  for (const number of [0, 1, 2]) expect(codeText(put(given.device, text, number, 2).code)).toBe('2.31');
  const refused = put(given.device, text, 3, 2);
  expect([codeText(refused.code), uintOf(refused, Option.Size1)]).toEqual(['4.13', 200]);
  const told = given.device.ask({
    code: Method.Put,
    block1: block(0, true, 2),
    payload: text.slice(0, 64),
    options: [[Option.Size1, uintBytes(201)]],
  });
  expect(codeText(told.code)).toBe('4.13');
  expect(codeText(given.device.ask({ code: Method.Put, payload: text }).code)).toBe('4.13');
  // The largest number that a block can have.
  expect(codeText(given.device.ask({ code: Method.Put, block1: block(0xfffff, false, 6), payload: 'x' }).code)).toBe(
    '4.13',
  );
  expect([given.stage.endpoint.counts.transfers, given.seen.length]).toEqual([0, 0]);
});

test('a burst of first blocks drops none that is well under way, and is bounded', () => {
  using given = receiving({ transfersMax: 10 });
  const text = body(200);
  put(given.device, text, 0, 2);
  put(given.device, text, 1, 2);
  for (let index = 0; index < 1_000; index++) put(given.stage.device(`spoofed ${index}`, false), text, 0, 2);
  expect(given.stage.endpoint.counts.transfers).toBe(11);
  put(given.device, text, 2, 2);
  expect(codeText(put(given.device, text, 3, 2).code)).toBe('2.04');
});

test("one network drops its own bodies when it holds its part of all, and nobody else's", () => {
  using given = receiving({ transfersMax: 40 });
  const text = body(200);
  put(given.device, text, 0, 2);
  put(given.device, text, 1, 2);
  const flooder = given.stage.device('flooder');
  for (let index = 0; index < 1_000; index++) {
    const more = { tag: String(index) };
    put(flooder, text, 0, 2, more);
    put(flooder, text, 1, 2, more);
  }
  expect(given.stage.endpoint.counts.transfers).toBe(11);
  put(given.device, text, 2, 2);
  expect(codeText(put(given.device, text, 3, 2).code)).toBe('2.04');
  put(flooder, text, 2, 2, { tag: '999' });
  expect(codeText(put(flooder, text, 3, 2, { tag: '999' }).code)).toBe('2.04');
  given.stage.pass(70_000);
  expect(given.stage.endpoint.counts.transfers).toBe(0);
});

test('a body may be larger than the part of its network', () => {
  using given = receiving({ transferBytesMax: 10_000 });
  const text = body(8_000);
  for (let number = 0; number < 7; number++) put(given.device, text, number, 6);
  expect(codeText(put(given.device, text, 7, 6).code)).toBe('2.04');
});

test('the bytes of all bodies together are bounded', () => {
  using given = receiving({ transferBytesMax: 10_000 });
  for (let index = 0; index < 100; index++) put(given.stage.device(String(index)), body(5_000), 0, 6);
  expect(given.stage.endpoint.counts.transfers).toBeLessThanOrEqual(5);
});

test('a transfer that nobody goes on with is dropped', () => {
  using given = receiving();
  put(given.device, body(300), 0, 2);
  given.stage.pass(70_000);
  expect(given.stage.endpoint.counts.transfers).toBe(0);
  expect(codeText(put(given.device, body(300), 1, 2).code)).toBe('4.08');
});

function sending(text: string, options: Partial<EndpointOptions> = {}) {
  let runs = 0;
  const stage = new Stage(() => {
    runs++;
    return { code: Code.Content, payload: Buffer.from(text), format: 50, maxAge: 5 };
  }, options);
  return { stage, device: stage.device(), runs: () => runs, [Symbol.dispose]: () => stage[Symbol.dispose]() };
}

test('a large answer is cut into blocks, made once, and fetched with any token', () => {
  const text = body(2_500);
  using given = sending(text);
  const first = given.device.ask({ path: 'large', token: 'a' });
  expect([uintOf(first, Option.Block2), uintOf(first, Option.Size2)]).toEqual([block(0, true, 6), 2_500]);
  const second = given.device.ask({ path: 'large', token: 'b', block2: block(1, false, 6) });
  const third = given.device.ask({ path: 'large', token: 'c', block2: block(2, false, 6) });
  expect([uintOf(second, Option.Block2), uintOf(third, Option.Block2)]).toEqual([
    block(1, true, 6),
    block(2, false, 6),
  ]);
  expect(textOf(first) + textOf(second) + textOf(third)).toBe(text);
  const tags = [first, second, third].map(({ options }) =>
    options.find(([number]) => number === Option.ETag)?.[1].toString('hex'),
  );
  expect([new Set(tags).size, tags[0]?.length]).toEqual([1, 16]);
  expect(uintOf(third, Option.ContentFormat)).toBe(50);
  expect(given.runs()).toBe(1);
});

test('the client may want smaller blocks, at once or on the way', () => {
  const text = body(300);
  using given = sending(text);
  const first = given.device.ask({ path: 'x', block2: block(0, false, 3) });
  expect([uintOf(first, Option.Block2), textOf(first)]).toEqual([block(0, true, 3), text.slice(0, 128)]);
  const later = given.device.ask({ path: 'x', block2: block(4, false, 1) });
  expect([uintOf(later, Option.Block2), textOf(later)]).toEqual([block(4, true, 1), text.slice(128, 160)]);
  const small = given.device.ask({ path: 'y', block2: block(0, false, 6) });
  expect([uintOf(small, Option.Block2), textOf(small)]).toEqual([block(0, false, 6), text]);
});

test('a block beyond the end is a bad request', () => {
  using given = sending(body(2_000));
  given.device.say({ path: 'x' });
  expect(codeText(given.device.ask({ path: 'x', block2: block(9, false, 6) }).code)).toBe('4.00');
});

test('what is not kept any more is made again for a GET, and refused for a POST', () => {
  const text = body(2_000);
  using given = sending(text);
  given.device.say({ path: 'x' });
  given.stage.pass(70_000);
  expect(given.stage.endpoint.counts.transfers).toBe(0);
  expect(textOf(given.device.ask({ path: 'x', block2: block(1, false, 6) }))).toBe(text.slice(1_024));
  expect(given.runs()).toBe(2);
  expect(codeText(given.device.ask({ code: Method.Post, path: 'z', block2: block(1, false, 6) }).code)).toBe('4.08');
  expect(given.runs()).toBe(2);
});

test('kept answers are bounded in number and bytes, the quietest goes first', () => {
  using given = sending(body(2_000), { transfersMax: 5, transferBytesMax: 8_000 });
  for (let index = 0; index < 100; index++) given.device.say({ path: `x${index}` });
  expect(given.stage.endpoint.counts.transfers).toBe(4);
  given.device.say({ path: 'x99', block2: block(1, false, 6) });
  expect(given.runs()).toBe(100);
  given.device.say({ path: 'x95', block2: block(1, false, 6) });
  expect(given.runs()).toBe(101);
});

test('two questions of FETCH at once get the blocks of their own answers', () => {
  using stage = new Stage(({ payload }) => ({ code: Code.Content, payload: Buffer.alloc(2_000, payload) }));
  const device = stage.device();
  const ask = (payload: string, number: number): string =>
    textOf(device.ask({ code: Method.Fetch, path: 'q', payload, block2: block(number, false, 6) })).slice(0, 1);
  expect([ask('a', 0), ask('b', 0), ask('a', 1), ask('b', 1), ask('', 1)]).toEqual(['a', 'b', 'a', 'b', 'b']);
});

test('a body in blocks may have an answer in blocks', async () => {
  const answer = body(1_500);
  using stage = new Stage(({ payload }) =>
    Promise.resolve({ code: Code.Content, payload: Buffer.from(payload.length === 100 ? answer : 'wrong') }),
  );
  const device = stage.device();
  put(device, body(100), 0, 2, { path: 'q' });
  put(device, body(100), 1, 2, { path: 'q' });
  await settle();
  const first = device.last();
  expect([uintOf(first, Option.Block1), uintOf(first, Option.Block2)]).toEqual([block(1, false, 2), block(0, true, 6)]);
  const second = device.ask({ code: Method.Put, path: 'q', block2: block(1, false, 6) });
  expect(textOf(first) + textOf(second)).toBe(answer);
});

test('what went wrong is told in one message, however long it is', () => {
  using stage = new Stage(() => ({ code: Code.BadRequest, payload: Buffer.alloc(5_000, 'x') }));
  const answer = stage.device().ask({});
  expect([answer.type, uintOf(answer, Option.Block2), answer.payload.length]).toEqual([Type.Ack, undefined, 1_024]);
});

test('large options of transfers are not kept with them, and tell them apart all the same', () => {
  using given = receiving();
  const elective = 65_000;
  const other = (letter: string): [number, Buffer] => [elective, Buffer.alloc(60_000, letter)];
  const said = (letter: string, number: number) =>
    given.device.ask({
      code: Method.Put,
      path: 'up',
      token: `${letter}${number}`,
      block1: block(number, number === 0, 0),
      payload: letter.repeat(16),
      options: [other(letter)],
    });
  expect(['a', 'b', 'a', 'b'].map((letter, at) => codeText(said(letter, at >> 1).code))).toEqual([
    '2.31',
    '2.31',
    '2.04',
    '2.04',
  ]);
  expect(given.seen.map(({ payload }) => payload.toString())).toEqual(['a'.repeat(32), 'b'.repeat(32)]);
  const datagram = buildMessage({
    type: Type.Con,
    code: Method.Put,
    messageId: 1,
    token: Buffer.alloc(0),
    options: [other('a')],
    payload: Buffer.alloc(0),
  });
  const scanner = new MessageScanner();
  expect(scanner.scan(datagram)).toBe(true);
  expect(new ServerRequest(scanner, datagram, given.device.peer).transferKey(1).length).toBeLessThan(100);
});
