import { randomBytes, randomInt } from 'node:crypto';
import { expect, test } from 'vitest';
import type { CoapObserver, CoapOption } from '../contract.ts';
import { buildMessage, Code, Method, Option, uintBytes } from '../message/message.ts';
import { Stage } from './testing/stage.ts';

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
  let heapMid = 0;
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
    if (count === 50_000) heapMid = process.memoryUsage().arrayBuffers;
  }
  expect(faults).toEqual([]);
  expect(counts.malformed).toBeGreaterThan(10_000);
  expect(counts.requests).toBeGreaterThan(10_000);
  expect(counts.observers).toBeLessThanOrEqual(500);
  expect(counts.transfers).toBeLessThanOrEqual(600);
  expect(counts.outstanding).toBeLessThanOrEqual(500);
  expect(process.memoryUsage().arrayBuffers - heapMid).toBeLessThan(64 << 20);
  stage.pass(400_000);
  expect([counts.transfers, counts.outstanding, counts.underWay]).toEqual([0, 0, 0]);
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
