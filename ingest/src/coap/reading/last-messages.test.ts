import { createLogger, createMetrics, type Log, type ReadingsStore, StoreError } from '@millrace/core';
import { expect, test } from 'vitest';
import { createDelivery } from '../../delivery/delivery.ts';
import { recordMaker } from '../../delivery/testing/stage.ts';
import { ORG, TestGate } from '../../testing/gate.ts';
import { AnsweringStore, ProcessedLog } from '../testing/open-coap.ts';
import { LastMessages } from './last-messages.ts';
import { Turns } from './turns.ts';

const CHANNEL = 'chan-1';

function stage() {
  const log = new ProcessedLog(1);
  const store = new AnsweringStore();
  const delivery = createDelivery({
    log: log as unknown as Log,
    gate: new TestGate(),
    metrics: createMetrics(),
    logger: createLogger({ level: 'silent' }),
    verify: false,
    followTogether: false,
  });
  const last = new LastMessages({
    log: log as unknown as Log,
    delivery,
    store: store as unknown as ReadingsStore,
    processorsGroup: 'processors',
    turns: new Turns(4, 1_000),
  });
  const record = recordMaker();
  return {
    log,
    store,
    last,
    publish(subtopic: string, text: string): void {
      log.append(0, CHANNEL, record(CHANNEL, subtopic, text), { appended() {}, refused() {} });
      log.commit();
    },
    async text(subtopic: string): Promise<string | undefined> {
      const { message } = await last.last({ org: ORG, channel: CHANNEL, subtopic }, subtopic);
      return message?.payload.toString();
    },
    [Symbol.asyncDispose]: () => delivery.stop(),
  };
}

test('finds what is not processed yet by reading each record once, however many ask', async () => {
  await using place = stage();
  for (let n = 0; n < 500; n++) place.publish(`s${n % 10}`, String(n));
  const texts = await Promise.all(Array.from({ length: 100 }, (_, index) => place.text(`s${index % 10}`)));
  expect(texts.slice(0, 10)).toEqual(['490', '491', '492', '493', '494', '495', '496', '497', '498', '499']);
  // One pass over the log, and the ten messages themselves.
  expect(place.log.peeked.records).toBeLessThanOrEqual(500 + 100);
  const before = place.log.peeked.records;
  expect(await place.text('s3')).toBe('493');
  expect(place.log.peeked.records).toBe(before);
  expect(place.store.asked).toEqual([]);
});

test('always finds what was there when it was asked, while others publish and the processors go on', async () => {
  await using place = stage();
  for (let n = 0; n < 300; n++) {
    place.publish('a', String(n));
    if (n % 7 === 0) place.publish('b', `b${n}`);
    if (n % 50 === 49) place.log.processed = n;
    const asked = place.text('a');
    if (n % 3 === 0) place.publish('c', 'c');
    expect(Number(await asked)).toBeGreaterThanOrEqual(n);
  }
});

test('tells where what follows begins: at once behind the message that it found', async () => {
  await using place = stage();
  place.publish('a', '1');
  place.publish('b', '2');
  const { follows } = await place.last.last({ org: ORG, channel: CHANNEL, subtopic: 'a' }, 'who');
  expect(follows).toEqual({ partition: 0, offset: 2 });
  expect(await place.last.end(CHANNEL)).toEqual(follows);
});

test('asks the store once for what was not there, and again once what is newer has been processed', async () => {
  await using place = stage();
  expect([await place.text('a'), await place.text('a')]).toEqual([undefined, undefined]);
  expect(place.store.asked).toHaveLength(1);
  place.publish('b', 'x');
  expect(await place.text('a')).toBeUndefined();
  expect(place.store.asked).toHaveLength(1);
  // Processed without us having looked: it may have been of this address.
  place.publish('b', 'y');
  place.publish('b', 'z');
  place.log.processed = 3;
  expect(await place.text('a')).toBeUndefined();
  expect(place.store.asked).toHaveLength(2);
});

test('a crowd asks the store once for one address, and a few at a time for many', async () => {
  await using place = stage();
  let [atOnce, atOnceMax] = [0, 0];
  place.store.before = async () => {
    atOnceMax = Math.max(atOnceMax, ++atOnce);
    await new Promise((resolve) => setTimeout(resolve, 2));
    atOnce--;
  };
  await Promise.all(Array.from({ length: 300 }, () => place.text('one')));
  expect(place.store.asked).toHaveLength(1);
  await Promise.all(Array.from({ length: 300 }, (_, index) => place.text(`s${index}`)));
  expect(place.store.asked).toHaveLength(301);
  expect(atOnceMax).toBeLessThanOrEqual(4);
});

test('a question that fails is asked again by the next', async () => {
  await using place = stage();
  place.store.failure = new StoreError('STORE_UNREACHABLE', 'later');
  const failed = await Promise.allSettled([place.text('a'), place.text('a')]);
  expect(failed.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  place.store.failure = null;
  expect(await place.text('a')).toBeUndefined();
});

test('gives nothing of another organisation, and nothing that bears another address', async () => {
  await using place = stage();
  place.publish('a', '1');
  const { message } = await place.last.last({ org: 'another', channel: CHANNEL, subtopic: 'a' }, 'who');
  expect(message).toBeNull();
});

test('when more addresses wait than it remembers, it says so until the processors have come nearer', async () => {
  await using place = stage();
  for (let n = 0; n < 20_000; n++) place.publish(`s${n}`, 'x');
  expect(await place.text('s19999')).toBe('x');
  await expect(place.text('s1')).rejects.toMatchObject({ code: 'COAP_BACKLOG', retry: 'later' });
  place.log.processed = 20_000;
  expect(await place.text('s1')).toBeUndefined();
});
