import {
  type Deletion,
  GONE_PARTITION_MIN,
  type Hold,
  type StoredKind,
  type StoredSelection,
  type TableName,
  type TimeSpan,
} from '@millrace/core';

export const TABLE_OF: Readonly<Record<StoredKind, TableName>> = {
  readings: 'readings',
  payloads: 'messages',
  dead_letters: 'dead_letters',
  message_log: 'message_log',
};

/** What a DateTime64(9) can hold. @units µs since 1970 */
const INSTANT_US_MAX = 9_223_372_036_854_775n;

/** A text as ClickHouse writes it: mutations take no parameters. */
export const literal = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

export function instant(us: bigint): string {
  const within = us > INSTANT_US_MAX ? INSTANT_US_MAX : us < -INSTANT_US_MAX ? -INSTANT_US_MAX : us;
  return `fromUnixTimestamp64Micro(toInt64(${within}), 'UTC')`;
}

const oneOf = (column: string, values: readonly string[] | undefined): string[] => {
  if (values === undefined) return [];
  return values.length === 0 ? ['0'] : [`${column} IN (${values.map(literal).join(', ')})`];
};

/** Which series: of every table but for `name`, which only readings and what is made of them have. */
export const seriesConditions = (selection: Partial<StoredSelection>): string[] => [
  ...(selection.org === undefined ? [] : [`org = ${literal(selection.org)}`]),
  ...oneOf('channel', selection.channels),
  ...oneOf('publisher', selection.publishers),
  ...oneOf('name', selection.names),
  ...oneOf('subtopic', selection.subtopics),
];

export const timeConditions = (column: string, { fromUs, toUs }: TimeSpan): string[] => [
  ...(fromUs === undefined ? [] : [`${column} >= ${instant(fromUs)}`]),
  ...(toUs === undefined ? [] : [`${column} < ${instant(toUs)}`]),
];

/** Rows of one table that a deletion reaches. */
export function reached(table: TableName, deletion: Deletion): string {
  return [
    ...seriesConditions(deletion),
    ...timeConditions(table === 'readings' ? 'time' : 'received', deletion),
    ...accepted(deletion.before),
  ].join(' AND ');
}

function accepted(before: Deletion['before']): string[] {
  if (before === null) return [];
  const partitions = [...before.keys()].join(', ');
  const ends = [...before.values()].join(', ');
  // Rows that came back with a backup are of a log that is gone.
  const gone = `log_partition >= ${GONE_PARTITION_MIN}`;
  if (before.size === 0) return [gone];
  return [`(${gone} OR log_offset < transform(log_partition, [${partitions}], [${ends}]::Array(UInt64), toUInt64(0)))`];
}

/** Rows of a table that a hold speaks of, within its organisation. Of a bucket it is enough to touch its time. */
export function heldRows(table: TableName | 'rollups' | 'latest_others', hold: Hold): string {
  const conditions = seriesConditions(hold);
  if (table === 'rollups') {
    const touches = [
      ...(hold.fromUs === undefined ? [] : [`addSeconds(bucket, width) > ${instant(hold.fromUs)}`]),
      ...(hold.toUs === undefined ? [] : [`bucket < ${instant(hold.toUs)}`]),
    ];
    if (touches.length > 0) conditions.push(`(width = 0 OR (${touches.join(' AND ')}))`);
  } else
    conditions.push(...timeConditions(table === 'readings' || table === 'latest_others' ? 'time' : 'received', hold));
  return conditions.length === 0 ? '1' : conditions.join(' AND ');
}
