import type { Fill, SeriesPoint } from '@millrace/core';

type Value = SeriesPoint['values'][number];

/** Gives every bucket of `starts` a point.
 *
 *  Each column on its own: a value that a bucket does not have is null, or that of the bucket before, or on the line between
 *  those on both sides; nothing is made up before the first and, for lines, after the last.
 *  @param points ascending; also those around `starts`, which values are taken from
 *  @param starts of the buckets to fill, ascending
 *  @param before values that hold before all points; only for `previous` */
export function filled(
  points: readonly SeriesPoint[],
  starts: readonly bigint[],
  fill: Exclude<Fill, 'none'>,
  columnCount: number,
  before: readonly Value[] = [],
): SeriesPoint[] {
  const known = new Map(points.map((point) => [point.timeNs, point.values]));
  const made = starts.map((start) => {
    const timeNs = String(start);
    return {
      timeNs,
      values: Array.from({ length: columnCount }, (_, column): Value => known.get(timeNs)?.[column] ?? null),
    };
  });
  if (fill === 'null') return made;
  for (let column = 0; column < columnCount; column++) {
    const given = points
      .map((point) => ({ ns: BigInt(point.timeNs), value: point.values[column] ?? null }))
      .filter(({ value }) => value !== null);
    let next = 0;
    for (const [index, { values }] of made.entries()) {
      const ns = starts[index] as bigint;
      while (next < given.length && (given[next]?.ns as bigint) <= ns) next++;
      if (values[column] !== null) continue;
      const left = given[next - 1];
      if (fill === 'previous') values[column] = left?.value ?? before[column] ?? null;
      else values[column] = between(left, given[next], ns);
    }
  }
  return made;
}

interface Known {
  readonly ns: bigint;
  readonly value: Value;
}
function between(left: Known | undefined, right: Known | undefined, ns: bigint): number | null {
  if (typeof left?.value !== 'number' || typeof right?.value !== 'number') return null;
  const part = Number(ns - left.ns) / Number(right.ns - left.ns);
  return left.value + (right.value - left.value) * part;
}
