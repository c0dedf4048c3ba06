import type { Aggregation, Interval, Series, SeriesField, SeriesPoint, SeriesQuestion } from '@millrace/core';
import { seriesFields } from '@millrace/core';
import { unitsTo } from './units.ts';

/** The same answers as the engine's, slowly and in the plainest way: what tests hold it to. */
export interface StoredReading {
  readonly channel: string;
  readonly publisher: string;
  readonly name: string;
  readonly subtopic: string;
  readonly unit: string;
  readonly protocol: string;
  readonly timeUs: number;
  /** Place in the log: partition, offset, index. */
  readonly place: readonly [number, number, number];
  readonly value?: number;
  readonly stringValue?: string;
  readonly boolValue?: boolean;
}
type Value = SeriesPoint['values'][number];
interface Bucket {
  readonly startUs: number;
  readonly values: readonly Value[];
}

export function referenceSeries(all: readonly StoredReading[], question: SeriesQuestion): ReferenceSeries[] {
  const { interval, fill, direction, limit, seriesMax, fromUs, toUs } = question;
  const whole = bucketsOf(all, question);
  const shown = whole.slice(0, seriesMax);
  if (fill !== 'none' && interval !== undefined && shown.length > 0) {
    const times = shown.flatMap(({ buckets }) => buckets.map(({ startUs }) => startUs));
    const first = fromUs === undefined ? Math.min(...times) : Number(fromUs);
    const last = toUs === undefined ? Math.max(...times) : Number(toUs) - 1;
    const grid: number[] = [];
    const begin = startOf(interval, question.timeZone, first);
    for (let start = begin; start <= last; start = nextOf(interval, question.timeZone, start)) grid.push(start);
    // As far back as the range is long; the range ends just before `to`.
    const spanUs = last - first;
    const before =
      fill === 'previous' && fromUs !== undefined
        ? bucketsOf(all, { ...question, fromUs: BigInt(begin - spanUs - 1), toUs: BigInt(begin) })
        : [];
    for (const each of shown) {
      const earlier = before.find(({ id }) => id === each.id)?.buckets.at(-1);
      each.buckets = fillIn(each.buckets, grid, fill, question.aggregations.length, earlier);
    }
  }
  return shown.map(({ labels, buckets }) => {
    const sorted = direction === 'asc' ? buckets : buckets.toReversed();
    return { ...labels, cut: sorted.length > limit, buckets: sorted.slice(0, limit) };
  });
}
export type ReferenceSeries = Omit<Series, 'points'> & { readonly buckets: readonly Bucket[] };

function bucketsOf(all: readonly StoredReading[], question: SeriesQuestion) {
  const { aggregations, across, unit, interval, timeZone, fromUs } = question;
  const groups = new Map<string, StoredReading[]>();
  const keys = seriesFields.filter((field) => !across.includes(field));
  for (const reading of all) {
    if (!isMeant(reading, question)) continue;
    if (!aggregations.includes('count') && reading.value === undefined) continue;
    if (!aggregations.includes('count') && aggregations.length > 0 && Number.isNaN(reading.value)) continue;
    const id = JSON.stringify(keys.map((key) => reading[key]));
    groups.set(id, [...(groups.get(id) ?? []), reading]);
  }
  const values = [...groups.values()].flat().flatMap((reading) => valueIn(reading, unit) ?? []);
  const bins = binsOf(question, values.filter(Number.isFinite));
  return [...groups]
    .map(([id, readings]) => {
      const sorted = readings.toSorted(inOrder);
      const [some] = sorted as [StoredReading];
      const labels: Partial<Record<SeriesField, string>> = {};
      for (const key of keys) labels[key] = key === 'unit' && unit !== undefined ? unit : some[key];
      const buckets: Bucket[] = [];
      if (aggregations.length === 0)
        for (const reading of sorted) buckets.push({ startUs: reading.timeUs, values: [valueIn(reading, unit)] });
      else {
        const numbers = sorted.flatMap((reading) => {
          const v = valueIn(reading, unit);
          return v === null || Number.isNaN(v) ? [] : [{ t: reading.timeUs, v }];
        });
        const starts =
          interval === undefined
            ? [fromUs === undefined ? some.timeUs : Number(fromUs)]
            : [...new Set(sorted.map(({ timeUs }) => startOf(interval, timeZone, timeUs)))];
        for (const startUs of starts) {
          const endUs = interval === undefined ? Number.POSITIVE_INFINITY : nextOf(interval, timeZone, startUs);
          const inside = (t: number): boolean => interval === undefined || (t >= startUs && t < endUs);
          const count = sorted.filter(({ timeUs }) => inside(timeUs)).length;
          const context = {
            numbers,
            inside,
            count,
            startUs: interval === undefined ? -Infinity : startUs,
            endUs,
            bins,
          };
          buckets.push({ startUs, values: aggregations.map((aggregation) => aggregate(aggregation, context)) });
        }
      }
      return { id, labels, buckets, key: keys.map((key) => some[key]) };
    })
    .toSorted((a, b) => compareLists(a.key, b.key));
}

