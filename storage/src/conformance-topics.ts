import { deepEqual, equal, rejects } from 'node:assert/strict';
import type { StreamPage } from '@millrace/core';
import { batchOf } from './testing/batches.ts';
import { type OpenedStore, type Runner, T0 } from './testing/suite.ts';

/** Of no other test. */
const PARTITION = 9;

/** The part of the suite that gives all that is stored in the order of the log.
 *  @see describeStore */
export function describeTopics({ test }: Runner, given: { opened(): OpenedStore }): void {
  const START = { offset: 0, index: 0 };
  async function walk<Row>(ask: (from: typeof START) => Promise<StreamPage<Row>>, before: number): Promise<Row[]> {
    const rows: Row[] = [];
    for (let from = START, pages = 0; from.offset < before; pages++) {
      const page = await ask(from);
      rows.push(...page.rows);
      from = { ...page.next };
      equal(pages < 100, true);
    }
    return rows;
  }

  test('gives readings and dead letters of all organisations in the order of the log, by pages of any size', async () => {
    const payload = Buffer.from('{"n":"x","v":1,"vs":"y"}');
    const messages = Array.from({ length: 6 }, (_, offset) => ({
      org: `org-${offset % 2}`,
      channel: `channel-${offset % 3}`,
      receivedUs: T0 - offset,
      readings: [3, 1, 2].map((value, index) => ({ name: `${9 - index}`, timeUs: T0 - 10 * offset, value })),
      deadLetters: [5, null, 0].map((index) => ({ index, reason: 'many_values', payload })),
    }));
    const { store } = given.opened();
    await store.write('messages', batchOf(0, messages, PARTITION), { verify: false });
    for (const limit of [1, 2, 1_000]) {
      const query = { partition: PARTITION, before: 5, limit };
      const readings = await walk((from) => store.stream.readings({ ...query, from }), 5);
      deepEqual(
        readings.map(({ offset, index, value }) => [offset, index, value]),
        [0, 1, 2, 3, 4].flatMap((offset) => [3, 1, 2].map((value, index) => [offset, index, value])),
      );
      const [{ org, channel, receivedUs, timeNs } = {}] = readings.slice(-1);
      deepEqual([org, channel, receivedUs, timeNs], ['org-0', 'channel-1', String(T0 - 4), `${T0 - 40}000`]);

      const letters = await walk((from) => store.stream.deadLetters({ ...query, from, payloadBytesMax: 7 }), 5);
      deepEqual(
        letters.map(({ offset, index }) => [offset, index]),
        [0, 1, 2, 3, 4].flatMap((offset) => [null, 0, 5].map((index) => [offset, index])),
      );
      const [letter] = letters.slice(-1);
      deepEqual([letter?.org, letter?.reason, letter?.size], ['org-0', 'many_values', payload.length]);
      equal(Buffer.from(letter?.payload ?? []).toString(), '{"n":"x');
    }
    const wrong = { partition: PARTITION, before: 5, from: START, limit: 0 };
    await rejects(store.stream.readings(wrong), /limit/);
  });
}
