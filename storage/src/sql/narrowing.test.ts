import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTwoOrgs, type TwoOrgs } from './two-orgs.ts';

const LONG = process.env.MILLRACE_TEST_LONG === '1';

let orgs: TwoOrgs;
beforeAll(async () => {
  orgs = await openTwoOrgs();
}, 60_000);
afterAll(() => orgs?.close());

/** A question within an expression keeps the org's rows from being narrowed. */
const asAWhole = (query: string): string => `SELECT * FROM (${query}) WHERE (SELECT 1) = 1`;
/** The rows, in the order of their text: two threads bring them in either, and no statement here promises one. */
const answerOf = async (query: string): Promise<string[]> => {
  const answer = await orgs.ask(query);
  if (answer.kind === 'refused') throw new Error(`${answer.reason}: ${answer.detail}: ${query}`);
  return answer.data.map((row) => JSON.stringify(row)).sort();
};
const planOf = async (query: string): Promise<string> => (await answerOf(`EXPLAIN ${query}`)).join('\n');

const NARROWED: readonly (readonly [query: string, narrowed: string])[] = [
  ["SELECT count() FROM readings WHERE name = 'temperature'", "name IN ('temperature')"],
  ["SELECT count() FROM readings WHERE 'temperature' = name AND value > 3", "name IN ('temperature')"],
  ['SELECT count() FROM readings WHERE value > 30', 'value > 30'],
  ['SELECT count() FROM readings WHERE 21.5 >= value AND sum IS NULL', 'value <= 21.5'],
  ['SELECT count() FROM readings WHERE value BETWEEN -1 AND 1e2', 'value >= -1 AND value <= 100'],
  ["SELECT count() FROM readings WHERE name IN ('state', 'alarm')", "name IN ('state', 'alarm')"],
  ["SELECT count() FROM readings WHERE name = 'state' OR name = 'alarm' OR name = 'x'", 'name IN ('],
  ["SELECT count() FROM readings WHERE name LIKE 'temp%'", "startsWith(name, 'temp')"],
  ["SELECT count() FROM readings WHERE time > '2026-11-21 12:00:00'", 'time >= toDateTime('],
  ["SELECT count() FROM readings WHERE time <= fromUnixTimestamp64Milli(1795000000123, 'UTC')", 'time <= toDateTime('],
  ['SELECT count() FROM readings WHERE time >= now() - INTERVAL 1 DAY', 'time >= toDateTime('],
  ["SELECT sum(count) FROM readings_1m WHERE name = 'humidity' AND time >= '2026-01-01'", "name IN ('humidity')"],
  ["SELECT a.value FROM readings AS a JOIN latest AS b ON a.name = b.name WHERE a.name = 'alarm'", "name IN ('alarm')"],
  [
    "SELECT count() FROM readings AS a LEFT JOIN latest AS b USING (name) WHERE a.publisher = 'device-1'",
    'publisher IN',
  ],
  [
    "SELECT count() FROM readings WHERE name = 'state' UNION ALL SELECT count() FROM readings WHERE name = 'alarm'",
    " OR name IN ('alarm')",
  ],
];
/** Rows of one place would be missed at another, or the condition is none that can be told beforehand. */
const WHOLE: readonly string[] = [
  "SELECT count() FROM readings WHERE name = 'state' UNION ALL SELECT count() FROM readings",
  "SELECT count() FROM readings WHERE name = 'state' OR value > 3",
  "SELECT count() FROM readings WHERE NOT name = 'state'",
  "SELECT count() FROM readings WHERE lower(name) = 'state'",
  "SELECT count() FROM readings WHERE name LIKE '%ate'",
  'SELECT count() FROM readings WHERE time <= now()',
  'SELECT count() FROM readings WHERE value > toDecimal32(3, 2)',
  'SELECT count() FROM readings WHERE value > toFloat64(toUnixTimestamp(now()))',
  'SELECT count() FROM readings WHERE value < inf',
  'SELECT count() FROM readings WHERE time >= now() - INTERVAL toSecond(now()) SECOND',
  "SELECT count() FROM readings WHERE name = 'it\\'s'",
  "SELECT count() FROM latest AS a LEFT JOIN readings AS b ON a.name = b.name WHERE b.name = 'alarm'",
  "SELECT count() FROM latest AS a FULL JOIN readings AS b ON a.name = b.name WHERE b.name = 'alarm'",
  "SELECT count() FROM latest AS a ANY JOIN readings AS b ON a.publisher = b.publisher WHERE b.name = 'alarm'",
  "SELECT count() FROM latest AS a ASOF JOIN readings AS b ON a.name = b.name AND a.time >= b.time WHERE b.publisher = 'x'",
  "SELECT name, count() AS n FROM readings GROUP BY name HAVING name = 'alarm'",
  "SELECT n FROM (SELECT name, count() OVER () AS n FROM readings) WHERE name = 'alarm'",
  "SELECT (SELECT count() FROM readings) AS m, count() AS n FROM readings WHERE name = 'alarm'",
];