function compareLists(a: readonly string[], b: readonly string[]): number {
  for (const [index, text] of a.entries()) {
    const order = Buffer.compare(Buffer.from(text), Buffer.from(b[index] ?? ''));
    if (order !== 0) return order;
  }
  return 0;
}

function isMeant(reading: StoredReading, question: SeriesQuestion): boolean {
  const among = (list: readonly string[] | undefined, text: string): boolean =>
    list === undefined || list.includes(text);
  const { value, stringValue, boolValue, fromUs, toUs } = question;
  return (
    question.channels.includes(reading.channel) &&
    among(question.publishers, reading.publisher) &&
    among(question.names, reading.name) &&
    among(question.subtopics, reading.subtopic) &&
    among(question.protocols, reading.protocol) &&
    reading.name.startsWith(question.namePrefix ?? '') &&
    (fromUs === undefined || reading.timeUs >= Number(fromUs)) &&
    (toUs === undefined || reading.timeUs < Number(toUs)) &&
    (value === undefined || (reading.value !== undefined && holds(reading.value, value.comparator, value.operand))) &&
    (stringValue === undefined ||
      (reading.stringValue !== undefined &&
        (stringValue.comparator === 'contains'
          ? reading.stringValue.includes(stringValue.operand)
          : holds(reading.stringValue, stringValue.comparator, stringValue.operand)))) &&
    (boolValue === undefined || reading.boolValue === boolValue)
  );
}
function holds<T>(left: T, comparator: 'eq' | 'lt' | 'le' | 'gt' | 'ge', right: T): boolean {
  if (comparator === 'eq') return left === right;
  if (comparator === 'lt') return left < right;
  if (comparator === 'le') return left <= right;
  return comparator === 'gt' ? left > right : left >= right;
}

const inOrder = (a: StoredReading, b: StoredReading): number =>
  a.timeUs - b.timeUs || a.place[0] - b.place[0] || a.place[1] - b.place[1] || a.place[2] - b.place[2];

function valueIn({ value, unit }: StoredReading, target: string | undefined): number | null {
  if (value === undefined) return null;
  const conversion = target === undefined ? undefined : unitsTo(target)?.find((each) => each.unit === unit);
  return conversion === undefined ? value : value * conversion.factor + conversion.offset;
}

interface Context {
  readonly numbers: readonly { t: number; v: number }[];
  readonly inside: (t: number) => boolean;
  readonly count: number;
  readonly startUs: number;
  readonly endUs: number;
  readonly bins: { readonly count: number; readonly low: number; readonly high: number };
}

function aggregate(aggregation: Aggregation, context: Context): Value {
  const { numbers, inside, count, startUs, endUs, bins } = context;
  const values = numbers.filter(({ t }) => inside(t)).map(({ v }) => v);
  const n = values.length;
  if (aggregation === 'count') return count;
  if (aggregation === 'histogram') return histogram(values, bins);
  if (n === 0) return null;
  const sum = values.reduce((a, b) => a + b, 0);
  const ascending = values.toSorted((a, b) => a - b);
  const pairs = numbers.slice(1).map((to, index) => ({ from: numbers[index] as { t: number; v: number }, to }));
  const ending = pairs.filter(({ to }) => inside(to.t));
  const steps = ending.map(({ from, to }) => (to.v >= from.v ? to.v - from.v : to.v));
  const delta = steps.length === 0 ? null : steps.reduce((a, b) => a + b, 0);
  const variance = n < 2 ? null : values.reduce((a, v) => a + (v - sum / n) ** 2, 0) / (n - 1);
  if (aggregation === 'min') return ascending[0] as number;
  if (aggregation === 'max') return ascending.at(-1) as number;
  if (aggregation === 'sum') return sum;
  if (aggregation === 'avg') return sum / n;
  if (aggregation === 'first') return values[0] as number;
  if (aggregation === 'last') return values.at(-1) as number;
  if (aggregation === 'median') return quantile(ascending, 0.5);
  if (aggregation === 'variance') return variance;
  if (aggregation === 'stddev') return variance === null ? null : Math.sqrt(variance);
  if (aggregation === 'delta') return delta;
  if (aggregation === 'rate') {
    const seconds = ending.reduce((a, { from, to }) => a + (to.t - from.t) / 1e6, 0);
    return delta === null || seconds === 0 ? null : delta / seconds;
  }
  if (aggregation === 'twa' || aggregation === 'integral') {
    let area = 0;
    let seconds = 0;
    for (const { from, to } of pairs) {
      const [low, high] = [Math.max(from.t, startUs), Math.min(to.t, endUs)];
      if (high <= low) continue;
      const width = (high - low) / 1e6;
      seconds += width;
      const at = (t: number): number =>
        t === from.t ? from.v : t === to.t ? to.v : from.v + (to.v - from.v) * ((t - from.t) / (to.t - from.t));
      area += aggregation === 'twa' ? from.v * width : ((at(low) + at(high)) / 2) * width;
    }
    if (aggregation === 'integral') return numbers.length < 2 ? null : area;
    return seconds === 0 ? (values.at(-1) as number) : area / seconds;
  }
  return quantile(ascending, Number(aggregation.slice(1)) / 100);
}

