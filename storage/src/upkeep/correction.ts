import type { Correction, Deletion, TimeSpan, UpkeepOptions } from '@millrace/core';
import type { Engine } from '../engine/engine.ts';
import { bucket, SERIES } from '../schema/initial.ts';
import { bucketsOf, minutesOfHours } from './buckets.ts';
import { mutate } from './mutation.ts';
import { seriesConditions } from './selection.ts';

/** The same rows may be told again: what was deleted since must not keep them away. Groups spill to disk. */
const INSERT = 'SETTINGS insert_deduplicate=0, async_insert=0';
const BACKGROUND = 'SETTINGS max_threads=2, max_bytes_before_external_group_by=200000000';
const ROLLUP_COLUMNS = `${SERIES}, month, width, bucket, count, minimum, maximum, sum, first, last, last_time, last_received`;
const OTHERS = 'org, channel, name, publisher, subtopic';

/** One round: the touched buckets are deleted and made anew, minutes of readings, hours of minutes, last values of hours,
 *  and then all are compared. Readings that come in the midst of it may be counted twice: the comparison tells.
 *  @source docs/adr/0033 */
export async function correct(
  engine: Engine,
  deletion: Deletion,
  span: TimeSpan | null,
  { mark, signal }: UpkeepOptions,
): Promise<Correction> {
  const touched = bucketsOf(deletion, span);
  const rollups = engine.localTable('rollups');
  await mutate(engine, 'rollups', 'DELETE', touched.any, { mark: `${mark}-rollups`, signal });
  const shard = (statement: string): Promise<void> => {
    signal.throwIfAborted();
    return engine.eachShard(statement, ['readings', 'rollups']);
  };
  await shard(
    `INSERT INTO ${rollups} (${ROLLUP_COLUMNS}) ${INSERT} SELECT ${SERIES}, toStartOfMonth(received) AS month, 60, ${bucket('time', '60')} AS minute,
       count(), min(assumeNotNull(value)), max(assumeNotNull(value)), sum(assumeNotNull(value)),
       argMinState(assumeNotNull(value), time), argMaxState(assumeNotNull(value), time), max(time), max(received)
     FROM ${engine.localTable('readings')} WHERE ${touched.readings} GROUP BY ${SERIES}, month, minute ${BACKGROUND}`,
  );
  const wider = (width: number, start: string, of: string): Promise<void> =>
    shard(
      `INSERT INTO ${rollups} (${ROLLUP_COLUMNS}) ${INSERT} SELECT ${SERIES}, month, ${width}, ${start} AS start,
         sum(r.count), min(r.minimum), max(r.maximum), sum(r.sum), argMinMergeState(r.first), argMaxMergeState(r.last),
         max(r.last_time), max(r.last_received)
       FROM ${rollups} AS r WHERE ${of} GROUP BY ${SERIES}, month, start ${BACKGROUND}`,
    );
  const hour = bucket('bucket', '3600');
  await wider(3_600, hour, minutesOfHours(deletion, span));
  await wider(0, "toDateTime64(0, 0, 'UTC')", `${seriesConditions(deletion).join(' AND ')} AND width = 3600`);
  // Which of several values is the last does not depend on when it is asked: once is enough.
  if (span === null) await restoreOthers(engine, deletion, { mark, signal });
  for (const table of ['readings', 'rollups']) await engine.settle(table);
  return compare(engine, deletion, span);
}

/** Last values that are no numbers. */
async function restoreOthers(engine: Engine, deletion: Deletion, { mark, signal }: UpkeepOptions): Promise<void> {
  const { others } = bucketsOf(deletion, null);
  await mutate(engine, 'latest_others', 'DELETE', others, { mark: `${mark}-others`, signal });
  await engine.eachShard(
    `INSERT INTO ${engine.localTable('latest_others')} (${OTHERS}, time, unit, received, kind, string_value, bool_value, data_value, sum)
     ${INSERT} SELECT ${OTHERS}, max(r.time), (argMax((unit, received, kind, string_value, bool_value, data_value, sum), r.time) AS newest).1,
       newest.2, newest.3, newest.4, newest.5, newest.6, newest.7
     FROM ${engine.localTable('readings')} AS r WHERE ${[...seriesConditions(deletion), 'isNull(value)'].join(' AND ')}
     GROUP BY ${OTHERS} ${BACKGROUND}`,
    ['readings', 'latest_others'],
  );
}

