import type { LatestOptions, LatestPage, LatestQuery, StreamOptions } from '@millrace/core';
import type { QueryParameters } from '../engine/engine.ts';
import type { Asker } from '../read/asker.ts';
import { LINES, LINES_SETTINGS, readingLine } from './lines.ts';
import { invalid, selectSeries } from './selection.ts';

const LIMIT_MAX = 100_000;
/** Of a page: texts may be long. */
const PAGE_BYTES_MAX = 64 * 1024 * 1024;
const SERIES = 'channel, name, publisher, subtopic';
const NEWLINE = 0x0a;

/** One page of latest values, ordered by channel, name, publisher and subtopic.  @see Questions.latest */
export async function readLatest(
  asker: Asker,
  query: LatestQuery,
  { time = 's', signal }: LatestOptions = {},
): Promise<LatestPage> {
  const { org, limit } = query;
  if (!Number.isInteger(limit) || limit < 1 || limit > LIMIT_MAX) throw invalid(`limit must be 1 to ${LIMIT_MAX}`);
  const { statement, parameters } = planLatest(query, time);
  const options = { format: LINES, org, limits: { resultBytesMax: PAGE_BYTES_MAX }, bytesMax: PAGE_BYTES_MAX };
  const bytes = await asker.bytes('latest', statement, parameters, signal ? { ...options, signal } : options);
  return pageOf(bytes, limit);
}

/** All that comes from outside is a parameter.  @throws StoreError STORE_QUERY_INVALID */
export function planLatest(
  query: LatestQuery,
  time: NonNullable<StreamOptions['time']>,
): { statement: string; parameters: QueryParameters } {
  const ofNumbers = selectSeries(query, 'rollups');
  const ofOthers = selectSeries(query, 'latest_others');
  const parameters: Record<string, string | number> = { ...ofNumbers.parameters };
  const after: string[] = [];
  if (query.cursor !== undefined) {
    const values = decodeCursor(query.cursor);
    for (const [index, value] of values.entries()) parameters[`after${index}`] = value;
    // The first half lets the index skip; the second is exact.
    after.push('channel >= {after0:String}');
    after.push(`(${SERIES}) > (${values.map((_, index) => `{after${index}:String}`).join(', ')})`);
  }
  // As the view `latest`, which knows of no condition before it groups. Sorted, the newest is the first: an argMax of so many
  // columns costs twice as much.
  const statement = `SELECT line FROM (SELECT ${readingLine(time, false)} AS line FROM (
  SELECT * FROM (
    SELECT ${SERIES}, unit, last_time AS at, 'number' AS kind, toNullable(finalizeAggregation(last)) AS value,
      '' AS string_value, NULL::Nullable(Bool) AS bool_value, '' AS data_value, NULL::Nullable(Float64) AS sum
    FROM rollups WHERE ${[...ofNumbers.where, 'rollups.width = 0', ...after].join(' AND ')}
    UNION ALL
    SELECT ${SERIES}, unit, time AS at, kind::String AS kind, NULL::Nullable(Float64) AS value, string_value, bool_value,
      data_value, sum
    FROM latest_others WHERE ${[...ofOthers.where, ...after].join(' AND ')}
  ) ORDER BY ${SERIES}, at DESC LIMIT 1 BY ${SERIES} LIMIT ${query.limit + 1}
) ${LINES_SETTINGS})`;
  return { statement, parameters };
}

function pageOf(bytes: Uint8Array, limit: number): LatestPage {
  let count = 0;
  let start = 0;
  let end = 0;
  while (count < limit) {
    const at = bytes.indexOf(NEWLINE, end);
    if (at < 0) break;
    start = end;
    end = at + 1;
    count++;
  }
  if (end === bytes.length) return { lines: bytes, count };
  const last = JSON.parse(Buffer.from(bytes.subarray(start, end)).toString('utf8')) as Record<string, string>;
  const cursor = SERIES.split(', ').map((field) => last[field] ?? '');
  return {
    lines: bytes.subarray(0, end),
    count,
    cursor: Buffer.from(JSON.stringify([1, ...cursor])).toString('base64url'),
  };
}

/** @throws StoreError STORE_QUERY_INVALID for what no page gave */
function decodeCursor(text: string): readonly string[] {
  let parts: unknown = null;
  try {
    parts = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    // No cursor of ours: refused below.
  }
  const [version, ...after] = Array.isArray(parts) ? (parts as unknown[]) : [];
  const valid = version === 1 && after.length === 4 && after.every((part) => typeof part === 'string');
  if (!valid) throw invalid('cursor is not one that a page gave');
  return after as string[];
}
