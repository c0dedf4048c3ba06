import { deepEqual, equal, rejects } from 'node:assert/strict';
import { parseUuid, uuidText, uuidV7, writeUuidV7 } from '@millrace/core';
import { batchOf, type GivenMessage } from './testing/batches.ts';
import type { OpenedStore, Runner } from './testing/suite.ts';

const SECOND_US = 1_000_000;

/** The part of the suite that asks why messages are not there.
 *  @see describeStore */
export function describeFates(
  { test }: Runner,
  given: { opened(): OpenedStore; take(messageCount: number): number },
): void {
  const write = async (messages: readonly GivenMessage[]): Promise<void> =>
    given.opened().store.write('messages', batchOf(given.take(messages.length), messages), { verify: false });
  const nowUs = Math.floor(Date.now() / 1_000) * SECOND_US;
  const payload = Buffer.from('{"n":"x"}');

  test('pages dead letters and payloads by cursor, without gap or repetition while new ones arrive', async () => {
    const dead = (from: number): GivenMessage[] =>
      Array.from({ length: 5 }, (_, message) => ({
        org: 'pages',
        channel: 'c',
        // Several have the same time of reception.
        receivedUs: nowUs + Math.floor((from + message) / 3),
        payload,
        deadLetters: [null, 0, 7].map((index) => ({ index, reason: 'no_value', payload })),
      }));
    let newer = 0;
    await write(dead(newer));
    const { store } = given.opened();
    const walk = async (
      page: (cursor: string | undefined) => Promise<{ keys: readonly string[]; cursor?: string | undefined }>,
    ): Promise<string[]> => {
      const seen: string[] = [];
      let cursor: string | undefined;
      for (let count = 0; count < 20; count++) {
        const got = await page(cursor);
        seen.push(...got.keys);
        cursor = got.cursor;
        if (cursor === undefined) break;
        if (count > 0) continue;
        newer += 1_000;
        await write(dead(newer));
      }
      return seen;
    };
    const letters = await walk(async (cursor) => {
      const more = cursor === undefined ? {} : { cursor };
      const got = await store.deadLetters({ org: 'pages', offset: 0, limit: 4, ...more });
      return { keys: got.deadLetters.map(({ message, index }) => `${message} ${index}`), cursor: got.cursor };
    });
    equal(letters.length, 15);
    equal(new Set(letters).size, 15);
    const payloads = await walk(async (cursor) => {
      const more = cursor === undefined ? {} : { cursor };
      const got = await store.payloads({ org: 'pages', channel: 'c', offset: 0, limit: 3, ...more });
      return { keys: got.payloads.map(({ id }) => id), cursor: got.cursor };
    });
    equal(payloads.length, 10);
    equal(new Set(payloads).size, 10);
    for (const cursor of ['', 'x', Buffer.from('[2]').toString('base64url'), 'a'.repeat(10_000)]) {
      const more = { offset: 0, limit: 1, cursor };
      await rejects(store.deadLetters({ org: 'pages', ...more }), { code: 'STORE_QUERY_INVALID' });
      await rejects(store.payloads({ org: 'pages', channel: 'c', ...more }), { code: 'STORE_QUERY_INVALID' });
    }
  });

  test('finds dead letters by publisher, time and messages, and gives of a payload what is asked for', async () => {
    const ids = [uuidV7(), uuidV7()] as const;
    const dead = [{ index: null, reason: 'malformed_json', payload: Buffer.from('0123456789') }];
    await write([
      { org: 'found', id: ids[0], publisher: 'p1', receivedUs: nowUs, deadLetters: dead },
      { org: 'found', id: ids[1], publisher: 'p2', receivedUs: nowUs + 10, deadLetters: dead },
    ]);
    const { store } = given.opened();
    const list = { org: 'found', offset: 0, limit: 10 } as const;
    const found = async (more: object): Promise<string[]> =>
      (await store.deadLetters({ ...list, ...more })).deadLetters.map(({ message }) => message);
    deepEqual(await found({ publisher: 'p1' }), [ids[0]]);
    deepEqual(await found({ fromUs: BigInt(nowUs + 10) }), [ids[1]]);
    deepEqual(await found({ toUs: BigInt(nowUs + 10) }), [ids[0]]);
    deepEqual(await found({ fromUs: -(2n ** 70n), toUs: 2n ** 70n }), [ids[1], ids[0]]);
    deepEqual(await found({ messages: [ids[0]] }), [ids[0]]);
    deepEqual(await found({ messages: [] }), []);
    deepEqual(await found({ message: "' OR 1" }), []);
    const [cut] = (await store.deadLetters({ ...list, message: ids[1], payloadBytesMax: 4 })).deadLetters;
    deepEqual([Buffer.from(cut?.payload ?? []).toString(), cut?.size], ['0123', 10]);
  });

  test('tells a channel’s activity: of what windows, whose, and of what came of it', async () => {
    const idAt = (us: number): string => {
      const bytes = parseUuid(uuidV7()) as Uint8Array;
      const at = new Uint8Array(16);
      writeUuidV7(at, 0, 0);
      bytes.set(at.subarray(6), 6);
      Buffer.from(bytes.buffer).writeUIntBE(Math.floor(us / 1_000), 0, 6);
      return uuidText(bytes);
    };
    const at = (secondsAgo: number, more: GivenMessage = {}): GivenMessage => {
      const receivedUs = nowUs - secondsAgo * SECOND_US;
      return { org: 'busy', channel: 'c', publisher: 'p1', receivedUs, id: idAt(receivedUs), ...more };
    };
    const readings = [0, 1].map((value) => ({ name: 'n', timeUs: nowUs + value, value }));
    const last = at(10, { readings });
    const bad = { index: null, reason: 'malformed_json', payload };
    const badRecord = { index: 4, reason: 'no_value', payload };
    const messages = [
      at(80_000, { readings }),
      at(3_000, { deadLetters: [bad] }),
      at(300, { publisher: 'p2', readings, deadLetters: [badRecord] }),
      at(20),
      last,
    ];
    // Each in a batch of its own: a batch is of one month.
    for (const message of messages) await write([message]);
    await write([at(5, { channel: 'other' }), at(5, { org: 'others' })]);
    const { store } = given.opened();
    const activity = await store.activity({ org: 'busy', channel: 'c', nowUs: BigInt(nowUs) });
    deepEqual(
      activity.windows.map(({ seconds, messages: count, readings: read }) => [seconds, count, read]),
      [
        [60, 2, 2],
        [900, 3, 4],
        [3_600, 4, 4],
        [86_400, 5, 6],
      ],
    );
    const [, , hour] = activity.windows;
    deepEqual(hour?.dropped, { nothing: 1 });
    deepEqual(hour?.deadMessages, { malformed_json: 1 });
    deepEqual(hour?.deadRecords, { no_value: 1 });
    deepEqual(
      activity.publishers.map(({ publisher, messages: count, dead }) => [publisher, count, dead]),
      [
        ['p1', 4, 1],
        ['p2', 1, 0],
      ],
    );
    equal(activity.publishers[0]?.lastUs, String(nowUs - 10 * SECOND_US));
    equal(activity.publisherCount, 2);
    deepEqual(activity.contentTypes, [{ type: 'application/senml+json', messages: 5 }]);
    equal(activity.last?.id, last.id);
    // Long after, what came last is found all the same.
    const later = await store.activity({ org: 'busy', channel: 'c', nowUs: BigInt(nowUs + 900_000 * SECOND_US) });
    deepEqual([later.windows.map((each) => each.messages), later.last?.id], [[0, 0, 0, 0], last.id]);
    const silent = await store.activity({ org: 'busy', channel: 'never', nowUs: BigInt(nowUs) });
    deepEqual([silent.last, silent.publishers, silent.publisherCount], [null, [], 0]);
  });
}
