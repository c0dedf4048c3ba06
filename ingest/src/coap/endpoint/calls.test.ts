import { afterEach, expect, test, vi } from 'vitest';
import type { CoapAnswer, CoapHandler, CoapObserver, Peer } from '../contract.ts';
import { buildMessage, type CoapMessage, Code, codeText, Method, Option, Type, uintBytes } from '../message/message.ts';
import { createEndpoint } from './endpoint.ts';
import type { EndpointOptions } from './options.ts';
import { block, Stage, settle, textOf, uintOf } from './testing/stage.ts';

const stages: Disposable[] = [];
afterEach(() => {
  for (const stage of stages.splice(0)) stage[Symbol.dispose]();
});

/** Two endpoints on one wire; `lost` says which datagrams do not arrive. */
function wire(
  handler: CoapHandler,
  options: Partial<EndpointOptions> = {},
  lost: (datagram: Buffer) => boolean = () => false,
) {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  const small = { dedupEntries: 1_024, ...options };
  const platform = createEndpoint(() => ({ code: Code.NotFound }), small);
  const device = createEndpoint(handler, small);
  const common = { address: '192.0.2.1', port: 5_683, identity: null, verified: true };
  const toDevice: Peer = {
    ...common,
    key: 'device',
    send: (datagram) => void setImmediate(() => lost(datagram) || device.receive(datagram, toPlatform)),
  };
  const toPlatform: Peer = {
    ...common,
    key: 'platform',
    send: (datagram) => void setImmediate(() => lost(datagram) || platform.receive(datagram, toDevice)),
  };
  stages.push({
    [Symbol.dispose]: () => {
      platform.close();
      device.close();
      vi.useRealTimers();
    },
  });
  return { platform, device, toDevice };
}
/** A platform that asks a device which the test plays. */
function asking(options: Partial<EndpointOptions> = {}) {
  const stage = new Stage(() => ({ code: Code.NotFound }), options);
  stages.push(stage);
  const device = stage.device();
  const answer = (to: CoapMessage, more: Partial<CoapMessage>): void =>
    device.raw(
      buildMessage({
        type: Type.Ack,
        code: Code.Content,
        messageId: to.messageId,
        token: to.token,
        options: [],
        payload: Buffer.alloc(0),
        ...more,
      }),
    );
  return { stage, device, answer };
}

test('a peer is asked and answers', async () => {
  const { platform, toDevice } = wire(({ method, path, query, payload, format, accept }) => ({
    code: Code.Changed,
    format: 50,
    payload: Buffer.from(JSON.stringify([method, path, query, payload.toString(), format, accept])),
  }));
  const request = {
    method: Method.Put,
    path: '/3/0',
    query: ['a=b'],
    payload: Buffer.from('x'),
    format: 110,
    accept: 50,
  };
  const { answer } = await platform.request(toDevice, request);
  expect([codeText(answer.code), answer.format]).toEqual(['2.04', 50]);
  expect(JSON.parse(answer.payload.toString())).toEqual([3, ['3', '0'], ['a=b'], 'x', 110, 50]);
});

test('bodies go in blocks in both directions', async () => {
  const { platform, toDevice } = wire(({ payload }) => ({
    code: Code.Content,
    payload: Buffer.from(payload).reverse(),
  }));
  const payload = Buffer.from(Array.from({ length: 5_000 }, (_, index) => index % 251));
  const { answer } = await platform.request(toDevice, { method: Method.Post, path: '/x', payload });
  expect(answer.payload.equals(Buffer.from(payload).reverse())).toBe(true);
});

test('what is lost on the way is sent again, and arrives once', async () => {
  let count = 0;
  let runs = 0;
  const { platform, toDevice } = wire(
    () => ({ code: Code.Changed, payload: Buffer.from(String(++runs)) }),
    {},
    // The request, then the answer to its repeat.
    () => [1, 3].includes(++count),
  );
  const asked = platform.request(toDevice, { method: Method.Post, path: '/x' });
  let done = false;
  void asked.finally(() => (done = true));
  while (!done) {
    vi.advanceTimersByTime(500);
    await settle();
  }
  expect((await asked).answer.payload.toString()).toBe('1');
});

test('an answer in a message of its own is acknowledged, even when it comes again', async () => {
  const { stage, device, answer } = asking();
  const asked = stage.endpoint.request(device.peer, { method: Method.Get, path: '/x' });
  const request = device.last();
  device.reply(Type.Ack, request.messageId);
  device.take();
  for (let count = 0; count < 3; count++)
    answer(request, { type: Type.Con, messageId: 77, payload: Buffer.from('late') });
  expect(device.take().map(({ type, messageId }) => [type, messageId])).toEqual(Array(3).fill([Type.Ack, 77]));
  expect((await asked).answer.payload.toString()).toBe('late');
});

