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
import type { Asker } from '../read/asker.ts';
import { filled } from './fill.ts';
import { LINES_SETTINGS } from './lines.ts';
import { checkQuestion, convertedTo, freeOf, keyColumns, planReadings, type SeriesPlan, textOf } from './plan.ts';
import { type Shape, seriesIn, shapeOf, statementOf, WRITTEN, type WrittenSeries, type WrittenTime } from './points.ts';
import { planRollups } from './rollups.ts';
import { FORMATS } from './rows.ts';
import { invalid, nsOf, selectReadings, selectSeries } from './selection.ts';
import { rowColumns, seriesLines } from './series-lines.ts';

/** Answers for series: aggregated in buckets, or as they are.  @see Questions.series */
export function createSeries(asker: Asker): Pick<Questions, 'series' | 'seriesText' | 'seriesRows'> {
  const series = async (question: SeriesQuestion, how: SeriesOptions = {}): Promise<SeriesAnswer> => {
    checkQuestion(question);
    const ask = asking(asker, question, how);
    const found = await answered(ask, question);
    if (question.fill === 'none' || question.interval === undefined) return found.answer;
    return fillAnswer(ask, question, found);
  };
  return {
    series,
    async seriesText(question, { time = 's', ...how } = {}) {
      if (isMade(question) || time === 'rfc3339') return series(question, how);
      checkQuestion(question);
      const found = await writtenBy(asking(asker, question, how), question, time);
      return answerOf(found, question, (each) => {
        const isCut = each.count > question.limit;
        return { points: isCut ? each.points.slice(0, each.points.lastIndexOf(',[')) : each.points, cut: isCut };
      });
    },
    seriesRows: (question, options) => ({
      async *[Symbol.asyncIterator]() {
        checkQuestion(question);
        if (!isMade(question)) yield* streamed(asker, question, options);
        else if (options.format === 'ndjson' || options.format === 'csv')
          yield* seriesLines(await series(question, { signal: options.signal, urgency: options.urgency }), options);
        else throw invalid('filled buckets and histograms are written as json, ndjson and csv only');
      },
    }),
  };
}

/** Of an answer that is held in memory: a million points of one value, as the engine has them. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
/** The same as text: a number of 8 bytes has 24 characters at most, and a comma. */
const TEXT_BYTES_MAX = 4 * ANSWER_BYTES_MAX;
/** Values of such an answer, counting each bin of a histogram, that are made here. */
const VALUES_MAX = 1_000_000;

/** What the engine does not write by itself. */
const isMade = ({ fill, aggregations }: SeriesQuestion): boolean =>
  fill !== 'none' || aggregations.includes('histogram');

interface Ask {
  rows<Row>(statement: string, parameters: QueryParameters): Promise<Row[]>;
  /** Lines of `WRITTEN`.  @param exact numbers that JSON does not know, or doubles do not hold, as texts */
  text(statement: string, parameters: QueryParameters, exact: boolean): Promise<string>;
}
const asking = (asker: Asker, { org }: SeriesQuestion, how: SeriesOptions): Ask => ({
  rows: (statement, parameters) => asker.ask('series', statement, parameters, { org, ...how }),
  async text(statement, parameters, exact) {
    const bounds = { limits: { resultBytesMax: ANSWER_BYTES_MAX }, bytesMax: TEXT_BYTES_MAX };
    const bytes = await asker.bytes('series', statement, parameters, {
      format: WRITTEN,
      org,
      ...how,
      exact,
      ...bounds,
    });
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  },
});

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

interface Written {
  readonly plan: SeriesPlan;
  readonly written: readonly WrittenSeries[];
}

/** @param time null: exact, for who goes on with it */
async function writtenBy(ask: Ask, question: SeriesQuestion, time: WrittenTime | null, why?: string): Promise<Written> {
  const again = (because: string): Promise<Written> => writtenBy(ask, { ...question, rollups: 'raw' }, time, because);
  const rolled = planRollups(question);
  const plan = 'source' in rolled ? rolled : planReadings(question, why ?? rolled.why, await binsFor(ask, question));
  const hasOthers = 'source' in rolled && othersAmong(ask, question);
  // Of one series both at once: seldom is there another reading, and each takes the engine longest to plan.
  if (plan.fixed.publisher === undefined && (await hasOthers)) return again(OTHERS);
  const shape = shapeOf(plan, question);
  const [one, found] = await Promise.all([asked(ask, plan, question, shape, time), hasOthers]);
  if (found) return again(OTHERS);
  const written = one ?? (await asked(ask, plan, question, 'series', time)) ?? [];
  if (written.some(({ torn }) => torn)) return again(TORN);
  if (written.slice(0, question.seriesMax).some(({ unknown }) => unknown)) throw otherDimension(question.unit);
  return { plan, written };
}
const OTHERS = 'rollups count numbers, and there are other readings';
const TORN = 'a rollup holds NaN';

