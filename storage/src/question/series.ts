import type {
  AnswerBytes,
  Questions,
  Series,
  SeriesAnswer,
  SeriesField,
  SeriesOptions,
  SeriesPoint,
  SeriesQuestion,
  StreamOptions,
} from '@millrace/core';
import type { QueryParameters } from '../engine/engine.ts';
import type { Asker, AskOptions } from '../read/asker.ts';
import { filled } from './fill.ts';
import { LINES_SETTINGS } from './lines.ts';
import { checkQuestion, convertedTo, freeOf, keyColumns, planReadings, type SeriesPlan } from './plan.ts';
import { planRollups } from './rollups.ts';
import { FORMATS } from './rows.ts';
import { invalid, nsOf, selectReadings, selectSeries } from './selection.ts';
import { rowColumns, seriesLines } from './series-lines.ts';

/** Answers for series: aggregated in buckets, or as they are.  @see Questions.series */
export function createSeries(asker: Asker): Pick<Questions, 'series' | 'seriesRows'> {
  const series = async (question: SeriesQuestion, how: SeriesOptions = {}): Promise<SeriesAnswer> => {
    checkQuestion(question);
    const ask = asking(asker, question, how);
    const found = await answered(ask, question);
    if (question.fill === 'none' || question.interval === undefined) return found.answer;
    return fillAnswer(ask, question, found);
  };
  return {
    series,
    seriesRows: (question, options) => ({
      async *[Symbol.asyncIterator]() {
        checkQuestion(question);
        const made = question.fill !== 'none' || question.aggregations.includes('histogram');
        if (!made) yield* streamed(asker, question, options);
        else if (options.format === 'ndjson' || options.format === 'csv')
          yield* seriesLines(await series(question, { signal: options.signal, urgency: options.urgency }), options);
        else throw invalid('filled buckets and histograms are written as json, ndjson and csv only');
      },
    }),
  };
}

/** Of an answer that is held in memory: a million points of one value, as the engine has them. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
/** Values of such an answer, counting each bin of a histogram, that are made here. */
const VALUES_MAX = 1_000_000;

type Ask = <Row>(statement: string, parameters: QueryParameters, more?: AskOptions) => Promise<Row[]>;
const asking =
  (asker: Asker, { org }: SeriesQuestion, how: SeriesOptions): Ask =>
  (statement, parameters, more) =>
    asker.ask('series', statement, parameters, { org, ...how, ...more });

/** Before so many values are made.  @throws StoreError STORE_QUERY_INVALID */
function checkValues(pointCount: number, { aggregations, histogram }: SeriesQuestion): void {
  const bins = aggregations.includes('histogram') ? (histogram?.bins ?? BINS) : 0;
  if (pointCount * (aggregations.length + bins) <= VALUES_MAX) return;
  throw invalid(
    `these are more than ${VALUES_MAX} values: ask for a longer interval, a shorter range, or fewer series, aggregations or bins`,
  );
}

interface Found {
  readonly answer: SeriesAnswer;
  readonly plan: SeriesPlan;
  /** Of the question with the one point more that tells whether there is more. */
  readonly rows: readonly (readonly SeriesPoint[])[];
}

interface Row {
  readonly unknown?: number;
  readonly torn?: number;
  readonly points: readonly (readonly (string | number | null)[])[];
  readonly [key: `k_${string}`]: string;
}

async function answered(ask: Ask, question: SeriesQuestion): Promise<Found> {
  const plan = await chosen(ask, question);
  const rows = await ask<Row>(statementOf(plan, question), plan.parameters, {
    exact: true,
    limits: { resultBytesMax: ANSWER_BYTES_MAX },
  });
  if (rows.some(({ torn = 0 }) => torn !== 0))
    return answered(ask, { ...question, rollups: 'raw' }).then((found) => saying(found, 'a rollup holds NaN'));
  const shown = rows.slice(0, question.seriesMax);
  if (shown.some(({ unknown = 0 }) => unknown !== 0)) throw otherDimension(question.unit);
  const histogram = plan.columns.indexOf('histogram');
  if (histogram >= 0)
    checkValues(
      shown.reduce((sum, row) => sum + row.points.length, 0),
      question,
    );
  const points = shown.map((row) =>
    row.points.map(
      ([timeNs, ...texts]): SeriesPoint => ({
        timeNs: timeNs as string,
        values: texts.map((text, column) =>
          column === histogram ? binsOf(text as string, plan.parameters) : numberOf(text),
        ),
      }),
    ),
  );
  const series = shown.map((row, index): Series => {
    const all = points[index] as SeriesPoint[];
    return { ...labelsOf(row, plan, question), points: all.slice(0, question.limit), cut: all.length > question.limit };
  });
  const used = { source: plan.source, why: plan.why };
  return { answer: { columns: plan.columns, series, cut: rows.length > shown.length, used }, plan, rows: points };
}

