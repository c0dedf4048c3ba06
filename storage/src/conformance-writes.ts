import { deepEqual, equal, ok, rejects } from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { StoreError } from '@millrace/core';
import { batchOf, type GivenMessage } from './testing/batches.ts';
import { newest, type OpenedStore, type Runner, T0 } from './testing/suite.ts';

/** The part of the suite that tells ranges again, cuts them short and breaks them.
 *  @see describeStore */
export function describeWrites(
  { test }: Runner,
  given: { opened(): OpenedStore; take(messageCount: number): number },
): void {
  test('writes a range once, however often it is told, rollups and latest included', async () => {
    const messages: GivenMessage[] = Array.from({ length: 20 }, (_, index) => ({
      channel: 'once',
      readings: [
        { name: 'n', timeUs: T0 + index * 1_000_000, value: index },
        { name: 's', timeUs: T0 + index * 1_000_000, stringValue: `s${index}` },
      ],
      payload: randomBytes(10),
      deadLetters: [{ index: 3, reason: 'no_value', payload: Buffer.from('{}') }],
    }));
    const first = given.take(messages.length);
    const batch = batchOf(first, messages);
    for (const verify of [false, false, true, true]) await given.opened().store.write('messages', batch, { verify });
    // The parts of a bisected range.
    const parted = { verify: true, part: true };
    await given.opened().store.write('messages', batchOf(first, messages.slice(0, 10)), parted);
    await given.opened().store.write('messages', batchOf(first + 10, messages.slice(10)), parted);
    const count = async (statement: string): Promise<number> =>
      Number((await given.opened().rows<{ n: string }>(statement))[0]?.n);
    equal(await count("SELECT toString(count()) AS n FROM readings WHERE channel = 'once'"), 40);
    equal(await count("SELECT toString(count()) AS n FROM messages WHERE channel = 'once'"), 20);
    equal(await count("SELECT toString(count()) AS n FROM message_log WHERE channel = 'once'"), 20);
    equal(await count("SELECT toString(count()) AS n FROM dead_letters WHERE channel = 'once'"), 20);
    equal(await count("SELECT toString(sum(count)) AS n FROM readings_1m WHERE channel = 'once'"), 20);
    equal(await count("SELECT toString(sum(count)) AS n FROM readings_1h WHERE channel = 'once'"), 20);
    deepEqual(
      await given
        .opened()
        .rows(
          "SELECT sum(sum) AS sum, min(minimum) AS low, max(maximum) AS high FROM readings_1h WHERE channel = 'once'",
        ),
      [{ sum: 190, low: 0, high: 19 }],
    );
    deepEqual(
      await given.opened().rows("SELECT name, value, string_value FROM latest WHERE channel = 'once' ORDER BY name"),
      [
        { name: 'n', value: 19, string_value: '' },
        { name: 's', value: null, string_value: 's19' },
      ],
    );
  });

  test('keeps a batch that spans two months, once', async () => {
    const edge = Date.UTC(2026, 11, 1) * 1_000;
    const messages = [-2, -1, 0, 1].map((each) => ({
      channel: 'edge',
      receivedUs: edge + each,
      readings: [{ name: 'n', timeUs: edge + each, value: 1 }],
    }));
    const batch = batchOf(given.take(messages.length), messages);
    for (const verify of [false, false, true]) await given.opened().store.write('messages', batch, { verify });
    equal((await given.opened().store.readings(newest('edge', { total: 'exact' }))).total, 4);
    const [counted] = await given
      .opened()
      .rows<{ n: string }>("SELECT toString(sum(count)) AS n FROM readings_1h WHERE channel = 'edge'");
    equal(Number(counted?.n), 4);
  });

  test('refuses what the engine will never take, and says so', async () => {
    const first = given.take(1);
    const good = batchOf(first, [{ channel: 'refused', readings: [{ name: 'n', timeUs: T0, value: 1 }] }]);
    const bytes = Uint8Array.from(good.blocks.readings.bytes);
    for (const broken of [
      bytes.subarray(0, bytes.length - 4),
      bytes.map((byte, index) => (index < 40 ? 0xff : byte)),
    ]) {
      const batch = { ...good, blocks: { ...good.blocks, readings: { rowCount: 1, bytes: broken } } };
      await rejects(given.opened().store.write('messages', batch, { verify: false }), (error) => {
        ok(error instanceof StoreError);
        deepEqual([error.code, error.retry], ['STORE_REFUSED', 'never'], String(error.cause));
        return true;
      });
    }
    const months = Array.from({ length: 150 }, (_, index) => ({
      receivedUs: Date.UTC(1990, index, 1) * 1_000,
      channel: 'refused',
      readings: [{ name: 'n', timeUs: T0, value: 1 }],
    }));
    await rejects(given.opened().store.write('messages', batchOf(first, months), { verify: false }), {
      code: 'STORE_REFUSED',
    });
    await given.opened().store.write('messages', good, { verify: false });
    equal((await given.opened().store.readings(newest('refused', { total: 'exact' }))).total, 1);
  });

  test('finishes a range that was cut short between two tables', async () => {
    const messages = [{ channel: 'cut', readings: [{ name: 'n', timeUs: T0, value: 1 }], payload: randomBytes(9) }];
    const batch = batchOf(given.take(messages.length), messages);
    const broken = { rowCount: 1, bytes: Uint8Array.from(batch.blocks.message_log.bytes).fill(0xff) };
    const cut = { ...batch, blocks: { ...batch.blocks, message_log: broken } };
    await rejects(given.opened().store.write('messages', cut, { verify: false }), { code: 'STORE_REFUSED' });
    for (const verify of [true, true]) await given.opened().store.write('messages', batch, { verify });
    for (const [expression, table] of [
      ['count()', 'readings'],
      ['count()', 'messages'],
      ['count()', 'message_log'],
      ['sum(count)', 'readings_1h'],
    ])
      deepEqual(await given.opened().rows(`SELECT toUInt8(${expression}) AS n FROM ${table} WHERE channel = 'cut'`), [
        { n: 1 },
      ]);
  });

  test('writes the parts of a range of which some tables took their rows before another refused', async () => {
    const alive: GivenMessage = {
      channel: 'split',
      readings: [{ name: 'n', timeUs: T0, value: 0 }],
      payload: randomBytes(9),
      deadLetters: [{ index: 3, reason: 'no_value', payload: Buffer.from('{}') }],
    };
    const culprit: GivenMessage = { channel: 'split', readings: [], payload: randomBytes(9) };
    const buried = {
      channel: 'split',
      deadLetters: [{ index: null, reason: 'store_refused', payload: randomBytes(9) }],
    };
    const first = given.take(2);
    const whole = batchOf(first, [alive, culprit]);
    const broken = { rowCount: 2, bytes: Uint8Array.from(whole.blocks.message_log.bytes).fill(0xff) };
    const cut = { ...whole, blocks: { ...whole.blocks, message_log: broken } };
    await rejects(given.opened().store.write('messages', cut, { verify: false }), { code: 'STORE_REFUSED' });
    for (const [index, message] of [alive, buried as GivenMessage].entries())
      for (let told = 0; told < 2; told++) {
        const part = batchOf(first + index, [message]);
        await given.opened().store.write('messages', part, { verify: true, part: true });
      }
    for (const [expression, table, n] of [
      ['count()', 'readings', 1],
      ['count()', 'messages', 2],
      ['count()', 'dead_letters', 2],
      ['count()', 'message_log', 2],
      ['sum(count)', 'readings_1m', 1],
    ])
      deepEqual(await given.opened().rows(`SELECT toUInt8(${expression}) AS n FROM ${table} WHERE channel = 'split'`), [
        { n },
      ]);
  });

  test('begins no insert that its fence does not let pass', async () => {
    const messages = [{ channel: 'fenced', readings: [{ name: 'n', timeUs: T0, value: 1 }], payload: randomBytes(9) }];
    const batch = batchOf(given.take(1), messages);
    let passed = 0;
    const fence = async (): Promise<void> => {
      if (++passed > 1) throw new Error('the range is lost');
    };
    await rejects(given.opened().store.write('messages', batch, { verify: false, fence }));
    equal(passed, 2);
    for (const [table, n] of [
      ['readings', 1],
      ['messages', 0],
      ['message_log', 0],
    ])
      deepEqual(await given.opened().rows(`SELECT toUInt8(count()) AS n FROM ${table} WHERE channel = 'fenced'`), [
        { n },
      ]);
    await given.opened().store.write('messages', batch, { verify: true });
  });
}