test('an answer that overtakes its acknowledgement stands for it', async () => {
  const { stage, device, answer } = asking();
  const asked = stage.endpoint.request(device.peer, { method: Method.Get, path: '/x' });
  answer(device.last(), { type: Type.Non, messageId: 77 });
  await asked;
  device.take();
  stage.pass(100_000);
  expect(device.heard).toEqual([]);
});

test.each([
  ['COAP_RESET', ({ device }: ReturnType<typeof asking>) => device.reply(Type.Rst, device.last().messageId)],
  ['COAP_TIMEOUT', ({ stage }: ReturnType<typeof asking>) => stage.pass(100_000)],
  ['COAP_CLOSED', ({ stage, device }: ReturnType<typeof asking>) => stage.endpoint.forget(device.peer)],
  ['COAP_CLOSED', ({ stage }: ReturnType<typeof asking>) => stage.endpoint.close()],
])('a request that comes to nothing says why: %s', async (code, happens) => {
  const given = asking();
  const asked = given.stage.endpoint.request(given.device.peer, { method: Method.Get, path: '/x' });
  const failed = expect(asked).rejects.toMatchObject({ code });
  happens(given);
  await failed;
  expect(given.stage.endpoint.counts.outstanding).toBe(0);
});

test('a request is given up when its time is over, acknowledged or not', async () => {
  const { stage, device } = asking();
  const asked = stage.endpoint.request(device.peer, { method: Method.Get, path: '/x', timeoutMs: 5_000 });
  const failed = expect(asked).rejects.toMatchObject({ code: 'COAP_TIMEOUT' });
  device.reply(Type.Ack, device.last().messageId);
  stage.pass(5_100);
  await failed;
});

test('an answer with a wrong token, or from someone else, is none', async () => {
  const { stage, device, answer } = asking();
  const asked = stage.endpoint.request(device.peer, { method: Method.Get, path: '/x' });
  const request = device.last();
  answer(request, { token: Buffer.from('guess'), type: Type.Con, messageId: 5 });
  expect([device.last().type, device.last().messageId]).toEqual([Type.Rst, 5]);
  const other = stage.device('other');
  other.raw(buildMessage({ ...request, type: Type.Con, code: Code.Content, messageId: 6, options: [] }));
  expect(other.last().type).toBe(Type.Rst);
  answer(request, { payload: Buffer.from('right') });
  expect((await asked).answer.payload.toString()).toBe('right');
});

test('an acknowledgement that carries a request, or an RST that carries anything, is none', async () => {
  const { stage, device, answer } = asking();
  const asked = stage.endpoint.request(device.peer, { method: Method.Get, path: '/x' });
  const request = device.last();
  answer(request, { code: Method.Get });
  answer(request, { type: Type.Rst });
  expect(stage.endpoint.counts.outstanding).toBe(1);
  answer(request, {});
  await asked;
});

test('too many requests to one peer are refused', async () => {
  const { stage, device } = asking({ callsPerPeerMax: 2 });
  const request = { method: Method.Get, path: '/x' };
  const asked = [1, 2, 3].map(() => stage.endpoint.request(device.peer, request).catch(({ code }) => code));
  expect(await asked[2]).toBe('COAP_BUSY');
  stage.endpoint.close();
  expect(await Promise.all(asked)).toEqual(['COAP_CLOSED', 'COAP_CLOSED', 'COAP_BUSY']);
});

test('a peer that wants smaller blocks gets them', async () => {
  const { stage, device, answer } = asking();
  const payload = Buffer.from('x'.repeat(2_000));
  const asked = stage.endpoint.request(device.peer, { method: Method.Put, path: '/x', payload });
  const first = device.last();
  expect([uintOf(first, Option.Block1), uintOf(first, Option.Size1)]).toEqual([block(0, true, 6), 2_000]);
  answer(first, { code: Code.Continue, options: [[Option.Block1, uintBytes(block(0, true, 5))]] });
  await settle();
  expect(uintOf(device.last(), Option.Block1)).toBe(block(2, true, 5));
  answer(device.last(), { code: Code.Continue, options: [[Option.Block1, uintBytes(block(2, true, 5))]] });
  await settle();
  expect(uintOf(device.last(), Option.Block1)).toBe(block(3, false, 5));
  answer(device.last(), { code: Code.Changed });
  expect(codeText((await asked).answer.code)).toBe('2.04');
});

test('a body that never ends, or changes on the way, is given up', async () => {
  const { stage, device, answer } = asking({ bodyBytesMax: 4_096 });
  const endless = stage.endpoint.request(device.peer, { method: Method.Get, path: '/x' });
  const failed = expect(endless).rejects.toMatchObject({ code: 'COAP_TOO_LARGE' });
  for (let number = 0; number < 5; number++) {
    answer(device.last(), {
      options: [[Option.Block2, uintBytes(block(number, true, 6))]],
      payload: Buffer.alloc(1_024),
    });
    await settle();
  }
  await failed;
  const changing = stage.endpoint.request(device.peer, { method: Method.Get, path: '/y' });
  const reset = expect(changing).rejects.toMatchObject({ code: 'COAP_RESET' });
  for (const [number, tag] of ['a', 'b'].entries()) {
    const options = [
      [Option.ETag, Buffer.from(tag)],
      [Option.Block2, uintBytes(block(number, true, 6))],
    ] as const;
    answer(device.last(), { options, payload: Buffer.alloc(1_024) });
    await settle();
  }
  await reset;
});