const saying = (found: Found, why: string): Found => ({
  ...found,
  answer: { ...found.answer, used: { ...found.answer.used, why } },
});
const otherDimension = (unit = '') =>
  invalid(`a series has a unit that cannot be converted to ${unit}: ask for fewer series, or without a unit`);

function labelsOf(row: Row, plan: SeriesPlan, question: SeriesQuestion): Partial<Series> {
  const labels: Record<string, string> = {};
  for (const key of plan.keys)
    labels[key] =
      key === 'unit' && question.unit !== undefined ? question.unit : (plan.fixed[key] ?? (row[`k_${key}`] as string));
  return labels;
}

/** From rollups where they answer exactly, else from the readings. */
async function chosen(ask: Ask, question: SeriesQuestion): Promise<SeriesPlan> {
  const rolled = planRollups(question);
  if (!('source' in rolled)) return planReadings(question, rolled.why, await binsFor(ask, question));
  if (question.aggregations.includes('count')) {
    const { where, parameters } = selectSeries(question, 'latest_others');
    const statement = `SELECT 1 FROM latest_others WHERE ${where.join(' AND ')} LIMIT 1`;
    const [other] = await ask(statement, parameters);
    if (other !== undefined) return planReadings(question, 'rollups count numbers, and there are other readings');
  }
  return rolled;
}

const BINS = 10;

/** Bounds of the histogram: one pair for all series, so that they can be compared. */
async function binsFor(ask: Ask, question: SeriesQuestion): Promise<QueryParameters> {
  if (!question.aggregations.includes('histogram')) return {};
  const { bins = BINS, min, max } = question.histogram ?? {};
  const parameters = (low: number, high: number): QueryParameters => {
    if (!Number.isFinite(high - low)) throw invalid('the bounds of the histogram are too far apart: say them');
    return { bins, bin_low: low, bin_high: high };
  };
  if (min !== undefined && max !== undefined) return parameters(min, max);
  const { where, parameters: selected } = selectReadings(question);
  const unit = convertedTo(question.unit, 'readings.unit');
  const value = unit.of('assumeNotNull(readings.value)');
  const [row] = await ask<{ low: string; high: string }>(
    `SELECT toString(min(v)) AS low, toString(max(v)) AS high FROM (
  SELECT ${value} AS v FROM readings WHERE ${where.join(' AND ')} AND isNotNull(readings.value)) WHERE isFinite(v)`,
    { ...selected, ...unit.parameters },
  );
  const low = min ?? numberOf(row?.low ?? '0') ?? 0;
  return parameters(low, Math.max(low, max ?? numberOf(row?.high ?? '0') ?? 0));
}

/** One row a series: its points, sorted, and one more than asked for. */
function statementOf(plan: SeriesPlan, question: SeriesQuestion): string {
  const keys = keyColumns(freeOf(plan));
  const values = `groupArray((${['b', ...plan.columns.map((_, index) => `a${index}`)].join(', ')}))`;
  const sort = question.direction === 'desc' ? 'arrayReverseSort' : 'arraySort';
  const sorted =
    plan.order.length === 1
      ? `${sort}(${values})`
      : `${sort}((point, at) -> at, ${values}, groupArray((${plan.order.join(', ')})))`;
  return `SELECT ${[
    ...keys,
    ...(question.unit === undefined ? [] : ['max(unknown) AS unknown']),
    ...(plan.source === 'readings' ? [] : ['max(torn) AS torn']),
    `arraySlice(${sorted}, 1, ${question.limit + 1}) AS points`,
  ].join(', ')}
FROM (${plan.points})${keys.length === 0 ? ' HAVING count() > 0' : ` GROUP BY ${keys.join(', ')} ORDER BY ${keys.join(', ')} LIMIT ${question.seriesMax + 1}`}`;
}

