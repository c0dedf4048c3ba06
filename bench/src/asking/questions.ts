import type { BareEngine } from './bare-engine.ts';
import type { Filled } from './fill.ts';
import { channelId, FROM_MS, MACHINE_NAMES, machineId, TO_MS } from './fleet.ts';

/** One of the questions that apps and analysts ask most, as a request and as plain SQL over the same tables. */
export interface TypicalQuestion {
  readonly name: string;
  readonly request: { readonly method: 'GET' | 'POST'; readonly path: string; readonly body?: unknown };
  readonly sql: string;
  /** What both must agree on, as numbers in an order of their own. */
  answer(body: never): readonly number[];
  bare(rows: readonly (readonly unknown[])[]): readonly number[];
}

interface SeriesBody {
  readonly series: readonly { readonly points: readonly (readonly (number | null)[])[] }[];
}
interface SqlBody {
  readonly data: readonly Readonly<Record<string, unknown>>[];
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const LATEST_MAX = 10_000;

const sorted = (values: readonly number[]): number[] => [...values].sort((one, other) => one - other);
/** Values of all points, times left out. */
const valuesOf = ({ series }: SeriesBody): number[] =>
  sorted(series.flatMap(({ points }) => points.flatMap(([, ...values]) => values.map((value) => value ?? -1))));
const column = (rows: readonly (readonly unknown[])[], index: number): number[] =>
  sorted(rows.map((row) => Number(row[index])));
const field =
  (name: string) =>
  ({ data }: SqlBody): number[] =>
    sorted(data.map((row) => Number(row[name])));
const instant = (ms: number): string => `fromUnixTimestamp64Milli(${ms}, 'UTC')`;
const rfc3339 = (ms: number): string => new Date(ms).toISOString();

/** The cursor of a page deep inside is found by the way there, so it is a question of its own time range. */
export async function questionsOf({ org, fleet, series }: Filled, engine: BareEngine): Promise<TypicalQuestion[]> {
  const machine = machineId(0);
  const hall = channelId(0);
  const machines = Array.from({ length: fleet.machines }, (_, index) => machineId(index));
  const halls = Array.from({ length: fleet.channels }, (_, index) => channelId(index));
  const settings = 'SETTINGS max_threads = 2';
  const inOrg = `org = '${org}'`;
  const own = `${inOrg} AND channel = '${hall}' AND publisher = '${machine}'`;
  const inHalls = `${inOrg} AND channel IN (${halls.map((each) => `'${each}'`).join(', ')})`;
  const between = (from: number, to: number): string => `time >= ${instant(from)} AND time < ${instant(to)}`;
  const range = (from: number, to: number) => ({ from: rfc3339(from), to: rfc3339(to) });
  // The last hour in which this machine was heard.
  const heard = await engine.ask(`SELECT toUnixTimestamp64Milli(max(time)) FROM readings WHERE ${own}`);
  const end = Math.ceil(Number(heard.rows[0]?.[0]) / HOUR_MS) * HOUR_MS;
  const query = (body: unknown): TypicalQuestion['request'] => ({ method: 'POST', path: '/readings/query', body });
  const sql = (statement: string, parameters: unknown = {}): TypicalQuestion['request'] => ({
    method: 'POST',
    path: '/sql',
    body: { query: statement, parameters },
  });

  return [
    {
      name: 'the last hour of a series by minute',
      request: query({
        channels: [hall],
        publishers: [machine],
        names: ['temperature'],
        ...range(end - HOUR_MS, end),
        aggregations: ['avg'],
        interval: '1m',
      }),
      sql: `SELECT toStartOfInterval(time, toIntervalMinute(1)) AS t, avg(value) FROM readings
WHERE ${own} AND name = 'temperature' AND ${between(end - HOUR_MS, end)} GROUP BY t ORDER BY t ${settings}`,
      answer: valuesOf,
      bare: (rows) => column(rows, 1),
    },
    {
      name: `a day of ${fleet.machines} series by 5 minutes`,
      request: query({
        channels: halls,
        names: ['temperature'],
        ...range(end - DAY_MS, end),
        aggregations: ['avg'],
        interval: '5m',
        series_limit: 1_000,
      }),
      sql: `SELECT channel, publisher, toStartOfInterval(time, toIntervalMinute(5)) AS t, avg(value) FROM readings
WHERE ${inHalls} AND name = 'temperature' AND ${between(end - DAY_MS, end)} GROUP BY channel, publisher, t
ORDER BY channel, publisher, t ${settings}`,
      answer: valuesOf,
      bare: (rows) => column(rows, 3),
    },
    {
      name: `latest of ${series.toLocaleString('en')}`,
      request: { method: 'POST', path: '/readings/latest', body: { limit: LATEST_MAX } },
      sql: `SELECT * FROM latest WHERE ${inOrg} LIMIT ${LATEST_MAX} ${settings}`,
      answer: ({ messages }: { messages: readonly unknown[] }) => [messages.length],
      bare: (rows) => [rows.length],
    },
    {
      name: 'a month of one series, thinned to 1,000 points',
      request: query({
        channels: [hall],
        publishers: [machine],
        names: ['power'],
        ...range(FROM_MS, TO_MS),
        thin: 1_000,
      }),
      sql: `SELECT arrayJoin(largestTriangleThreeBuckets(1000)(toUnixTimestamp64Micro(time) - ${FROM_MS}000, assumeNotNull(value))) AS p, p.2
FROM readings WHERE ${own} AND name = 'power' AND ${between(FROM_MS, TO_MS)} ${settings}`,
      answer: valuesOf,
      bare: (rows) => column(rows, 1),
    },
    {
      name: 'top 10 devices by variance',
      request: sql(
        `SELECT publisher, varPop(value) AS variance FROM readings WHERE name = 'power'
AND time >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') GROUP BY publisher ORDER BY variance DESC, publisher LIMIT 10`,
        { from: end - 7 * DAY_MS },
      ),
      sql: `SELECT publisher, varPop(value) AS variance FROM readings WHERE ${inOrg} AND name = 'power'
AND time >= ${instant(end - 7 * DAY_MS)} GROUP BY publisher ORDER BY variance DESC, publisher LIMIT 10 ${settings}`,
      answer: field('variance'),
      bare: (rows) => column(rows, 1),
    },
    {
      name: 'gaps of a month: hours without a reading',
      request: query({
        channels: [hall],
        publishers: [machine],
        names: ['temperature'],
        ...range(FROM_MS, TO_MS),
        aggregations: ['count'],
        interval: '1h',
        fill: 'null',
      }),
      sql: `SELECT toStartOfInterval(time, toIntervalHour(1)) AS t, toNullable(count()) AS n FROM readings
WHERE ${own} AND name = 'temperature' AND ${between(FROM_MS, TO_MS)} GROUP BY t
ORDER BY t WITH FILL FROM toDateTime(${FROM_MS / 1_000}, 'UTC') TO toDateTime(${TO_MS / 1_000}, 'UTC') STEP INTERVAL 1 HOUR ${settings}`,
      // A count is 0 where nothing came; SQL leaves it open.
      answer: (body: SeriesBody) => valuesOf(body).map((value) => Math.max(0, value)),
      bare: (rows) => column(rows, 1),
    },
    {
      name: 'distinct names',
      request: sql('SELECT DISTINCT name FROM readings ORDER BY name'),
      sql: `SELECT DISTINCT name FROM readings WHERE ${inOrg} ORDER BY name ${settings}`,
      answer: ({ data }: SqlBody) => [data.length],
      bare: (rows) => [rows.length],
    },
    {
      name: 'a page of raw readings, deep inside',
      request: {
        method: 'GET',
        path: `/channels/${hall}/messages?name=power&limit=100&offset=5000&to=${(FROM_MS + 15 * DAY_MS) / 1_000}`,
      },
      sql: `SELECT channel, subtopic, publisher, protocol, name, unit, time, value, sum FROM readings
WHERE ${inOrg} AND channel = '${hall}' AND name = 'power' AND time < ${instant(FROM_MS + 15 * DAY_MS)}
ORDER BY time DESC, log_partition DESC, log_offset DESC, \`index\` DESC LIMIT 100 OFFSET 5000 ${settings}`,
      answer: ({ messages }: { messages: readonly { value: number }[] }) => sorted(messages.map(({ value }) => value)),
      bare: (rows) => column(rows, 7),
    },
    {
      name: 'count by day in a time zone',
      request: query({
        channels: [hall],
        names: MACHINE_NAMES.map(([name]) => name),
        ...range(FROM_MS, TO_MS),
        aggregations: ['count'],
        interval: '1d',
        time_zone: 'Europe/Berlin',
        across: ['publisher', 'name', 'unit', 'subtopic'],
      }),
      sql: `SELECT toStartOfDay(time, 'Europe/Berlin') AS day, count() FROM readings WHERE ${inOrg} AND channel = '${hall}'
AND name IN (${MACHINE_NAMES.map(([name]) => `'${name}'`).join(', ')}) AND ${between(FROM_MS, TO_MS)}
GROUP BY day ORDER BY day ${settings}`,
      answer: valuesOf,
      bare: (rows) => column(rows, 1),
    },
    {
      name: 'quantiles by device',
      request: query({
        channels: halls,
        publishers: machines,
        names: ['power'],
        ...range(end - DAY_MS, end),
        aggregations: ['p50', 'p95', 'p99'],
      }),
      sql: `SELECT channel, publisher, quantilesExactInclusive(0.5, 0.95, 0.99)(value) AS q, q[1], q[2], q[3] FROM readings
WHERE ${inHalls} AND name = 'power' AND ${between(end - DAY_MS, end)} GROUP BY channel, publisher ${settings}`,
      answer: valuesOf,
      bare: (rows) => sorted(rows.flatMap(([, , , ...values]) => values.map(Number))),
    },
    {
      name: 'joined with the metadata of things',
      request: sql(
        `SELECT JSONExtractString(t.metadata, 'model') AS model, avg(r.value) AS mean FROM readings AS r
INNER JOIN things AS t ON t.id = r.publisher WHERE r.name = 'temperature'
AND r.time >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') GROUP BY model ORDER BY model`,
        { from: end - 6 * HOUR_MS },
      ),
      // The models, as the registry knows them, in the place of the registry.
      sql: `SELECT if(startsWith(publisher, '00000000-0000-7000-8000-b'), 'S1',
  ['M100', 'M200', 'M300'][reinterpretAsUInt64(reverse(unhex(substring(publisher, 26)))) % 3 + 1]) AS model, avg(value) FROM readings
WHERE ${inOrg} AND name = 'temperature' AND time >= ${instant(end - 6 * HOUR_MS)} GROUP BY model ORDER BY model ${settings}`,
      answer: field('mean'),
      bare: (rows) => column(rows, 1),
    },
    {
      name: 'free text in string values',
      request: sql(
        `SELECT time, publisher, string_value FROM readings WHERE channel = {channel:String} AND name = 'log'
AND string_value LIKE '%overheated%' ORDER BY time DESC LIMIT 100`,
        { channel: hall },
      ),
      sql: `SELECT time, publisher, string_value FROM readings
WHERE ${inOrg} AND channel = '${hall}' AND name = 'log' AND kind = 'string' AND position(string_value, 'overheated') > 0
ORDER BY time DESC LIMIT 100 ${settings}`,
      answer: ({ data }: SqlBody) => [data.length],
      bare: (rows) => [rows.length],
    },
  ];
}
