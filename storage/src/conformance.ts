import { deepEqual, equal, ok, rejects } from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type ReadingsQuery, type ReadingsStore, uuidV7 } from '@millrace/core';
import { describeFates } from './conformance-fates.ts';
import { describeQuestions } from './conformance-questions.ts';
import { describeTopics } from './conformance-topics.ts';
import { describeWrites } from './conformance-writes.ts';
import { batchOf, type GivenMessage } from './testing/batches.ts';
import { newest, type OpenedStore, type Runner, T0 } from './testing/suite.ts';

/** What every ReadingsStore keeps, whatever is below it. */
export function describeStore(runner: Runner, name: string, open: () => Promise<OpenedStore>): void {
  const { describe, test, beforeAll, afterAll } = runner;
  describe(`store: ${name}`, () => {
    let opened: OpenedStore;
    let store: ReadingsStore;
    let next = 0;
    /** Each batch takes the range that follows. */
    const take = (messageCount: number): number => {
      next += messageCount;
      return next - messageCount;
    };
    const write = async (messages: readonly GivenMessage[]): Promise<void> =>
      store.write('messages', batchOf(take(messages.length), messages), { verify: false });
    beforeAll(async () => {
      opened = await open();
      store = opened.store;
    });
    afterAll(() => opened?.close());

    test('gives back at once what was written, every kind, zero and false included', async () => {
      const data = Uint8Array.from({ length: 256 }, (_, index) => index);
      await write([
        {
          channel: 'kinds',
          subtopic: 'a/b',
          publisher: 'p1',
          readings: [
            { name: 'zero', timeUs: T0 + 1, unit: 'Cel', value: 0, updateTime: 0 },
            { name: 'false', timeUs: T0 + 2, boolValue: false },
            { name: 'empty', timeUs: T0 + 3, stringValue: '' },
            { name: 'text', timeUs: T0 + 4, stringValue: "naïve\n\t'\\ \u0000 ✓" },
            { name: 'data', timeUs: T0 + 5, dataValue: data },
            { name: 'sum', timeUs: T0 + 6, sum: 0 },
            { name: 'exact', timeUs: T0 + 7, value: 0.1 + 0.2, sum: 1e300 },
          ],
        },
      ]);
      const page = await store.readings(newest('kinds', { direction: 'asc' }));
      const base = { channel: 'kinds', subtopic: 'a/b', publisher: 'p1', protocol: 'mqtt', unit: '' };
      const at = (us: number): string => `${T0 + us}000`;
      deepEqual(page.readings, [
        { ...base, name: 'zero', unit: 'Cel', timeNs: at(1), value: 0, updateTime: 0 },
        { ...base, name: 'false', timeNs: at(2), boolValue: false },
        { ...base, name: 'empty', timeNs: at(3), stringValue: '' },
        { ...base, name: 'text', timeNs: at(4), stringValue: "naïve\n\t'\\ \u0000 ✓" },
        { ...base, name: 'data', timeNs: at(5), dataValue: Buffer.from(data).toString('base64url') },
        { ...base, name: 'sum', timeNs: at(6), sum: 0 },
        { ...base, name: 'exact', timeNs: at(7), value: 0.1 + 0.2, sum: 1e300 },
      ]);
      equal(page.cursor, undefined);
      equal(page.total, 7);
    });

    test('filters by each field and comparator', async () => {
      const names = async (more: Partial<ReadingsQuery>): Promise<string> =>
        (await store.readings(newest('kinds', { direction: 'asc', ...more }))).readings.map((each) => each.name).join();
      equal(await names({ value: { comparator: 'eq', operand: 0 } }), 'zero');
      equal(await names({ value: { comparator: 'gt', operand: 0 } }), 'exact');
      equal(await names({ value: { comparator: 'ge', operand: 0 } }), 'zero,exact');
      equal(await names({ value: { comparator: 'lt', operand: 0.3 } }), 'zero');
      equal(await names({ value: { comparator: 'le', operand: 0.1 + 0.2 } }), 'zero,exact');
      equal(await names({ boolValue: false }), 'false');
      equal(await names({ boolValue: true }), '');
      equal(await names({ stringValue: { comparator: 'eq', operand: '' } }), 'empty');
      equal(await names({ stringValue: { comparator: 'gt', operand: 'a' } }), 'text');
      equal(await names({ stringValue: { comparator: 'contains', operand: 've\n' } }), 'text');
      equal(await names({ stringValue: { comparator: 'contains', operand: 've%' } }), '');
      equal(await names({ stringValue: { comparator: 'eq', operand: "naïve\n\t'\\ \u0000 ✓" } }), 'text');
      equal(
        await names({ dataValue: Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString('base64url') }),
        'data',
      );
      equal(await names({ name: 'sum' }), 'sum');
      equal(await names({ subtopic: '' }), '');
      equal(await names({ subtopic: 'a/b', publisher: 'p1', protocol: 'mqtt', name: 'zero' }), 'zero');
      equal(await names({ publisher: 'p2' }), '');
      equal(await names({ fromUs: BigInt(T0 + 3), toUs: BigInt(T0 + 5) }), 'empty,text');
      equal(await names({ fromUs: -(2n ** 62n), toUs: 2n ** 62n, name: 'zero' }), 'zero');
      equal(await names({ org: 'other' } as Partial<ReadingsQuery>), '');
    });

    test('takes hostile text for text', async () => {
      for (const text of [
        "' OR 1=1 --",
        '\\',
        "\\'",
        '{org:String}',
        '\u0000',
        '%',
        '\n',
        '"; DROP TABLE readings; --',
      ])
        for (const field of ['name', 'subtopic', 'publisher', 'protocol', 'channel'] as const)
          deepEqual((await store.readings(newest('kinds', { [field]: text }))).readings, []);
      await rejects(store.readings(newest('kinds', { dataValue: '!!' })), { code: 'STORE_QUERY_INVALID' });
      await rejects(store.readings(newest('kinds', { value: { comparator: 'eq', operand: Number.NaN } })), {
        code: 'STORE_QUERY_INVALID',
      });
      await rejects(store.readings(newest('kinds', { limit: 1_001 })), { code: 'STORE_QUERY_INVALID' });
      for (const cursor of ['', 'x', '!', Buffer.from('[1]').toString('base64url'), 'a'.repeat(10_000)])
        await rejects(store.readings(newest('kinds', { cursor })), { code: 'STORE_QUERY_INVALID' });
    });

    test('pages by cursor without gap or repetition, ties included, while newer readings arrive', async () => {
      const pack = (from: number): GivenMessage => ({
        channel: 'paged',
        readings: Array.from({ length: 10 }, (_, index) => ({
          name: `n${index % 3}`,
          timeUs: T0 + Math.floor((from + index) / 4),
          value: from + index,
        })),
      });
      await write(Array.from({ length: 5 }, (_, index) => pack(index * 10)));
      for (const order of ['time', 'name'] as const)
        for (const direction of ['asc', 'desc'] as const) {
          const seen: number[] = [];
          let cursor: string | undefined;
          for (let page = 0; page < 30; page++) {
            const got = await store.readings(
              newest('paged', { order, direction, limit: 7, ...(cursor === undefined ? {} : { cursor }) }),
            );
            seen.push(...got.readings.map((each) => each.value ?? -1));
            cursor = got.cursor;
            if (cursor === undefined) break;
            if (order === 'time' && direction === 'desc' && page === 1)
              await write([{ channel: 'paged', readings: [{ name: 'new', timeUs: T0 + 1_000_000, value: 1_000 }] }]);
          }
          const old = seen.filter((value) => value < 1_000);
          equal(old.length, 50, `${order} ${direction}`);
          equal(new Set(old).size, 50, `${order} ${direction}`);
          if (order === 'time')
            deepEqual(old, direction === 'asc' ? old.toSorted((a, b) => a - b) : old.toSorted((a, b) => b - a));
          const other = { order, direction: direction === 'asc' ? ('desc' as const) : ('asc' as const) };
          const first = await store.readings(newest('paged', { order, direction, limit: 1 }));
          await rejects(store.readings(newest('paged', { ...other, cursor: first.cursor ?? '' })), {
            code: 'STORE_QUERY_INVALID',
          });
        }
    });

    test('counts only when asked', async () => {
      const estimate = await store.readings(newest('paged', { limit: 5 }));
      deepEqual([estimate.total, estimate.totalExact], [6, false]);
      const exact = await store.readings(newest('paged', { limit: 5, offset: 10, total: 'exact' }));
      deepEqual([exact.total, exact.totalExact, exact.offset, exact.limit], [51, true, 10, 5]);
      equal(exact.readings.length, 5);
    });

    test('keeps times before 1970 and far ahead, and rolls them up apart', async () => {
      const times = [Date.UTC(1901, 0, 1) * 1_000, -1, 0, Date.UTC(2261, 0, 1) * 1_000];
      await write([{ channel: 'eras', readings: times.map((timeUs, value) => ({ name: 'n', timeUs, value })) }]);
      const page = await store.readings(newest('eras', { direction: 'asc' }));
      deepEqual(
        page.readings.map((each) => each.timeNs),
        times.map((each) => String(BigInt(each) * 1_000n)),
      );
      const buckets = await opened.rows<{ seconds: string }>(
        "SELECT toString(toInt64(bucket)) AS seconds FROM readings_1m WHERE channel = 'eras' ORDER BY bucket",
      );
      deepEqual(
        buckets.map((each) => Number(each.seconds)),
        times.map((us) => Math.floor(us / 60_000_000) * 60),
      );
    });

    describeWrites(runner, { opened: () => opened, take });
    describeFates(runner, { opened: () => opened, take });
    describeTopics(runner, { opened: () => opened });
    describeQuestions(runner, { opened: () => opened, take });

    test('deletes what has expired, and nothing else', async () => {
      const nowS = Math.floor(Date.now() / 1_000);
      const messages = [nowS - 60, nowS + 86_400, undefined].map((expiresS, index) => ({
        id: uuidV7(T0 / 1_000 + index),
        channel: 'passing',
        readings: [{ name: `n${index}`, timeUs: T0 + index, value: index }],
        payload: Buffer.from(`payload ${index}`),
        deadLetters: [{ index, reason: 'no_value', payload: Buffer.from('{}') }],
        ...(expiresS === undefined ? {} : { expiresS }),
      }));
      await write(messages);
      const tables = ['readings', 'messages', 'dead_letters', 'message_log'];
      for (const table of tables) await opened.rows(`OPTIMIZE TABLE ${table} FINAL`);
      const page = await store.readings(newest('passing', { direction: 'asc' }));
      deepEqual(
        page.readings.map((each) => each.name),
        ['n1', 'n2'],
      );
      equal(await store.payload(messages[0]?.id ?? ''), null);
      ok((await store.payload(messages[1]?.id ?? '')) !== null);
      const dead = await store.deadLetters({ org: 'acme', channel: 'passing', offset: 0, limit: 10 });
      deepEqual(dead.deadLetters.map((each) => each.index).toSorted(), [1, 2]);
      // What became of it is known still, so its range is not written again.
      equal((await store.fate(messages[0]?.id ?? ''))?.stored, 'readings');
    });

    test('gives payloads back byte for byte, and lists them newest first', async () => {
      const given = Array.from({ length: 5 }, (_, index) => ({
        id: uuidV7(T0 / 1_000 + index),
        channel: 'blobs',
        receivedUs: T0 + index,
        payload: index === 0 ? new Uint8Array(0) : randomBytes(10 ** index),
      }));
      await write(given);
      for (const { id, payload } of given) {
        const stored = await store.payload(id);
        deepEqual(Buffer.from(stored?.bytes ?? []), Buffer.from(payload));
        deepEqual([stored?.org, stored?.channel, stored?.size], ['acme', 'blobs', payload.length]);
      }
      equal(await store.payload(uuidV7()), null);
      equal(await store.payload('nonsense'), null);
      const page = await store.payloads({ org: 'acme', channel: 'blobs', offset: 1, limit: 3 });
      deepEqual(
        page.payloads.map((each) => each.id),
        [3, 2, 1].map((index) => given[index]?.id),
      );
      deepEqual([page.total, page.totalExact], [5, false]);
      deepEqual((await store.payloads({ org: 'other', channel: 'blobs', offset: 0, limit: 3 })).payloads, []);
    });

    test('finds the last message of a channel and subtopic, whatever became of it, by its place on the log', async () => {
      const of = { org: 'last-org', channel: 'last', subtopic: 'a' };
      equal(await store.lastMessage(of), null);
      const ids = Array.from({ length: 6 }, () => uuidV7());
      const reading = { name: 'x', timeUs: T0, value: 1 };
      await write([
        { ...of, id: ids[0] as string, readings: [reading] },
        { ...of, id: ids[1] as string, payload: Buffer.from('blob') },
        { ...of, id: ids[2] as string, subtopic: '', readings: [reading] },
        { ...of, id: ids[3] as string, org: 'another', readings: [reading] },
        { ...of, id: ids[4] as string, channel: 'another', readings: [reading] },
      ]);
      const found = await store.lastMessage(of);
      equal(found?.id, ids[1]);
      equal(found?.stored, 'payload');
      equal((await store.lastMessage({ ...of, subtopic: '' }))?.id, ids[2]);
      // A node whose clock is behind: older by its id, later on the log.
      const behind = '01890000-0000-7000-8000-0000000000aa';
      await write([{ ...of, id: behind, readings: [reading] }]);
      equal((await store.lastMessage(of))?.id, behind);
      equal((await store.lastMessage(of))?.offset, (found?.offset ?? 0) + 4);
    });

    test('tells a message’s fate and lists dead letters by org, channel, message and reason', async () => {
      const id = uuidV7(T0 / 1_000);
      const payload = randomBytes(300);
      await write([
        {
          channel: 'dead',
          org: 'late',
          receivedUs: T0 - 1_000,
          deadLetters: [{ index: 2, reason: 'no_value', payload }],
        },
        { channel: 'dead', org: 'late', id, deadLetters: [{ index: null, reason: 'malformed_json', payload }] },
      ]);
      const fate = await store.fate(id);
      deepEqual(fate, {
        id,
        org: 'late',
        channel: 'dead',
        subtopic: '',
        publisher: 'thing',
        protocol: 'mqtt',
        contentType: 'application/senml+json',
        receivedUs: String(T0),
        size: 0,
        partition: 0,
        offset: next - 1,
        decision: 'admitted',
        readings: 0,
        deadLetters: 1,
        stored: 'nothing',
        reason: 'malformed_json',
      });
      equal(await store.fate(uuidV7()), null);
      equal(await store.fate("' OR 1=1"), null);
      const list = { org: 'late', offset: 0, limit: 10 } as const;
      const all = await store.deadLetters(list);
      deepEqual(
        all.deadLetters.map((each) => [each.index, each.reason]),
        [
          [null, 'malformed_json'],
          [2, 'no_value'],
        ],
      );
      const [first] = all.deadLetters;
      deepEqual(Buffer.from(first?.payload ?? []), payload);
      deepEqual([first?.message, first?.offset, first?.detail], [id, next - 1, 'as told']);
      equal((await store.deadLetters({ ...list, message: id })).deadLetters.length, 1);
      equal((await store.deadLetters({ ...list, reason: 'no_value' })).deadLetters.length, 1);
      equal((await store.deadLetters({ ...list, channel: 'none' })).deadLetters.length, 0);
      equal((await store.deadLetters({ ...list, org: 'none' })).deadLetters.length, 0);
      ok((await store.deadLetters({ ...list, org: null, channel: 'dead' })).deadLetters.length >= 2);
    });

    test('says that it is healthy', async () => {
      equal(await store.health(), null);
    });
  });
}
