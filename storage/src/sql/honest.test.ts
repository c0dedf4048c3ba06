import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MINUTES, openTwoOrgs, type TwoOrgs } from './two-orgs.ts';

let orgs: TwoOrgs;
beforeAll(async () => {
  orgs = await openTwoOrgs();
}, 60_000);
afterAll(() => orgs?.close());

/** What an analyst asks, and the rows that come. */
const HONEST: readonly (readonly [
  query: string,
  rows: number | ((data: readonly Record<string, unknown>[]) => void),
])[] = [
  ['SELECT 1', 1],
  ['SELECT count() AS n FROM readings', (data) => expect(data).toEqual([{ n: String(MINUTES * 4) }])],
  ['select name, count() from readings group by name order by name;', 4],
  ['SELECT * FROM readings LIMIT 5', 5],
  ['-- a comment\nSELECT /* one */ max(value) AS m FROM readings', (data) => expect(data).toEqual([{ m: 99 }])],
  ["SELECT toStartOfHour(time) AS hour, avg(value) FROM readings WHERE name = 'temperature' GROUP BY hour", 1],
  [
    "SELECT toStartOfInterval(time, INTERVAL 5 MINUTE) AS t, avg(value) FROM readings WHERE name = 'humidity' GROUP BY t ORDER BY t",
    12,
  ],
  ["SELECT count() FROM readings WHERE time > '2026-11-21 12:30:00'", 1],
  [
    "SELECT count() FROM readings WHERE time >= toDateTime64('2026-11-21 12:00:00', 3) AND time < now() + INTERVAL 100 YEAR",
    1,
  ],
  [
    "SELECT time, value, lagInFrame(value) OVER (PARTITION BY publisher ORDER BY time) AS before FROM readings WHERE name = 'temperature'",
    MINUTES,
  ],
  [
    "SELECT time, avg(value) OVER (ORDER BY time ROWS BETWEEN 4 PRECEDING AND CURRENT ROW) AS smooth FROM readings WHERE name = 'temperature'",
    MINUTES,
  ],
  ["SELECT row_number() OVER w AS n, value FROM readings WHERE name = 'humidity' WINDOW w AS (ORDER BY time)", MINUTES],
  ["SELECT quantile(0.5)(value), quantiles(0.1, 0.9)(value), median(value) FROM readings WHERE name = 'humidity'", 1],
  ["SELECT quantileExactIf(0.9)(value, name = 'humidity') AS q FROM readings", 1],
  [
    'WITH hot AS (SELECT publisher FROM readings WHERE value > 25) SELECT count() FROM readings WHERE publisher IN (SELECT publisher FROM hot)',
    1,
  ],
  [
    'WITH hot AS (SELECT publisher FROM readings WHERE value > 25) SELECT count() FROM readings WHERE publisher IN hot',
    1,
  ],
  ['WITH 25 AS bound SELECT count() FROM readings WHERE value > bound', 1],
  [
    "SELECT a.time, a.value - b.value AS gap FROM readings AS a JOIN readings AS b ON a.publisher = b.publisher AND a.time = b.time WHERE a.name = 'temperature' AND b.name = 'temperature'",
    MINUTES,
  ],
  [
    "SELECT a.time, a.value, b.value FROM readings AS a ASOF JOIN (SELECT * FROM readings WHERE name = 'temperature') AS b ON a.publisher = b.publisher AND a.time >= b.time WHERE a.name = 'humidity'",
    MINUTES,
  ],
  [
    "SELECT name FROM readings WHERE name = 'alarm' LIMIT 1 UNION ALL SELECT name FROM readings WHERE name = 'state' LIMIT 1",
    2,
  ],
  ['SELECT DISTINCT name FROM readings INTERSECT SELECT DISTINCT name FROM readings_1h', 2],
  ['SELECT DISTINCT name FROM readings EXCEPT SELECT DISTINCT name FROM readings_1h', 2],
  ["SELECT arrayMap(x -> x * 2, groupArray(value)) AS a FROM readings WHERE name = 'temperature'", 1],
  ['SELECT arraySum(arrayFilter(x -> x > 20, groupArray(assumeNotNull(value)))) FROM readings', 1],
  ['SELECT n FROM readings ARRAY JOIN [1, 2] AS n LIMIT 4', 4],
  ['SELECT arrayJoin(range(5)) AS n', 5],
  ["SELECT countIf(bool_value), countIf(string_value = 'open') FROM readings", 1],
  ["SELECT argMax(value, time), argMin(value, time) FROM readings WHERE name = 'temperature' GROUP BY publisher", 3],
  ['SELECT uniq(publisher), uniqExact(name) FROM readings', 1],
  ['SELECT publisher, varSamp(value) AS v FROM readings GROUP BY publisher ORDER BY v DESC LIMIT 10', 3],
  ['SELECT name, value FROM readings ORDER BY time DESC, name LIMIT 1 BY name', 4],
  ['SELECT name, count() AS n FROM readings GROUP BY name HAVING n > 10 ORDER BY n', 4],
  ['SELECT name, unit, count() FROM readings GROUP BY GROUPING SETS ((name), (unit))', 7],
  ["SELECT time, avg, min, max, count FROM readings_1m WHERE name = 'temperature' ORDER BY time", MINUTES],
  ["SELECT time, avg, sum FROM readings_1h WHERE name = 'humidity' AND publisher = 'device-1'", 1],
  ["SELECT value, string_value, bool_value FROM latest WHERE name = 'state'", 3],
  ['SELECT id, content_type, size, hex(payload) FROM messages LIMIT 3', 3],
  ['SELECT count() AS n FROM message_log', (data) => expect(data).toEqual([{ n: String(MINUTES) }])],
  ['SELECT reason, count() FROM dead_letters GROUP BY reason', 1],
  [
    "SELECT JSONExtractString(t.metadata, 'room') AS room, avg(r.value) FROM readings AS r JOIN things AS t ON t.id = r.publisher WHERE r.name = 'temperature' GROUP BY room ORDER BY room",
    (data) => expect(data.map(({ room }) => room)).toEqual(['kitchen', "owner's room"]),
  ],
  ['SELECT c.name, count() FROM readings AS r JOIN channels AS c ON c.id = r.channel GROUP BY c.name', 1],
  [
    "SELECT t.name FROM things AS t LEFT JOIN latest AS l ON l.publisher = t.id AND l.name = 'nothing' WHERE l.time < '1971-01-01'",
    3,
  ],
  ['SELECT intDiv(100, toInt64(value)) FROM readings WHERE value > 0 LIMIT 1', 1],
  ['SELECT toInt32OrNull(string_value) AS n FROM readings WHERE n IS NULL LIMIT 1', 1],
  [
    "SELECT multiIf(value > 25, 'hot', value > 22, 'warm', 'cold') AS c, count() FROM readings WHERE name = 'temperature' GROUP BY c",
    3,
  ],
  [
    "SELECT CASE WHEN value > 25 THEN 'hot' ELSE 'cold' END AS c, count() FROM readings WHERE name = 'temperature' GROUP BY c",
    2,
  ],
  ["SELECT formatDateTime(time, '%Y-%m') AS month, count() FROM readings GROUP BY month", 1],
  ["SELECT toDate(time, 'Europe/Berlin') AS day, count() FROM readings GROUP BY day", 1],
  [
    "SELECT toStartOfMinute(time) AS t, avg(value) FROM readings WHERE name = 'temperature' GROUP BY t ORDER BY t WITH FILL STEP INTERVAL 1 MINUTE",
    MINUTES,
  ],
  ["SELECT * EXCEPT (data_value) FROM readings WHERE name LIKE 'temp%' LIMIT 2", 2],
  ["SELECT COLUMNS('^value$') FROM readings LIMIT 2", 2],
  ["SELECT value::Int64 AS v, CAST(value AS String) FROM readings WHERE name = 'humidity' LIMIT 2", 2],
  ["SELECT name || '/' || unit FROM readings LIMIT 1", 1],
  ['SELECT (SELECT max(value) FROM readings) - (SELECT min(value) FROM readings) AS span', 1],
  ['SELECT count() FROM (SELECT publisher FROM (SELECT publisher FROM readings) GROUP BY publisher)', 1],
  ['SELECT name AS "Name of it" FROM readings LIMIT 1', 1],
  ['SELECT topK(2)(name), groupUniqArray(unit) FROM readings', 1],
  ['SELECT simpleLinearRegression(toFloat64(toUnixTimestamp(time)), value) FROM readings WHERE isNotNull(value)', 1],
  ["SELECT deltaSumTimestamp(value, toDateTime(time)) FROM readings WHERE name = 'humidity'", 1],
];

