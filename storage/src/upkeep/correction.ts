import type { Correction, Deletion, TimeSpan, UpkeepOptions } from '@millrace/core';
import type { Engine } from '../engine/engine.ts';
import { bucket, SERIES } from '../schema/initial.ts';
import { hourOf } from '../schema/leaner-rollups.ts';
import { bucketsOf, HOUR_US, MINUTE_US, minutesOfHours } from './buckets.ts';
import { mutate } from './mutation.ts';
import { seriesConditions, timeConditions } from './selection.ts';

/** The same rows may be told again: what was deleted since must not keep them away. Groups spill to disk. */
const INSERT = 'SETTINGS insert_deduplicate=0, async_insert=0';
const BACKGROUND = 'SETTINGS max_threads=2, max_bytes_before_external_group_by=200000000';
const OTHERS = 'org, channel, name, publisher, subtopic';
const NUMBERS = 'count(), min(assumeNotNull(value)), max(assumeNotNull(value)), sum(assumeNotNull(value))';
const EVER = "toDateTime64(0, 0, 'UTC')";

/** One round: the touched buckets are deleted and made anew, minutes of readings, hours of minutes, last values of the
 *  readings that are left, and then all are compared. Readings that come in the midst of it may be counted twice: the
 *  comparison tells.
 *  @source docs/adr/0033 */
export async function correct(
  engine: Engine,
  deletion: Deletion,
  span: TimeSpan | null,
  { mark, signal }: UpkeepOptions,
): Promise<Correction> {
  const touched = bucketsOf(deletion, span);
  await mutate(engine, 'rollups', 'DELETE', touched.any, { mark: `${mark}-rollups`, signal });
  const rollups = engine.localTable('rollups');
  const readings = engine.localTable('readings');
  const make = (columns: string, select: string): Promise<void> => {
    signal.throwIfAborted();
    return engine.eachShard(
      `INSERT INTO ${rollups} (${SERIES}, month, width, bucket, count, minimum, maximum, sum, ${columns}) ${INSERT}
       SELECT ${SERIES}, ${select} ${BACKGROUND}`,
      ['readings', 'rollups'],
    );
  };
  await make(
    'last_received',
    `toStartOfMonth(received) AS month, 60, ${bucket('time', '60')} AS start, ${NUMBERS}, ${hourOf('max(received)')}
     FROM ${readings} WHERE ${touched.readings} GROUP BY ${SERIES}, month, start`,
  );
  await make(
    'last_received',
    `month, 3600, ${bucket('bucket', '3600')} AS start, sum(r.count), min(r.minimum), max(r.maximum), sum(r.sum), max(r.last_received)
     FROM ${rollups} AS r WHERE ${minutesOfHours(deletion, span)} GROUP BY ${SERIES}, month, start`,
  );
  await make(
    'last_received, last_time, last',
    `toStartOfMonth(received) AS month, 0, ${EVER}, ${NUMBERS}, max(received), max(time), argMaxState(assumeNotNull(value), time)
     FROM ${readings} WHERE isNotNull(value) AND ${touched.earlier} GROUP BY ${SERIES}, month`,
  );
  // Which of several values is the last does not depend on when it is asked: once is enough.
  if (span === null) await restoreOthers(engine, deletion, { mark, signal });
  for (const table of ['readings', 'rollups']) await engine.settle(table);
  return compare(engine, deletion, span);
}