async function asked(ask: Ask, plan: SeriesPlan, question: SeriesQuestion, shape: Shape, time: WrittenTime | null) {
  const text = await ask.text(statementOf(plan, question, shape, time), plan.parameters, time === null);
  return seriesIn(text, plan, question, shape);
}

async function answered(ask: Ask, question: SeriesQuestion): Promise<Found> {
  const found = await writtenBy(ask, question, null);
  const { plan, written } = found;
  const histogram = plan.columns.indexOf('histogram');
  if (histogram >= 0)
    checkValues(
      written.slice(0, question.seriesMax).reduce((sum, { count }) => sum + count, 0),
      question,
    );
  const rows = written.slice(0, question.seriesMax).map(({ points }) =>
    (JSON.parse(`[${points}]`) as (string | number | null)[][]).map(
      ([timeNs, ...texts]): SeriesPoint => ({
        timeNs: timeNs as string,
        values: texts.map((text, column) =>
          column === histogram ? binsOf(text as string, plan.parameters) : numberOf(text),
        ),
      }),
    ),
  );
  const answer = answerOf(found, question, (_, index) => {
    const all = rows[index] as SeriesPoint[];
    return { points: all.slice(0, question.limit), cut: all.length > question.limit };
  });
  return { answer, plan, rows };
}

function answerOf<Points>(
  { plan, written }: Written,
  question: SeriesQuestion,
  pointsOf: (each: WrittenSeries, index: number) => Pick<Series<Points>, 'points' | 'cut'>,
): SeriesAnswer<Points> {
  const series = written
    .slice(0, question.seriesMax)
    .map((each, index): Series<Points> => ({ ...labelsOf(each, plan, question), ...pointsOf(each, index) }));
  return {
    columns: plan.columns,
    series,
    cut: written.length > series.length,
    used: { source: plan.source, why: plan.why },
  };
}

const otherDimension = (unit = '') =>
  invalid(`a series has a unit that cannot be converted to ${unit}: ask for fewer series, or without a unit`);

function labelsOf({ keys }: WrittenSeries, plan: SeriesPlan, question: SeriesQuestion): Partial<Series> {
  const free = freeOf(plan);
  const labels: Record<string, string> = {};
  for (const key of plan.keys)
    labels[key] =
      key === 'unit' && question.unit !== undefined
        ? question.unit
        : (plan.fixed[key] ?? (keys[free.indexOf(key)] as string));
  return labels;
}

/** Whether there is something that rollups do not count. */
async function othersAmong(ask: Ask, question: SeriesQuestion): Promise<boolean> {
  if (!question.aggregations.includes('count')) return false;
  const { where, parameters } = selectSeries(question, 'latest_others');
  const statement = `SELECT 1 FROM latest_others WHERE ${where.join(' AND ')} LIMIT 1`;
  return (await ask.rows(statement, parameters)).length > 0;
}

/** From rollups where they answer exactly, else from the readings. */
async function chosen(ask: Ask, question: SeriesQuestion): Promise<SeriesPlan> {
  const rolled = planRollups(question);
  if (!('source' in rolled)) return planReadings(question, rolled.why, await binsFor(ask, question));
  return (await othersAmong(ask, question)) ? planReadings(question, OTHERS) : rolled;
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
  const [row] = await ask.rows<{ low: string; high: string }>(
    `SELECT toString(min(v)) AS low, toString(max(v)) AS high FROM (
  SELECT ${value} AS v FROM readings WHERE ${where.join(' AND ')} AND isNotNull(readings.value)) WHERE isFinite(v)`,
    { ...selected, ...unit.parameters },
  );
  const low = min ?? numberOf(row?.low ?? '0') ?? 0;
  return parameters(low, Math.max(low, max ?? numberOf(row?.high ?? '0') ?? 0));
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
    const statement = `SELECT 1 FROM (${textOf(plan.points)}) WHERE torn LIMIT 1`;
    const [torn] = await ask.rows(statement, plan.parameters);
    if (torn !== undefined) plan = planReadings(question, TORN);
  }
  if (unit !== undefined) {
    const statement = `SELECT 1 FROM (${textOf(plan.points)}) WHERE unknown LIMIT 1`;
    const [unknown] = await ask.rows(statement, plan.parameters);
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
FROM (SELECT *, ${ranked} AS series_rank FROM (${textOf(plan.points)})) WHERE series_rank <= ${question.seriesMax}
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