async function* streamed(
  asker: Asker,
  question: SeriesQuestion,
  options: StreamOptions,
): AnswerBytes & AsyncGenerator<Uint8Array> {
  const { org, unit } = question;
  const { format, signal, urgency } = options;
  const ask = asking(asker, question, { signal, urgency });
  let plan = await chosen(ask, question);
  if (plan.source !== 'readings') {
    // What is begun cannot be taken back: whether a rollup holds NaN is asked first.
    const statement = `SELECT 1 FROM (${plan.points}) WHERE torn LIMIT 1`;
    const [torn] = await ask(statement, plan.parameters);
    if (torn !== undefined) plan = planReadings(question, 'a rollup holds NaN');
  }
  if (unit !== undefined) {
    const statement = `SELECT 1 FROM (${plan.points}) WHERE unknown LIMIT 1`;
    const [unknown] = await ask(statement, plan.parameters);
    if (unknown !== undefined) throw otherDimension(unit);
  }
  const keys = keyColumns(freeOf(plan));
  const labels = plan.keys.map((key): [SeriesField, string] => {
    if (key === 'unit' && unit !== undefined) return [key, '{unit_shown:String}'];
    return [key, plan.fixed[key] === undefined ? `k_${key}` : `{of_${key}:String}`];
  });
  const sorted = [...keys, ...plan.order.map((column) => `${column} ${question.direction}`)].join(', ');
  const ranked = keys.length === 0 ? '1' : `dense_rank() OVER (ORDER BY ${keys.join(', ')})`;
  const rows = `SELECT ${rowColumns(labels, plan.columns, options)}
FROM (SELECT *, ${ranked} AS series_rank FROM (${plan.points})) WHERE series_rank <= ${question.seriesMax}
ORDER BY ${sorted} LIMIT ${question.limit}${keys.length === 0 ? '' : ` BY ${keys.join(', ')}`}`;
  const statement = format === 'ndjson' ? `SELECT line FROM (${rows} ${LINES_SETTINGS})` : rows;
  const parameters = unit === undefined ? plan.parameters : { ...plan.parameters, unit_shown: unit };
  yield* asker.stream('series', statement, parameters, { format: FORMATS[format], org, signal, urgency });
}

/** Fills what was found, from `from` to `to`, or as far as any series reaches. */
async function fillAnswer(ask: Ask, question: SeriesQuestion, { answer, plan, rows }: Found): Promise<SeriesAnswer> {
  const { fill, fromUs, toUs, limit, direction } = question;
  if (fill === 'none' || answer.series.length === 0) return answer;
  const times = rows.flat().map((point) => BigInt(point.timeNs));
  const extent = (pick: (a: bigint, b: bigint) => boolean): bigint => times.reduce((a, b) => (pick(a, b) ? a : b));
  const first = fromUs === undefined ? extent((a, b) => a < b) : BigInt(nsOf(fromUs));
  const last = toUs === undefined ? extent((a, b) => a > b) : BigInt(nsOf(toUs)) - 1n;
  const all = plan.buckets.between(first, last);
  const starts = direction === 'asc' ? all.slice(0, limit) : all.slice(-limit);
  checkValues(starts.length * answer.series.length, question);
  const before =
    fill === 'previous' && fromUs !== undefined ? await lookBack(ask, question, all[0], last - first) : null;
  return {
    ...answer,
    series: answer.series.map((series, index) => {
      const points = (rows[index] as SeriesPoint[]).toSorted((a, b) => (BigInt(a.timeNs) < BigInt(b.timeNs) ? -1 : 1));
      const made = filled(points, starts, fill, plan.columns.length, before?.get(keyOf(series)));
      return { ...series, points: direction === 'asc' ? made : made.reverse(), cut: all.length > limit };
    }),
  };
}

/** What each series had last before a range, looked for as far back as the range is long. */
async function lookBack(ask: Ask, question: SeriesQuestion, start: bigint | undefined, rangeNs: bigint) {
  if (start === undefined) return null;
  const toUs = start / 1_000n;
  const fromUs = toUs - rangeNs / 1_000n - 1n;
  const { answer } = await answered(ask, { ...question, fromUs, toUs, direction: 'desc', limit: 1, fill: 'none' });
  return new Map(answer.series.map((series) => [keyOf(series), series.points[0]?.values ?? []]));
}
const keyOf = ({ channel, publisher, name, subtopic, unit }: Series): string =>
  JSON.stringify([channel, publisher, name, subtopic, unit]);

function numberOf(text: string | number | null | undefined): number | null {
  if (typeof text === 'number') return text;
  if (text === null || text === undefined) return null;
  if (text === 'inf') return Number.POSITIVE_INFINITY;
  return text === '-inf' ? Number.NEGATIVE_INFINITY : Number(text);
}

function binsOf(text: string | null | undefined, parameters: QueryParameters): (readonly [number, number, number])[] {
  const counts = JSON.parse(text ?? '{}') as Readonly<Record<string, number | string>>;
  const [bins, low, high] = [Number(parameters.bins), Number(parameters.bin_low), Number(parameters.bin_high)];
  const bound = (index: number): number => (index === bins ? high : low + ((high - low) * index) / bins);
  return Array.from({ length: low === high ? 1 : bins }, (_, index) => [
    bound(index),
    low === high ? high : bound(index + 1),
    Number(counts[index] ?? 0),
  ]);
}
