import { deepEqual, equal, ok, rejects } from 'node:assert/strict';
import type { AnswerFormat, LatestQuery, RowsQuestion, StreamOptions } from '@millrace/core';
import { batchOf, type GivenMessage } from './testing/batches.ts';
import { type OpenedStore, type Runner, T0 } from './testing/suite.ts';

/** The part of the suite that asks for rows and latest values of many series.
 *  @see describeStore */
export function describeQuestions(
  { test, beforeAll }: Runner,
  given: { opened(): OpenedStore; take(messageCount: number): number },
): void {
  const write = async (messages: readonly GivenMessage[]): Promise<void> =>
    given.opened().store.write('messages', batchOf(given.take(messages.length), messages), { verify: false });
  const org = 'asked';
  const bytesOf = async (question: Partial<RowsQuestion>, more: Partial<StreamOptions> = {}): Promise<Buffer> => {
    const rows = given
      .opened()
      .store.questions.rows(
        { org, channels: ['kinds'], order: 'time', direction: 'asc', ...question },
        { format: 'ndjson', signal: new AbortController().signal, urgency: 'interactive', ...more },
      );
    const parts: Uint8Array[] = [];
    for await (const part of rows) parts.push(part);
    return Buffer.concat(parts);
  };
  const linesOf = (bytes: Uint8Array): Record<string, unknown>[] =>
    Buffer.from(bytes)
      .toString('utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const latest = async (query: Partial<LatestQuery>) => {
    const page = await given.opened().store.questions.latest({ org, channels: ['kinds'], limit: 100, ...query });
    const rows = linesOf(page.lines);
    equal(rows.length, page.count);
    return { rows, cursor: page.cursor };
  };
  const hostile = 'naïve\n\t\'"\\/ \u0000\u001f,; ✓';

  beforeAll(async () => {
    await write([
      {
        org,
        channel: 'kinds',
        subtopic: 'a/b',
        publisher: 'p1',
        readings: [
          { name: 'number', timeUs: T0 + 1, unit: 'Cel', value: 1.5, updateTime: 0, sum: 2 },
          { name: 'false', timeUs: T0 + 2, boolValue: false },
          { name: 'text', timeUs: T0 + 3, stringValue: hostile },
          { name: 'data', timeUs: T0 + 4, dataValue: Uint8Array.of(0, 255, 254) },
          { name: 'early', timeUs: -1_500_001, value: 0 },
          { name: hostile, timeUs: T0 + 5, value: -1e300 },
        ],
      },
      { org: 'others', channel: 'kinds', readings: [{ name: 'number', timeUs: T0 + 9, value: 9 }] },
    ]);
    await write([
      {
        org,
        channel: 'many',
        readings: Array.from({ length: 50 }, (_, at) => ({ name: `n${at % 7}`, timeUs: T0 + at, value: at })),
      },
      { org, channel: 'many', publisher: 'p9', readings: [{ name: 'n0', timeUs: T0, stringValue: 'off' }] },
    ]);
    // Late, older than what is there; and of another kind and unit, newer.
    await write([
      { org, channel: 'many', readings: [{ name: 'n1', timeUs: T0 - 10, value: -1 }] },
      { org, channel: 'many', readings: [{ name: 'n2', timeUs: T0 + 100, boolValue: true }] },
      { org, channel: 'many', readings: [{ name: 'n3', timeUs: T0 + 100, unit: 'K', value: 300 }] },
    ]);
  });

  test('streams rows as lines of JSON, every kind, what is absent left out', async () => {
    const shared = { channel: 'kinds', subtopic: 'a/b', publisher: 'p1', protocol: 'mqtt' };
    const at = (us: number): number => (T0 + us) / 1e6;
    deepEqual(linesOf(await bytesOf({})), [
      { ...shared, name: 'early', time: -1.500001, value: 0 },
      { ...shared, name: 'number', unit: 'Cel', time: at(1), update_time: 0, value: 1.5, sum: 2 },
      { ...shared, name: 'false', time: at(2), bool_value: false },
      { ...shared, name: 'text', time: at(3), string_value: hostile },
      { ...shared, name: 'data', time: at(4), data_value: 'AP_-' },
      { ...shared, name: hostile, time: at(5), value: -1e300 },
    ]);
  });

  test('writes the times of lines as asked for, rounded down also before 1970', async () => {
    const times = async (time: NonNullable<StreamOptions['time']>) =>
      (await bytesOf({ names: ['early', 'number'] }, { time }))
        .toString()
        .match(/(?<="time":)[^,]+/g)
        ?.join(' ');
    equal(await times('s'), `-1.500001 ${(T0 + 1) / 1e6}`);
    equal(await times('ms'), `-1501 ${T0 / 1e3}`);
    equal(await times('us'), `-1500001 ${T0 + 1}`);
    equal(await times('ns'), `-1500001000 ${T0 + 1}000`);
    equal(await times('rfc3339'), '"1969-12-31T23:59:58.499999Z" "2026-11-21T12:00:00.000001Z"');
  });

  test('selects, orders and limits rows over several channels', async () => {
    const values = async (more: Partial<RowsQuestion>): Promise<string> =>
      linesOf(await bytesOf({ channels: ['many', 'kinds'], ...more }))
        .map(({ value }) => value)
        .join();
    const mixed = { names: ['n0', 'number'], publishers: ['p1', 'thing'], limit: 3 };
    equal(await values(mixed), '0,1.5,7');
    equal(await values({ ...mixed, direction: 'desc' }), '49,42,35');
    equal(await values({ names: ['n1', 'n2'], order: 'name', limit: 4 }), '-1,1,8,15');
    equal(await values({ namePrefix: 'n', fromUs: BigInt(T0 + 6), toUs: BigInt(T0 + 8) }), '6,7');
    equal(await values({ value: { comparator: 'eq', operand: 0 }, order: 'time' }), '0,0');
    equal(await values({ names: [] }), '');
    equal(await values({ channels: [] }), '');
  });

  test('writes CSV, Arrow and Parquet', async () => {
    const csv = (await bytesOf({ names: ['number', 'false', 'data'] }, { format: 'csv' })).toString();
    deepEqual(csv.split('\n'), [
      '"channel","subtopic","publisher","protocol","name","unit","time","value","string_value","bool_value","data_value","sum","update_time"',
      '"kinds","a/b","p1","mqtt","number","Cel","2026-11-21T12:00:00.000001Z",1.5,,,,2,0',
      '"kinds","a/b","p1","mqtt","false","","2026-11-21T12:00:00.000002Z",,,false,,,',
      '"kinds","a/b","p1","mqtt","data","","2026-11-21T12:00:00.000004Z",,,,"AP_-",,',
      '',
    ]);
    const begins: Readonly<Record<string, string>> = {
      arrow: 'ffffffff',
      parquet: Buffer.from('PAR1').toString('hex'),
    };
    for (const [format, begin] of Object.entries(begins))
      equal((await bytesOf({}, { format: format as AnswerFormat })).subarray(0, 4).toString('hex'), begin);
  });

  test('gives the latest of each series, whatever its kind, unit and order of arrival', async () => {
    const { rows } = await latest({ channels: ['many'], publishers: ['thing'] });
    deepEqual(
      rows.map(({ name, unit, time, value, bool_value }) => [name, unit, time, value ?? bool_value]),
      [
        ['n0', undefined, (T0 + 49) / 1e6, 49],
        ['n1', undefined, (T0 + 43) / 1e6, 43],
        ['n2', undefined, (T0 + 100) / 1e6, true],
        ['n3', 'K', (T0 + 100) / 1e6, 300],
        ['n4', undefined, (T0 + 46) / 1e6, 46],
        ['n5', undefined, (T0 + 47) / 1e6, 47],
        ['n6', undefined, (T0 + 48) / 1e6, 48],
      ],
    );
    deepEqual((await latest({ names: ['text'] })).rows, [
      { channel: 'kinds', subtopic: 'a/b', publisher: 'p1', name: 'text', time: (T0 + 3) / 1e6, string_value: hostile },
    ]);
    deepEqual((await latest({ names: ['number'] })).rows[0]?.value, 1.5);
    equal((await latest({ subtopics: [''] })).rows.length, 0);
    equal((await latest({ channels: [] })).rows.length, 0);
  });

  test('pages latest values by cursor, hostile names included', async () => {
    const seen: unknown[] = [];
    let cursor: string | undefined;
    for (let page = 0; page < 20; page++) {
      const found = await latest({
        channels: ['many', 'kinds'],
        limit: 3,
        ...(cursor === undefined ? {} : { cursor }),
      });
      seen.push(...found.rows.map(({ channel, name, publisher }) => [channel, name, publisher].join('|')));
      cursor = found.cursor;
      if (cursor === undefined) break;
    }
    const whole = (await latest({ channels: ['many', 'kinds'] })).rows;
    deepEqual(
      seen,
      whole.map(({ channel, name, publisher }) => [channel, name, publisher].join('|')),
    );
    equal(seen.length, 14);
    ok(seen.includes(`kinds|${hostile}|p1`));
    for (const wrong of ['', '!', 'W10', Buffer.from('[1,"a"]').toString('base64url')])
      await rejects(latest({ cursor: wrong }), { code: 'STORE_QUERY_INVALID' });
    await rejects(latest({ limit: 100_001 }), { code: 'STORE_QUERY_INVALID' });
  });
}