test('a peer is observed until that is cancelled', async () => {
  const observers: CoapObserver[] = [];
  const { platform, device, toDevice } = wire(() => ({
    code: Code.Content,
    payload: Buffer.from('first'),
    onObserve: (observer) => observers.push(observer),
  }));
  const told: string[] = [];
  const { answer, cancel } = await platform.request(toDevice, {
    method: Method.Get,
    path: '/3303/0/5700',
    onNotification: ({ payload }) => told.push(payload.toString('latin1', 0, 8)),
  });
  expect(answer.payload.toString()).toBe('first');
  for (const text of ['a', 'b'.repeat(3_000), 'c']) {
    observers[0]?.notify({ code: Code.Content, payload: Buffer.from(text) });
    for (let turn = 0; turn < 10; turn++) await settle();
  }
  expect(told).toEqual(['a', 'bbbbbbbb', 'c']);
  cancel();
  await settle();
  await settle();
  expect(device.counts.observers).toBe(0);
});

test('notifications that come late are not told, and one after which none follows is', async () => {
  const { stage, device, answer } = asking();
  const told: CoapAnswer[] = [];
  const asked = stage.endpoint.request(device.peer, {
    method: Method.Get,
    path: '/x',
    onNotification: (answer) => told.push(answer),
  });
  const request = device.last();
  const notify = (order: number, text: string, messageId: number): void =>
    answer(request, {
      type: Type.Non,
      messageId,
      options: [[Option.Observe, uintBytes(order)]],
      payload: Buffer.from(text),
    });
  answer(request, { options: [[Option.Observe, uintBytes(0xfffffe)]] });
  await asked;
  notify(0xffffff, 'a', 1);
  await settle();
  notify(3, 'b', 2);
  await settle();
  notify(0xffffff, 'late', 3);
  notify(2, 'late', 4);
  await settle();
  expect(told.map((answer) => answer.payload.toString())).toEqual(['a', 'b']);
  stage.pass(129_000);
  notify(1, 'long after', 5);
  await settle();
  answer(request, { type: Type.Con, code: Code.NotFound, messageId: 6 });
  await settle();
  expect(told.map((answer) => codeText(answer.code))).toEqual(['2.05', '2.05', '2.05', '4.04']);
  device.take();
  notify(9, 'after the end', 7);
  expect(device.last().type).toBe(Type.Rst);
});

test('a peer that does not observe is only answered', async () => {
  const { stage, device, answer } = asking();
  const asked = stage.endpoint.request(device.peer, { method: Method.Get, path: '/x', onNotification: () => {} });
  answer(device.last(), { payload: Buffer.from('once') });
  const { cancel } = await asked;
  device.take();
  cancel();
  expect(device.heard).toEqual([]);
});

test('an answer with a critical option that we do not know is rejected', async () => {
  const { stage, device, answer } = asking();
  const asked = stage.endpoint.request(device.peer, { method: Method.Get, path: '/x' });
  const failed = expect(asked).rejects.toMatchObject({ code: 'COAP_RESET' });
  const options = [[65_001, Buffer.from('x')]] as const;
  answer(device.last(), { type: Type.Con, messageId: 5, options });
  expect([device.last().type, textOf(device.last())]).toEqual([Type.Rst, '']);
  answer(device.heard[0] as CoapMessage, { options });
  await failed;
});

test('message ids of what still waits are not used again', () => {
  const { stage, device } = asking({ callsPerPeerMax: 100_000 });
  void stage.endpoint.request(device.peer, { method: Method.Get, path: '/x' }).catch(() => {});
  const waits = device.last().messageId;
  const ids = new Set<number>();
  for (let count = 0; count < 65_535; count++) {
    device.ask({ type: Type.Non, messageId: count });
    ids.add(device.last().messageId);
  }
  expect([ids.size, ids.has(waits)]).toEqual([65_535, false]);
});

test('a refusal with an Echo option is answered by the request with that option', async () => {
  const { stage, device, answer } = asking();
  const asked = stage.endpoint.request(device.peer, { method: Method.Get, path: '/x' });
  answer(device.last(), { code: Code.Unauthorized, options: [[Option.Echo, Buffer.from('seal')]] });
  await settle();
  expect(
    device
      .last()
      .options.find(([number]) => number === Option.Echo)?.[1]
      .toString(),
  ).toBe('seal');
  answer(device.last(), {});
  expect(codeText((await asked).answer.code)).toBe('2.05');
});
