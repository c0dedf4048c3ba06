import type { Series, SeriesAnswer, SeriesField, SeriesPoint, StreamOptions } from '@millrace/core';
import { seriesFields } from '@millrace/core';
import { rfc3339, timeJson } from './lines.ts';

const POINTS_A_PART = 1_000;

/** Columns of points as rows, from `k_<field>`, `b` and `a<index>`.
 *  @param labels each series field with what says its value */
export function rowColumns(
  labels: readonly (readonly [SeriesField, string])[],
  columns: readonly string[],
  { format, time = 's' }: Pick<StreamOptions, 'format' | 'time'>,
): string {
  const at = "fromUnixTimestamp64Nano(b, 'UTC')";
  if (format !== 'ndjson')
    return [
      ...labels.map(([field, sql]) => `${sql}::String AS \`${field}\``),
      `${format === 'csv' ? rfc3339(at) : at} AS time`,
      ...columns.map((column, index) => `a${index} AS \`${column}\``),
    ].join(', ');
  const parts = [
    ...labels.map(([field, sql]) => `'"${field}":', toJSONString(${sql}::String), ','`),
    `'"time":', ${timeJson(at, time)}`,
    ...columns.map((column, index) => `',"${column}":', ifNull(toJSONString(a${index}), 'null')`),
  ];
  return `concat('{', ${parts.join(', ')}, '}') AS line`;
}

/** An answer that is there already, as rows: the same text as the engine's. */
export function* seriesLines(
  answer: SeriesAnswer,
  { format, time = 's' }: Pick<StreamOptions, 'format' | 'time'>,
): Generator<Uint8Array> {
  const csv = format === 'csv';
  const write = csv ? csvRow : jsonRow;
  let rows: string[] = [];
  const [some] = answer.series;
  const fields = seriesFields.filter((field) => some?.[field] !== undefined);
  if (csv) rows.push([...fields, 'time', ...answer.columns].map(quoted).join());
  for (const series of answer.series)
    for (const point of series.points) {
      rows.push(write(series, fields, point, answer.columns, time));
      if (rows.length < POINTS_A_PART) continue;
      yield Buffer.from(`${rows.join('\n')}\n`);
      rows = [];
    }
  if (rows.length > 0) yield Buffer.from(`${rows.join('\n')}\n`);
}

type Write = (
  series: Series,
  fields: readonly SeriesField[],
  point: SeriesPoint,
  columns: readonly string[],
  time: NonNullable<StreamOptions['time']>,
) => string;

const jsonRow: Write = (series, fields, { timeNs, values }, columns, time) => {
  const parts = fields.map((field) => `"${field}":${JSON.stringify(series[field])}`);
  parts.push(`"time":${jsonTime(BigInt(timeNs), time)}`);
  for (const [index, column] of columns.entries()) parts.push(`"${column}":${JSON.stringify(values[index] ?? null)}`);
  return `{${parts.join()}}`;
};

const csvRow: Write = (series, fields, { timeNs, values }) =>
  [
    ...fields.map((field) => quoted(series[field] ?? '')),
    quoted(instantText(BigInt(timeNs))),
    ...values.map((value) =>
      value === null ? '' : typeof value === 'number' ? numberText(value) : quoted(JSON.stringify(value)),
    ),
  ].join();

const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;
const numberText = (value: number): string =>
  Number.isFinite(value) ? String(value) : Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';

const floored = (ns: bigint, per: bigint): bigint => (ns - (((ns % per) + per) % per)) / per;
function jsonTime(ns: bigint, time: NonNullable<StreamOptions['time']>): string {
  if (time === 'ns') return String(ns);
  if (time === 'us') return String(floored(ns, 1_000n));
  if (time === 'ms') return String(floored(ns, 1_000_000n));
  return time === 's' ? String(Number(floored(ns, 1_000n)) / 1e6) : `"${instantText(ns)}"`;
}

/** RFC 3339 in UTC, without zeros at the end of the fraction. */
function instantText(ns: bigint): string {
  const seconds = floored(ns, 1_000_000_000n);
  const fraction = String(ns - seconds * 1_000_000_000n)
    .padStart(9, '0')
    .replace(/0+$/, '');
  const whole = new Date(Number(seconds) * 1_000).toISOString().slice(0, 19);
  return `${whole}${fraction === '' ? '' : `.${fraction}`}Z`;
}
