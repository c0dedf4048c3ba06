import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ATTACKS } from './attacks.ts';
import { functionGroups } from './functions.ts';
import { CANARY, CANARY_NUMBER, openTwoOrgs, type TwoOrgs } from './two-orgs.ts';

const LONG = process.env.MILLRACE_TEST_LONG === '1';

/** Each fails, or is true, on a row of a neighbour alone. */
const PROBES: readonly string[] = [
  `intDiv(1, toInt64(assumeNotNull(value)) - ${CANARY_NUMBER}) > -2`,
  `1 % (toInt64(assumeNotNull(value)) - ${CANARY_NUMBER}) > -2`,
  `toFloat64(if(startsWith(name, '${CANARY}'), 'x', '1')) > 0`,
  `CAST(if(name = '${CANARY}-state', 'x', '1'), 'Int32') > 0`,
  `toUUID(if(publisher = '${CANARY}-device', 'x', '00000000-0000-0000-0000-000000000000')) != toUUID('00000000-0000-0000-0000-000000000001')`,
  `match('a', if(string_value LIKE '${CANARY}%', '(', 'a'))`,
  "match('a', if(empty(string_value), 'a', if(string_value IN ('open', 'closed'), 'a', string_value)))",
  "like('a', if(string_value IN ('open', 'closed', ''), '%', string_value))",
  `length(range(if(value = ${CANARY_NUMBER}, 10000000000, 1)::UInt64)) = 1`,
  `length(repeat('a', if(value = ${CANARY_NUMBER}, 10000000000, 1)::UInt64)) = 1`,
  `arrayElement([1], if(value = ${CANARY_NUMBER}, 0, 1)) = 1`,
  "1 / (time - toDateTime64('1900-01-02 00:00:00', 9)) != 7",
  "(time - toDateTime64('2026-01-01 00:00:00', 9)) * 1000000000 != 7",
  "addYears(time, 200) != toDateTime64('2026-01-01 00:00:00', 9)",
  "time + toIntervalNanosecond(9000000000000000000) != toDateTime64('2026-01-01 00:00:00', 9)",
  "parseDateTimeBestEffort(if(string_value IN ('open', 'closed', ''), '2026-01-01', string_value)) > '1971-01-01'",
  'toDecimal32(value / 1000, 6) != 7',
  'bitShiftLeft(1, toInt64(assumeNotNull(value))) != -7',
  'factorial(toInt64(assumeNotNull(value)) % 30) != -7',
  'if((SELECT count() FROM readings) = 0, 1, intDiv(1, toInt64(assumeNotNull(value)) - 424242) > -2)',
  'if(EXISTS (SELECT 1 FROM readings), intDiv(1, toInt64(assumeNotNull(value)) - 424242) > -2, 1)',
  "multiIf((SELECT max(value) FROM readings) IS NULL, 1, toFloat64(if(startsWith(name, 'CANARY'), 'x', '1')) > 0)",
  `JSONExtract(if(string_value LIKE '${CANARY}%', '{', '{"a":1}'), 'a', 'Int32') = 1`,
  `toFixedString(if(string_value LIKE '${CANARY}%', 'aaaa', 'a'), 2) != 'zz'`,
  `formatDateTime(time, if(value = ${CANARY_NUMBER}, '%', '%Y')) != ''`,
  `toIntervalDay(if(string_value LIKE '${CANARY}%', 'x', '1')) = toIntervalDay(1)`,
  `toUnixTimestamp(if(string_value LIKE '${CANARY}%', 'x', '2026-01-01 00:00:00')) > 0`,
  `transform(value, [${CANARY_NUMBER}], [1], 0) = 0`,
  `arrayExists(x -> intDiv(1, toInt64(x) - ${CANARY_NUMBER}) > 5, [assumeNotNull(value)]) = 0`,
];

const columns = ['value', 'assumeNotNull(value)', 'string_value', 'time', 'bool_value', 'name', '3', "'a'"];
const { aggregates: _, windows: __, ...groups } = functionGroups();
const computed = Object.values(groups)
  .flat()
  .flatMap((name) => [
    ...columns.map((one) => `${name}(${one})`),
    ...columns.flatMap((one) => columns.map((other) => `${name}(${one}, ${other})`)),
    ...columns.flatMap((one) => columns.map((other) => `${name}(${one}, 1, ${other})`)),
  ]);
const STATEMENTS: readonly string[] = [
  ...PROBES.flatMap((probe) => [
    `SELECT count() AS n FROM readings WHERE ${probe}`,
    `SELECT count() AS n FROM readings WHERE value IS NOT NULL AND name != 'x' AND (${probe})`,
    `SELECT ${probe} AS p FROM readings WHERE value IS NOT NULL ORDER BY time, name`,
    // What rows are chosen by, and the neighbours have as well.
    `SELECT count() AS n FROM readings WHERE name = 'temperature' AND value > 0 AND (${probe})`,
    `SELECT max(value) AS m FROM readings WHERE name = 'temperature' GROUP BY (${probe}) ORDER BY m LIMIT 1`,
    `EXPLAIN SELECT count() FROM readings WHERE name = 'temperature' AND (${probe})`,
  ]),
  ...fc
    .sample(fc.constantFrom(...computed), LONG ? { numRuns: 3_000 } : { numRuns: 100, seed: 31 })
    .map((each) => `SELECT count() FROM readings WHERE toString(${each}) != 'never' AND name != 'x'`),
];