function quantile(ascending: readonly number[], level: number): number {
  const at = level * (ascending.length - 1);
  const low = Math.floor(at);
  const [left, right] = [ascending[low] as number, ascending[low + 1]];
  return right === undefined ? left : left + (at - low) * (right - left);
}

function binsOf({ histogram }: SeriesQuestion, finite: readonly number[]) {
  const low = histogram?.min ?? (finite.length === 0 ? 0 : Math.min(...finite));
  return {
    count: histogram?.bins ?? 10,
    low,
    high: Math.max(low, histogram?.max ?? (finite.length === 0 ? 0 : Math.max(...finite))),
  };
}
function histogram(values: readonly number[], { count, low, high }: Context['bins']): Value {
  const bins = low === high ? 1 : count;
  const bound = (index: number): number =>
    index === count || bins === 1 ? high : low + ((high - low) * index) / count;
  const counts = Array.from({ length: bins }, () => 0);
  for (const value of values)
    if (value >= low && value <= high) {
      const index = low === high ? 0 : Math.min(count - 1, Math.floor(((value - low) * count) / (high - low)));
      counts[index] = (counts[index] ?? 0) + 1;
    }
  return counts.map((each, index) => [index === 0 ? low : bound(index), bound(index + 1), each]);
}

/** Start of the bucket that an instant is in.  @units µs */
export function startOf(interval: Interval, timeZone: string, us: number): number {
  if (interval.kind === 'fixed') {
    const every = BigInt(interval.everyMs) * 1_000n;
    const at = BigInt(us);
    return Number(at - (((at % every) + every) % every));
  }
  return firstInstant(dayOf(interval, localDay(timeZone, Math.floor(us / 1_000)), 0), timeZone) * 1_000;
}
export function nextOf(interval: Interval, timeZone: string, startUs: number): number {
  if (interval.kind === 'fixed') return startUs + interval.everyMs * 1_000;
  const day = localDay(timeZone, startUs / 1_000);
  let next = firstInstant(dayOf(interval, day, 1), timeZone) * 1_000;
  for (let more = 2; next <= startUs; more++) next = firstInstant(dayOf(interval, day, more), timeZone) * 1_000;
  return next;
}

const DAY = 86_400_000;
/** First day of the interval that a day is in, or of one so many further.  @units ms of midnight in UTC */
function dayOf({ unit, count }: Extract<Interval, { kind: 'calendar' }>, day: number, further: number): number {
  if (unit === 'day' || unit === 'week') {
    const length = count * (unit === 'week' ? 7 : 1) * DAY;
    const monday = Date.UTC(1969, 11, 29);
    return monday + (Math.floor((day - monday) / length) + further) * length;
  }
  const length = count * { month: 1, quarter: 3, year: 12 }[unit];
  const date = new Date(day);
  const months = date.getUTCFullYear() * 12 + date.getUTCMonth();
  return new Date(0).setUTCFullYear(0, (Math.floor(months / length) + further) * length, 1);
}

const formats = new Map<string, Intl.DateTimeFormat>();
/** The day that clocks of a zone show.  @units ms of midnight in UTC */
function localDay(timeZone: string, ms: number): number {
  let format = formats.get(timeZone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-CA', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' });
    formats.set(timeZone, format);
  }
  return Date.parse(`${format.format(ms)}T00:00:00Z`);
}
const instants = new Map<string, number>();
/** When the clocks of a zone first show a day or a later one.  @units ms */
function firstInstant(day: number, timeZone: string): number {
  const id = `${timeZone} ${day}`;
  const known = instants.get(id);
  if (known !== undefined) return known;
  let [low, high] = [day - 2 * DAY, day + 2 * DAY];
  while (high - low > 1_000) {
    const middle = Math.floor((low + high) / 2_000) * 1_000;
    if (localDay(timeZone, middle) >= day) high = middle;
    else low = middle;
  }
  instants.set(id, high);
  return high;
}

function fillIn(
  buckets: readonly Bucket[],
  grid: readonly number[],
  fill: 'null' | 'previous' | 'linear',
  columns: number,
  earlier: Bucket | undefined,
): Bucket[] {
  return grid.map((startUs) => ({
    startUs,
    values: Array.from({ length: columns }, (_, column): Value => {
      const known = buckets.filter(({ values }) => (values[column] ?? null) !== null);
      const own = known.find((bucket) => bucket.startUs === startUs);
      if (own !== undefined) return own.values[column] ?? null;
      const left = known.findLast((bucket) => bucket.startUs < startUs);
      const right = known.find((bucket) => bucket.startUs > startUs);
      if (fill === 'null') return null;
      if (fill === 'previous') return left?.values[column] ?? earlier?.values[column] ?? null;
      const [a, b] = [left?.values[column], right?.values[column]];
      if (left === undefined || right === undefined || typeof a !== 'number' || typeof b !== 'number') return null;
      return a + ((b - a) * (startUs - left.startUs)) / (right.startUs - left.startUs);
    }),
  }));
}