describe('What an analyst asks is answered', () => {
  test.each(HONEST)('%s', { timeout: 30_000 }, async (query, rows) => {
    const answer = await orgs.ask(query);
    if (answer.kind === 'refused') throw new Error(`${answer.reason}: ${answer.detail}`);
    if (typeof rows === 'number') expect(answer.data).toHaveLength(rows);
    else rows(answer.data);
    expect(answer.columns.length).toBeGreaterThan(0);
  });

  test('in a file each column has a name of its own, and it has no more rows than may be answered', async () => {
    const drained = async (query: string, resultRows = 10_000): Promise<string> => {
      const statement = orgs.statement(query);
      const answer = await orgs.sql.stream({ ...statement, limits: { ...statement.limits, resultRows } }, 'csv');
      if (answer.kind === 'refused') return `${answer.reason}: ${answer.detail}`;
      let text = '';
      for await (const part of answer.bytes) text += Buffer.from(part).toString();
      return text;
    };
    expect(await drained('SELECT name, name FROM readings LIMIT 1')).toMatch(
      /^invalid: two columns have the same name/,
    );
    expect(await drained('SELECT 1 AS a, (SELECT 2) AS b')).toBe('"a","b"\n1,2\n');
    const query = 'SELECT value FROM readings ORDER BY time, name LIMIT 20';
    expect((await drained(query, 20)).split('\n')).toHaveLength(22);
    const tooMany = await drained(query, 19).catch((error: { refused?: { reason: string } }) =>
      String(error.refused?.reason),
    );
    expect(tooMany).toMatch(/too_expensive/);
  });
});
