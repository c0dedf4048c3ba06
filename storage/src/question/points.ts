import type { SeriesQuestion } from '@millrace/core';
import type { TimeFormat } from './lines.ts';
import { freeOf, keyColumns, type SeriesPlan, textOf } from './plan.ts';

/** A series as the engine wrote it. */
export interface WrittenSeries {
  /** Of the fields that are not fixed, in their order. */
  readonly keys: readonly string[];
  /** Whether a unit among them cannot be converted. */
  readonly unknown: boolean;
  /** Whether a rollup among them holds what it cannot tell. */
  readonly torn: boolean;
  readonly count: number;
  /** JSON: `[time,value…],[time,value…]`, one more than asked for if there are more. */
  readonly points: string;
}

/** How the engine answers: a line a series, or, for less than it takes to bring points together, a line a point. */
export type Shape = 'series' | 'points';
export const WRITTEN = 'JSONCompactEachRow';
/** Lines of points: when there are more, there may be more series than thought. */
const POINTS_MAX = 20_000;

/** A line a point where few series can be meant (one name of one publisher, of whatever subtopic and unit), or where a series
 *  is one point. */
export function shapeOf(plan: SeriesPlan, question: SeriesQuestion): Shape {
  if (plan.columns.includes('histogram')) return 'series';
  if (isOnePoint(question)) return question.seriesMax < POINTS_MAX ? 'points' : 'series';
  const few = freeOf(plan).every((key) => key === 'subtopic' || key === 'unit');
  return few && question.limit < POINTS_MAX ? 'points' : 'series';
}
const isOnePoint = ({ aggregations, interval }: SeriesQuestion): boolean =>
  aggregations.length > 0 && interval === undefined;

/** As a calendar has it a time is longer than its value, and the engine's begins in 1900: that is written here. */
export type WrittenTime = Exclude<TimeFormat, 'rfc3339'>;

/** @param time how times are written; null: ns, for who asks exactly */
export function statementOf(
  plan: SeriesPlan,
  question: SeriesQuestion,
  shape: Shape,
  time: WrittenTime | null,
): string {
  const keys = keyColumns(freeOf(plan));
  const flags = flagsOf(plan, question);
  const values = plan.columns.map((_, index) => `a${index}`);
  const written = timeOf(time, plan, question);
  if (shape === 'points') {
    const { with: named, columns, from } = plan.points;
    const points = { with: named, columns: { ...columns, t: written }, from };
    const text = textOf(points, [...plan.order, ...flags, 't', ...values, ...keys]);
    if (isOnePoint(question))
      return keys.length === 0 ? text : `${text} ORDER BY ${keys.join(', ')} LIMIT ${question.seriesMax + 1}`;
    const sorted = [...keys, ...plan.order.map((column) => `${column} ${question.direction}`)].join(', ');
    const limited = `LIMIT ${question.limit + 1}${keys.length === 0 ? '' : ` BY ${keys.join(', ')}`}`;
    return `${text}${plan.isSorted === true ? '' : ` ORDER BY ${sorted} ${limited}`}
${keys.length === 0 ? '' : `LIMIT ${POINTS_MAX + 1}`}`;
  }
  const array = `groupArray((${['t', ...values].join(', ')}))`;
  const sort = question.direction === 'desc' ? 'arrayReverseSort' : 'arraySort';
  const isOrder = plan.order.length === 1 && isMonotone(time, plan, question);
  const sorted = isOrder
    ? `${sort}(${array})`
    : `${sort}((point, at) -> at, ${array}, groupArray((${plan.order.join(', ')})))`;
  const whole = [
    `arraySlice(${sorted}, 1, ${question.limit + 1}) AS points`,
    ...keys,
    ...flags.map((flag) => `max(${flag}) AS ${flag}`),
    'length(points)',
  ];
  const { columns } = plan.points;
  return `SELECT ${whole.join(', ')} FROM (${textOf({ ...plan.points, columns: { ...columns, t: written } })})
${keys.length === 0 ? 'HAVING count() > 0' : `GROUP BY ${keys.join(', ')} ORDER BY ${keys.join(', ')} LIMIT ${question.seriesMax + 1}`}`;
}

const flagsOf = (plan: SeriesPlan, { unit }: SeriesQuestion): string[] => [
  ...(unit === undefined ? [] : ['unknown']),
  ...(plan.source === 'readings' ? [] : ['torn']),
];