describe("The org's rows are chosen by what a statement asks for", () => {
  test.each(NARROWED)('%s', { timeout: 30_000 }, async (query, narrowed) => {
    expect(await planOf(query)).toContain(narrowed);
    expect(await answerOf(query)).toEqual(await answerOf(asAWhole(query)));
  });

  test.each(WHOLE)('but not if another part needs the others: %s', { timeout: 30_000 }, async (query) => {
    expect(await planOf(query)).not.toMatch(/readings: the rows with/);
    expect(await answerOf(query)).toEqual(await answerOf(asAWhole(query)));
  });

  test('and answers stay what they are', { timeout: LONG ? 300_000 : 60_000 }, async () => {
    const column = fc.constantFrom('name', 'publisher', 'channel', 'unit', 'subtopic');
    const text = fc.constantFrom('temperature', 'humidity', 'state', 'device-1', 'hall', 'Cel', '', 'CANARY');
    const moment = fc.constantFrom(
      "'2026-11-21 12:30:00'",
      "'2026-11-21'",
      "toDateTime64('2026-11-21 12:30:00.5', 3, 'Europe/Berlin')",
      "toDate('2026-11-21')",
      "toDateTime('2026-11-21 12:30:00', 'America/New_York')",
      'now()',
      'today()',
      'now() - INTERVAL 1 MONTH',
      "fromUnixTimestamp64Milli(1795264200123, 'UTC')",
      "toDateTime64('1900-01-02 00:00:00', 0)",
    );
    const simple = fc.oneof(
      fc.tuple(column, fc.constantFrom('=', '!=', '<'), text).map(([a, b, c]) => `${a} ${b} '${c}'`),
      fc.tuple(column, text, text).map(([a, b, c]) => `${a} IN ('${b}', '${c}')`),
      fc.tuple(column, text).map(([a, b]) => `${a} LIKE '${b.slice(0, 3)}%'`),
      fc
        .tuple(fc.constantFrom('time', 'received'), fc.constantFrom('<', '<=', '>', '>=', '=', '!='), moment)
        .map((parts) => parts.join(' ')),
      fc.constantFrom(
        'value > 30',
        'value <= -0.5',
        'value = 4.2e1',
        '45 < value',
        'value IS NULL',
        "string_value = 'open'",
        'NOT bool_value',
      ),
    );
    const condition = fc
      .array(fc.tuple(simple, fc.constantFrom(' AND ', ' AND ', ' OR ')), { minLength: 1, maxLength: 4 })
      .map((parts) => parts.map(([each, word], at) => (at === 0 ? each : `${word}${each}`)).join(''));
    const query = fc.oneof(
      condition.map((each) => `SELECT count() AS n, sum(value) AS s FROM readings WHERE ${each}`),
      condition.map((each) => `SELECT count() AS n FROM (SELECT * FROM readings WHERE ${each})`),
      fc
        .tuple(condition, condition)
        .map(
          ([one, other]) =>
            `SELECT n FROM (SELECT count() AS n FROM readings WHERE ${one} UNION ALL SELECT count() AS n FROM readings WHERE ${other}) ORDER BY n`,
        ),
      fc
        .tuple(
          fc.constantFrom(
            'JOIN',
            'LEFT JOIN',
            'RIGHT JOIN',
            'FULL JOIN',
            'ANY LEFT JOIN',
            'SEMI LEFT JOIN',
            'ANTI LEFT JOIN',
          ),
          column,
          text,
          column,
          text,
        )
        .map(
          ([join, one, first, other, second]) =>
            `SELECT count() AS n FROM readings AS a ${join} latest AS b ON a.publisher = b.publisher AND a.name = b.name WHERE a.${one} = '${first}' OR 1 = 0 AND b.${other} = '${second}'`,
        ),
      fc
        .tuple(fc.constantFrom('JOIN', 'LEFT JOIN', 'RIGHT JOIN', 'FULL JOIN'), column, text, column, text)
        .map(
          ([join, one, first, other, second]) =>
            `SELECT count() AS n FROM readings AS a ${join} latest AS b ON a.publisher = b.publisher AND a.name = b.name WHERE a.${one} = '${first}' AND b.${other} = '${second}'`,
        ),
    );
    await fc.assert(
      fc.asyncProperty(query, async (each) => {
        expect(await answerOf(each), each).toEqual(await answerOf(asAWhole(each)));
      }),
      { numRuns: LONG ? 2_000 : 120, ...(LONG ? {} : { seed: 7 }) },
    );
  });
});
