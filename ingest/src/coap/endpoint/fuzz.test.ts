import { randomBytes, randomInt } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import type { CoapObserver, CoapOption } from '../contract.ts';
import { buildMessage, Code, Method, Option, uintBytes } from '../message/message.ts';
import { Stage, settle } from './testing/stage.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
/** What is really in use: garbage is collected first. */
const usedBytes = (): number => {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
};

const token = () => randomBytes(randomInt(9));
const PATH = [Option.UriPath, Buffer.from('x')] as const;
const some = (number: number) => [number, uintBytes(randomInt(2 ** 24))] as const;
/** What makes sense, more or less, and is then mutated. */
const KINDS: (() => { code: number; options: CoapOption[] })[] = [
  () => ({ code: Method.Get, options: [PATH, [Option.Observe, uintBytes(randomInt(2))]] }),
  () => ({ code: Method.Put, options: [PATH, some(Option.Block1)] }),
  () => ({ code: Method.Get, options: [PATH, some(Option.Block2)] }),
  () => ({ code: Method.Post, options: [PATH, some(Option.Size1), some(Option.NoResponse)] }),
  () => ({ code: Code.Content, options: [[Option.Observe, uintBytes(randomInt(2 ** 24))]] }),
  () => ({ code: Method.Fetch, options: [PATH, [Option.Echo, randomBytes(12)], [Option.RequestTag, token()]] }),
];
const sensible = (): Buffer =>
  buildMessage({
    ...(KINDS[randomInt(KINDS.length)] as (typeof KINDS)[number])(),
    type: randomInt(4),
    messageId: randomInt(0x1_00_00),
    token: token(),
    payload: randomBytes(randomInt(100)),
  });

test('100,000 random and mutated datagrams of many peers throw nothing, are no fault, and leave little behind', () => {
  const observers: CoapObserver[] = [];
  const faults: unknown[] = [];
  using stage = new Stage(
    ({ method }) => ({
      code: Code.Content,
      payload: method === Method.Get ? Buffer.alloc(3_000) : Buffer.alloc(10),
      onObserve: (observer) => {
        if (observers.length < 1_000) observers.push(observer);
      },
    }),
    {
      onFault: (error) => faults.push(error),
      observersMax: 500,
      transfersMax: 200,
      transferBytesMax: 1 << 20,
      dedupBytes: 1 << 20,
      outstandingMax: 500,
      proofsMax: 100,
    },
  );
  const devices = Array.from({ length: 100 }, (_, index) => stage.device(String(index), index % 2 === 0));
  const { counts } = stage.endpoint;
  let bytesMid = 0;
  for (let count = 0; count < 100_000; count++) {
    const device = devices[randomInt(devices.length)] ?? stage.device();
    let datagram: Buffer;
    if (count % 3 === 0) {
      datagram = randomBytes(randomInt(60));
      if (datagram.length > 0 && count % 2 === 0) datagram[0] = 0x40 | ((datagram[0] as number) & 0x3f);
    } else {
      datagram = sensible();
      for (let flips = randomInt(4); flips > 0; flips--) datagram[randomInt(datagram.length)] = randomInt(256);
      if (count % 7 === 0) datagram = datagram.subarray(0, randomInt(datagram.length));
    }
    device.raw(datagram);
    device.take();
    if (count % 50 === 0)
      observers[randomInt(observers.length + 1)]?.notify({ code: Code.Content, payload: randomBytes(10) });
    if (count % 1_000 === 0) stage.pass(500);
    if (count === 50_000) bytesMid = usedBytes();
  }
  expect(faults).toEqual([]);
  expect(counts.malformed).toBeGreaterThan(10_000);
  expect(counts.requests).toBeGreaterThan(10_000);
  expect(counts.observers).toBeLessThanOrEqual(500);
  expect(counts.transfers).toBeLessThanOrEqual(600);
  expect(counts.outstanding).toBeLessThanOrEqual(500);
  expect(usedBytes() - bytesMid).toBeLessThan(32 << 20);
  stage.pass(400_000);
  expect([counts.transfers, counts.outstanding, counts.underWay]).toEqual([0, 0, 0]);
});

test('10,000 hostile answers to what we ask end in an answer or an error each', async () => {
  using stage = new Stage(() => ({ code: Code.NotFound }), { bodyBytesMax: 4_096 });
  const device = stage.device();
  const outcomes = { answered: 0, failed: 0 };
  for (let count = 0; count < 10_000; count++) {
    const observes = count % 5 === 0 ? { onNotification: () => {} } : {};
    void stage.endpoint.request(device.peer, { method: Method.Get, path: '/x', ...observes }).then(
      () => outcomes.answered++,
      () => outcomes.failed++,
    );
    for (let answers = randomInt(4); answers > 0 && device.heard.length > 0; answers--) {
      const asked = device.heard.at(-1 - randomInt(Math.min(3, device.heard.length)));
      if (asked === undefined) break;
      const datagram = buildMessage({
        ...asked,
        type: randomInt(4),
        code: count % 3 === 0 ? Code.Unauthorized : Code.Content,
        messageId: randomInt(2) === 0 ? asked.messageId : randomInt(0x1_00_00),
        options: [
          some(Option.Block2),
          some(Option.Block1),
          some(Option.Observe),
          [Option.Echo, randomBytes(8)] as const,
        ].filter(() => randomInt(2) === 0),
        payload: randomBytes(randomInt(3) * 512),
      });
      if (randomInt(4) === 0) datagram[randomInt(datagram.length)] = randomInt(256);
      device.raw(datagram);
    }
    if (device.heard.length > 50) device.take();
    if (count % 100 === 0) {
      await settle();
      stage.pass(70_000);
    }
  }
  await settle();
  stage.pass(100_000);
  await settle();
  stage.endpoint.forget(device.peer);
  await settle();
  expect(outcomes.answered + outcomes.failed).toBe(10_000);
  expect(outcomes.answered).toBeGreaterThan(100);
  expect([stage.endpoint.counts.outstanding, stage.endpoint.counts.faults]).toEqual([0, 0]);
});

test('a burst from 20,000 made-up addresses keeps nothing of them but what has a bound', () => {
  using stage = new Stage(() => ({ code: Code.Content, payload: Buffer.alloc(2_000) }), {
    proofsMax: 100,
    transfersMax: 100,
  });
  const { endpoint } = stage;
  for (let count = 0; count < 20_000; count++) {
    const peer = {
      key: `10.0.${count >> 8}.${count & 255}|5683`,
      address: '10.0.0.1',
      port: 5_683,
      identity: null,
      verified: false,
      send: () => {},
    };
    const options = [
      [Option.UriPath, Buffer.from('x')],
      [Option.Observe, uintBytes(0)],
    ] as const;
    endpoint.receive(
      buildMessage({
        type: 0,
        code: Method.Get,
        messageId: count & 0xffff,
        token: Buffer.from('t'),
        options,
        payload: Buffer.alloc(0),
      }),
      peer,
    );
  }
  expect(endpoint.counts.outstanding).toBeLessThanOrEqual(100);
  expect(endpoint.counts.transfers).toBeLessThanOrEqual(200);
  stage.pass(400_000);
  expect([endpoint.counts.transfers, endpoint.counts.outstanding, endpoint.counts.underWay]).toEqual([0, 0, 0]);
});