/** Whether points begin on whole seconds. */
const isWhole = ({ buckets }: SeriesPlan, { interval }: SeriesQuestion): boolean =>
  interval !== undefined && buckets.isOn(1);
/** Whether times that are written are in the order of the times that they stand for, none of them twice. */
const isMonotone = (time: WrittenTime | null, plan: SeriesPlan, question: SeriesQuestion): boolean =>
  time === null || time === 'ns' || isWhole(plan, question);

function timeOf(time: WrittenTime | null, plan: SeriesPlan, question: SeriesQuestion): string {
  const floored = (per: number): string =>
    isWhole(plan, question) ? `intDiv(b, ${per})` : `intDiv(b - positiveModulo(b, ${per}), ${per})`;
  switch (time) {
    case null:
    case 'ns':
      return 'b';
    case 'us':
      return floored(1_000);
    case 'ms':
      return floored(1_000_000);
    case 's':
      return isWhole(plan, question) ? floored(1_000_000_000) : `${floored(1_000)} / 1e6`;
  }
}

/** What the engine wrote, by series; or null where lines of points are not all.  @throws TypeError for what it never writes */
export function seriesIn(
  text: string,
  plan: SeriesPlan,
  question: SeriesQuestion,
  shape: Shape,
): WrittenSeries[] | null {
  const flags = flagsOf(plan, question);
  const told = (set: (index: number) => boolean): Pick<WrittenSeries, 'unknown' | 'torn'> => ({
    unknown: flags.some((flag, index) => flag === 'unknown' && set(index)),
    torn: flags.some((flag, index) => flag === 'torn' && set(index)),
  });
  return shape === 'series'
    ? inSeries(text, freeOf(plan).length, told)
    : inPoints(text, [plan.order.length, flags.length, 1 + plan.columns.length], told);
}
type Told = (set: (index: number) => boolean) => Pick<WrittenSeries, 'unknown' | 'torn'>;

/** Lines as `[[[time,value],[time,value]], "key", flag, count]`: neither times nor values hold brackets. */
function inSeries(text: string, keyCount: number, told: Told): WrittenSeries[] {
  const found: WrittenSeries[] = [];
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at);
    const close = text.indexOf(']]', at);
    if (end < 0 || close < 0) throw new TypeError('a line of series is cut');
    const rest = JSON.parse(`[${text.slice(close + 3, end)}`) as unknown[];
    const keys = rest.slice(0, keyCount) as string[];
    const flags = told((index) => Boolean(rest[keyCount + index]));
    found.push({ keys, ...flags, count: Number(rest.at(-1)), points: text.slice(at + 2, close + 1) });
    at = end + 1;
  }
  return found;
}

/** Lines as `[place, flag, time, value, "key"]`, those of a series after each other: all from the key on is the same in them.
 *  @param counts of members: places, flags, and those of a point */
function inPoints(
  text: string,
  [places, flags, members]: readonly [number, number, number],
  told: Told,
): WrittenSeries[] | null {
  const found: WrittenSeries[] = [];
  let lines = 0;
  let keys: string | null = null;
  let points: string[] = [];
  const set = new Set<number>();
  const close = (): void => {
    if (keys === null) return;
    const names = keys === ']' ? [] : (JSON.parse(`[${keys.slice(1)}`) as string[]);
    found.push({ keys: names, ...told((index) => set.has(index)), count: points.length, points: points.join(',') });
  };
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at);
    if (end < 0) throw new TypeError('a line of points is cut');
    if (++lines > POINTS_MAX) return null;
    let to = at;
    for (let place = 0; place < places; place++) to = text.indexOf(',', to + 1);
    const flagsAt = to;
    for (let flag = 0; flag < flags; flag++) to = text.indexOf(',', to + 1);
    const pointAt = to;
    let point = '';
    for (let member = 0; member < members; member++) {
      const comma = text.indexOf(',', to + 1);
      const next = comma < 0 || comma > end ? end - 1 : comma;
      // The engine writes a space after a comma of the line.
      point += (member === 0 ? '[' : ',') + text.slice(to + 2, next);
      to = next;
    }
    const own = text.slice(to, end);
    if (own !== keys) {
      close();
      keys = own;
      points = [];
      set.clear();
    }
    if (flags > 0)
      for (const [index, flag] of text
        .slice(flagsAt + 1, pointAt)
        .split(',')
        .entries())
        if (Number(flag) !== 0) set.add(index);
    points.push(`${point}]`);
    at = end + 1;
  }
  close();
  return found;
}
