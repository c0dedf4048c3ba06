import type { Arrivals, ArrivalsPage, ArrivalsQuery, StoredReading } from '@millrace/core';
import type { Asker } from '../read/asker.ts';
import { anyOf, invalid } from './selection.ts';

export interface ReadingRow {
  readonly channel: string;
  readonly subtopic: string;
  readonly publisher: string;
  readonly protocol: string;
  readonly name: string;
  readonly unit: string;
  readonly time_ns: string;
  readonly kind: string;
  readonly number: string | null;
  readonly string_value: string;
  readonly bool_value: boolean | null;
  readonly data: string;
  readonly sum: number | null;
  readonly update_time: number | null;
  readonly at_offset: string;
  readonly at_index: number;
  /** How many there were before large ones were left for the next page. */
  readonly found: string;
}

const LIMIT_MAX = 10_000;
/** Texts and data of one page, beside its first reading. @units bytes */
export const PAGE_BYTES_MAX = 4 * 1024 * 1024;

/** @see Arrivals */
export function createArrivals(asker: Asker, check: () => void): Arrivals {
  return {
    async since(query) {
      check();
      return arrivalsSince(asker, query);
    },
  };
}

/** Places of one partition, from one on and before an offset. */
export const between: readonly string[] = [
  'readings.log_partition = {at_partition:UInt16}',
  // The first two let the index skip, the third is exact.
  'readings.log_offset >= {at_offset:UInt64}',
  'readings.log_offset < {at_end:UInt64}',
  '(readings.log_offset, readings.`index`) >= ({at_offset:UInt64}, {at_index:UInt32})',
];

async function arrivalsSince(asker: Asker, query: ArrivalsQuery): Promise<ArrivalsPage> {
  const { orgs, channels, partition, from, before, limit } = query;
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= LIMIT_MAX)) throw invalid(`limit must be 1 to ${LIMIT_MAX}`);
  const end = { offset: before, index: 0 };
  if (from.offset >= before) return { readings: [], next: from };
  const lists: Record<string, string> = {};
  const where = [
    anyOf('readings.org', 'of_org', orgs, lists),
    ...(channels === undefined ? [] : [anyOf('readings.channel', 'of_channel', channels, lists)]),
    ...between,
  ];
  const statement = inOrder(where, limit);
  const parameters = {
    ...lists,
    at_partition: partition,
    at_offset: String(from.offset),
    at_index: from.index,
    at_end: String(before),
  };
  const [org, ...others] = orgs;
  const turn = org === undefined || others.length > 0 ? {} : { org };
  const rows = await asker.ask<ReadingRow>('live', statement, parameters, turn);
  const readings = rows.map(toReading);
  const last = readings.at(-1);
  const found = Number(rows[0]?.found ?? 0);
  const isWhole = last === undefined || (found < limit && found === rows.length);
  return { readings, next: isWhole ? end : { offset: last.offset, index: last.index + 1 } };
}

/** Readings in the order of the log, no more than fit one page.
 *  @param more further columns, each with a comma after it */
export function inOrder(where: readonly string[], limit: number, more = ''): string {
  // A number as text: JSON knows no infinity, and a question may compare with it.
  return `SELECT * EXCEPT (ahead) FROM (
  SELECT *, sum(length(string_value) + length(data)) OVER (ORDER BY log_offset, \`index\`
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS ahead, toString(count() OVER ()) AS found,
    toString(log_offset) AS at_offset, \`index\` AS at_index
  FROM (SELECT ${more}channel, subtopic, publisher, protocol, name, unit, toString(toUnixTimestamp64Nano(time)) AS time_ns,
      kind, toString(value) AS number, string_value, bool_value, base64URLEncode(data_value) AS data, readings.sum AS sum,
      update_time, log_offset, \`index\`
    FROM readings WHERE ${where.join(' AND ')} ORDER BY readings.log_offset, readings.\`index\` LIMIT ${limit}))
WHERE ahead < ${PAGE_BYTES_MAX} ORDER BY log_offset, \`index\``;
}

export function toReading(row: ReadingRow): StoredReading {
  return {
    channel: row.channel,
    subtopic: row.subtopic,
    publisher: row.publisher,
    protocol: row.protocol,
    name: row.name,
    unit: row.unit,
    timeNs: row.time_ns,
    ...(row.update_time === null ? {} : { updateTime: row.update_time }),
    ...(row.number === null ? {} : { value: numberOf(row.number) }),
    ...(row.kind === 'string' ? { stringValue: row.string_value } : {}),
    ...(row.bool_value === null ? {} : { boolValue: row.bool_value }),
    ...(row.kind === 'data' ? { dataValue: row.data } : {}),
    ...(row.sum === null ? {} : { sum: row.sum }),
    offset: Number(row.at_offset),
    index: row.at_index,
  };
}

const ODD: Readonly<Record<string, number>> = {
  inf: Number.POSITIVE_INFINITY,
  '-inf': Number.NEGATIVE_INFINITY,
  nan: Number.NaN,
  '-nan': Number.NaN,
};
const numberOf = (text: string): number => ODD[text] ?? Number(text);