const MORE: readonly string[] = [
  `SELECT count() FROM readings AS a JOIN latest AS b ON a.name = b.name AND intDiv(1, toInt64(assumeNotNull(a.value)) - ${CANARY_NUMBER}) > -2 WHERE a.name = 'temperature'`,
  `SELECT count() FROM readings WHERE value IN (SELECT intDiv(1, toInt64(assumeNotNull(value)) - ${CANARY_NUMBER}) FROM readings)`,
  `SELECT count, intDiv(1, toInt64(max) - ${CANARY_NUMBER}) FROM readings_1h WHERE name = 'temperature' ORDER BY time, publisher`,
  `SELECT name, intDiv(1, toInt64(assumeNotNull(value)) - ${CANARY_NUMBER}) FROM latest ORDER BY name, publisher`,
  "SELECT count() FROM messages WHERE toFloat64(if(payload = 'ours', '1', 'x')) > 0",
  "SELECT count() FROM dead_letters WHERE toFloat64(if(payload = 'ours', '1', 'x')) > 0",
  `SELECT count() FROM message_log WHERE toFloat64(if(channel = '${CANARY}-channel', 'x', '1')) > 0`,
  'SELECT value FROM readings ORDER BY time DESC, name LIMIT 3',
  'SELECT name, unit, kind FROM readings GROUP BY ALL ORDER BY ALL',
  'SELECT uniq(publisher), min(time), max(time), min(received), max(log_offset) FROM readings',
];

let orgs: TwoOrgs;
/** What each statement answers while there are no neighbours. */
const alone = new Map<string, string>();
/** Rows in the order of their text: two threads bring them in either where the statement does not say one. */
const told = async (query: string): Promise<string> => {
  const answer = await orgs.ask(query);
  if (answer.kind !== 'answer') return JSON.stringify(answer);
  return JSON.stringify([answer.columns, answer.data.map((row) => JSON.stringify(row)).sort()]);
};

beforeAll(async () => {
  orgs = await openTwoOrgs(false);
  for (const query of [...STATEMENTS, ...MORE]) alone.set(query, await told(query));
  await orgs.addNeighbours();
}, 600_000);
afterAll(() => orgs?.close());

describe('Rows of neighbours change no answer', () => {
  test('nor does what fails on one of them alone', { timeout: 600_000 }, async () => {
    for (const query of [...STATEMENTS, ...MORE]) expect(await told(query), query).toBe(alone.get(query));
  });

  test('and most of what was tried is answered at all', () => {
    const answered = [...alone.values()].filter((text) => text.startsWith('['));
    expect(answered.length).toBeGreaterThan(PROBES.length * 2);
  });

  test("what fails on the org's own row says so, without the row", async () => {
    const answer = await orgs.ask("SELECT toFloat64(string_value) FROM readings WHERE name = 'state'");
    expect(answer).toMatchObject({ kind: 'refused', reason: 'failed' });
    expect(JSON.stringify(answer)).not.toContain('open');
  });
});

describe('Statements that are made at random', () => {
  const words = [
    ...ATTACKS.flatMap(([query]) => query.split(/(\s+|[(),.])/)),
    ...[
      'readings',
      'latest',
      'SELECT',
      'FROM',
      '(',
      ')',
      'value',
      "'",
      '`',
      '*',
      '--',
      '/*',
      '\\',
      '\u200b',
      'AS',
      'x',
    ],
  ].filter((word) => word !== '');
  const mutated = fc
    .tuple(
      fc.constantFrom(
        ...ATTACKS.map(([query]) => query),
        'SELECT * FROM readings',
        'SELECT name, max(value) FROM latest GROUP BY name',
      ),
      fc.array(fc.tuple(fc.nat(200), fc.constantFrom(...words), fc.boolean()), { minLength: 1, maxLength: 4 }),
    )
    .map(([query, changes]) =>
      changes.reduce((text, [at, word, replaces]) => {
        const parts = text.split(/(\s+|[(),.])/);
        parts.splice(at % (parts.length + 1), replaces ? 1 : 0, word);
        return parts.join('');
      }, query),
    );

  test("never fail us and never show a neighbour's row", { timeout: LONG ? 600_000 : 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(mutated, async (query) => {
        const answer = await orgs.ask(query, { t: 'rollups', c: 'org', s: 'x' });
        const text = JSON.stringify(answer);
        if (answer.kind === 'answer' || !query.includes(CANARY)) expect(text).not.toContain(CANARY);
        expect(text).not.toContain(String(CANARY_NUMBER));
      }),
      { numRuns: LONG ? 20_000 : 300 },
    );
  });

  test('any text at all is answered or refused', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 60 }), async (query) => {
        expect(['answer', 'refused']).toContain((await orgs.ask(query)).kind);
        expect(['answer', 'refused']).toContain((await orgs.ask(`SELECT ${query}`)).kind);
      }),
      { numRuns: LONG ? 5_000 : 150 },
    );
  });
});