interface Compared {
  readonly differing: string;
  /** µs since 1970 */
  readonly low: string;
  readonly high: string;
}

async function compare(engine: Engine, deletion: Deletion, span: TimeSpan | null): Promise<Correction> {
  const touched = bucketsOf(deletion, span);
  const own = (where: string, start: string): string =>
    `SELECT ${SERIES}, ${start} AS start, sum(r.count) AS rows, min(r.minimum) AS low, max(r.maximum) AS high, sum(r.sum) AS total,
       max(r.last_time) AS newest FROM rollups AS r WHERE ${where} GROUP BY ${SERIES}, start`;
  const raw = `SELECT ${SERIES}, ${bucket('time', '60')} AS start, count() AS rows, min(assumeNotNull(value)) AS low,
     max(assumeNotNull(value)) AS high, sum(assumeNotNull(value)) AS total, max(time) AS newest
   FROM readings WHERE ${touched.readings} GROUP BY ${SERIES}, start`;
  const minutes = await differing(engine, raw, own(touched.minutes, 'bucket'), 60, true);
  const hours = await differing(
    engine,
    own(minutesOfHours(deletion, span), bucket('bucket', '3600')),
    own(touched.hours, 'bucket'),
    3_600,
    true,
  );
  const ever = "toDateTime64(0, 0, 'UTC')";
  const ofSeries = seriesConditions(deletion).join(' AND ');
  const latest = await differing(
    engine,
    own(`${ofSeries} AND width = 3600`, ever),
    own(touched.latest, ever),
    0,
    false,
  );
  const spans = [minutes, hours].filter((each) => Number(each.differing) > 0);
  const ends = spans.flatMap(({ low, high }) => [BigInt(low), BigInt(high)]).sort((a, b) => Number(a - b));
  return {
    differing: [minutes, hours, latest].reduce((sum, each) => sum + Number(each.differing), 0),
    // Last values are made anew in any case.
    span: { fromUs: ends[0] ?? 0n, toUs: ends.at(-1) ?? 0n },
  };
}

/** Buckets that two questions answer differently. Sums may differ by how they were rounded; as text NaN is equal to itself.
 *  @param counts whether counts and sums are compared: those of all time are no part of what anybody asks for */
async function differing(
  engine: Engine,
  one: string,
  other: string,
  width: number,
  counts: boolean,
): Promise<Compared> {
  const apart = (column: string, by: string): string =>
    `toString(${by}If(${column}, side = 1)) != toString(${by}If(${column}, side = 2))`;
  const [found] = await engine.rows<Compared>(
    `SELECT toString(count()) AS differing, toString(toUnixTimestamp64Micro(toDateTime64(min(start), 6, 'UTC'))) AS low,
       toString(toUnixTimestamp64Micro(toDateTime64(max(start), 6, 'UTC')) + ${width * 1_000_000}) AS high
     FROM (
       SELECT ${SERIES}, start FROM (
         SELECT *, 1 AS side FROM (${one}) UNION ALL SELECT *, 2 AS side FROM (${other})
       ) GROUP BY ${SERIES}, start
       HAVING ${apart('low', 'min')} OR ${apart('high', 'max')} OR ${apart('newest', 'max')}
         ${
           counts
             ? `OR sumIf(rows, side = 1) != sumIf(rows, side = 2)
           OR abs(sumIf(total, side = 1) - sumIf(total, side = 2)) > 1e-9 * sumIf(rows, side = 1) * greatest(abs(min(low)), abs(max(high)))`
             : ''
         }
     ) ${BACKGROUND}${engine.querySettings}`,
  );
  return found ?? { differing: '0', low: '0', high: '0' };
}
