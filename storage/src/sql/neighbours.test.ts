import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ATTACKS } from './attacks.ts';
import { totalFunctions } from './functions.ts';
import { CANARY, CANARY_NUMBER, openTwoOrgs, type TwoOrgs } from './two-orgs.ts';

const LONG = process.env.MILLRACE_TEST_LONG === '1';

let orgs: TwoOrgs;
beforeAll(async () => {
  orgs = await openTwoOrgs();
}, 60_000);
afterAll(() => orgs?.close());

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
  `transform(value, [${CANARY_NUMBER}], [1], 0) = 0`,
  `arrayExists(x -> intDiv(1, toInt64(x) - ${CANARY_NUMBER}) > 5, [assumeNotNull(value)]) = 0`,
];

describe("What fails on a neighbour's row alone does not fail", () => {
  test.each(PROBES)('%s', { timeout: 30_000 }, async (probe) => {
    for (const where of [probe, `name != 'x' AND ${probe}`, `(${probe}) OR name = 'x'`]) {
      const answer = await orgs.ask(`SELECT count() AS n FROM readings WHERE value IS NOT NULL AND ${where}`);
      expect(answer, JSON.stringify(answer)).toMatchObject({ kind: 'answer' });
    }
    const selected = await orgs.ask(`SELECT ${probe} AS p FROM readings WHERE value IS NOT NULL`);
    expect(selected, JSON.stringify(selected)).toMatchObject({ kind: 'answer' });
  });

  test("the same holds of a row that is the org's own: there it fails, and the row is not told", async () => {
    const answer = await orgs.ask("SELECT toFloat64(string_value) FROM readings WHERE name = 'state'");
    expect(answer).toMatchObject({ kind: 'refused', reason: 'failed' });
    expect(JSON.stringify(answer)).not.toContain('open');
  });

  test('functions that are computed of any row fail on none', { timeout: LONG ? 600_000 : 60_000 }, async () => {
    const columns = ['value', 'assumeNotNull(value)', 'string_value', 'time', 'bool_value', 'name', '3', "'a'"];
    const statements = totalFunctions().flatMap((name) => [
      `${name}(string_value)`,
      ...columns.map((one) => `${name}(${one})`),
      ...columns.flatMap((one) => columns.map((other) => `${name}(${one}, ${other})`)),
      ...columns.flatMap((one) => columns.map((other) => `${name}(${one}, 1, ${other})`)),
    ]);
    const chosen = LONG ? statements : fc.sample(fc.constantFrom(...statements), { numRuns: 250, seed: Date.now() });
    let computed = 0;
    for (const each of chosen) {
      const answer = await orgs.ask(`SELECT count() FROM readings WHERE toString(${each}) != 'never' AND name = 'x'`);
      if (answer.kind === 'answer') computed++;
      else expect(['invalid', 'syntax', 'forbidden'], `${each}: ${answer.detail}`).toContain(answer.reason);
    }
    expect(computed).toBeGreaterThan(10);
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