/** Last values that are no numbers. */
async function restoreOthers(engine: Engine, deletion: Deletion, { mark, signal }: UpkeepOptions): Promise<void> {
  const { others, earlier } = bucketsOf(deletion, null);
  await mutate(engine, 'latest_others', 'DELETE', others, { mark: `${mark}-others`, signal });
  await engine.eachShard(
    `INSERT INTO ${engine.localTable('latest_others')} (${OTHERS}, time, unit, received, kind, string_value, bool_value, data_value, sum)
     ${INSERT} SELECT ${OTHERS}, max(r.time), (argMax((unit, received, kind, string_value, bool_value, data_value, sum), r.time) AS newest).1,
       newest.2, newest.3, newest.4, newest.5, newest.6, newest.7
     FROM ${engine.localTable('readings')} AS r WHERE isNull(value) AND ${earlier}
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
    `SELECT ${SERIES}, ${start} AS start, sum(r.count) AS rows, min(r.minimum) AS low, max(r.maximum) AS high, sum(r.sum) AS total
     FROM rollups AS r WHERE ${where} GROUP BY ${SERIES}, start`;
  const raw = `SELECT ${SERIES}, ${bucket('time', '60')} AS start, count() AS rows, min(assumeNotNull(value)) AS low,
     max(assumeNotNull(value)) AS high, sum(assumeNotNull(value)) AS total
   FROM readings WHERE ${touched.readings} GROUP BY ${SERIES}, start`;
  // Sums may differ by how they were rounded; as text NaN is equal to itself.
  const apart = (column: string, by: string): string =>
    `toString(${by}If(${column}, side = 1)) != toString(${by}If(${column}, side = 2))`;
  const unlike = `${apart('low', 'min')} OR ${apart('high', 'max')} OR sumIf(rows, side = 1) != sumIf(rows, side = 2)
    OR abs(sumIf(total, side = 1) - sumIf(total, side = 2)) > 1e-9 * sumIf(rows, side = 1) * greatest(abs(min(low)), abs(max(high)))`;
  const minutes = await differing(engine, raw, own(touched.minutes, 'bucket'), unlike);
  const hours = await differing(
    engine,
    own(minutesOfHours(deletion, span), bucket('bucket', '3600')),
    own(touched.hours, 'bucket'),
    unlike,
  );
  const latest = await differing(
    engine,
    `SELECT ${SERIES}, ${EVER} AS start, max(time) AS newest FROM readings
     WHERE isNotNull(value) AND ${touched.earlier} GROUP BY ${SERIES}`,
    `SELECT ${SERIES}, ${EVER} AS start, max(r.last_time) AS newest FROM rollups AS r
     WHERE ${[...seriesConditions(deletion), 'width = 0'].join(' AND ')} GROUP BY ${SERIES}`,
    // A last value is the newest reading, or of none that is left: then it is not of what was deleted.
    `(countIf(side = 1) > 0 AND (countIf(side = 2) = 0 OR maxIf(newest, side = 1) > maxIf(newest, side = 2)))
     OR (maxIf(newest, side = 1) != maxIf(newest, side = 2) AND ${[
       'countIf(side = 2) > 0',
       ...timeConditions('maxIf(newest, side = 2)', deletion),
     ].join(' AND ')})`,
  );
  const ends = [
    { ...minutes, widthUs: MINUTE_US },
    { ...hours, widthUs: HOUR_US },
  ]
    .filter((each) => Number(each.differing) > 0)
    .flatMap(({ low, high, widthUs }) => [BigInt(low), BigInt(high) + widthUs])
    .sort((a, b) => Number(a - b));
  return {
    differing: [minutes, hours, latest].reduce((sum, each) => sum + Number(each.differing), 0),
    // Last values are made anew in any case.
    span: { fromUs: ends[0] ?? 0n, toUs: ends.at(-1) ?? 0n },
  };
}

/** Buckets of which two questions, side 1 and 2, tell what must not be.  @units low, high: starts of the first and last */
async function differing(engine: Engine, one: string, other: string, unlike: string): Promise<Compared> {
  const [found] = await engine.rows<Compared>(
    `SELECT toString(count()) AS differing, toString(toUnixTimestamp64Micro(toDateTime64(min(start), 6, 'UTC'))) AS low,
       toString(toUnixTimestamp64Micro(toDateTime64(max(start), 6, 'UTC'))) AS high
     FROM (
       SELECT ${SERIES}, start FROM (
         SELECT *, 1 AS side FROM (${one}) UNION ALL SELECT *, 2 AS side FROM (${other})
       ) GROUP BY ${SERIES}, start HAVING ${unlike}
     ) ${BACKGROUND}${engine.querySettings}`,
  );
  return found ?? { differing: '0', low: '0', high: '0' };
}
