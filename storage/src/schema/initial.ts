import type { Migration } from './migrate.ts';

/** Inserts that a table remembers by their token. A view's target needs a window of its own, or a repeated insert
 *  counts twice there. */
export const DEDUPLICATION_WINDOW = 10_000;

/** Small parts are many and short-lived: fewer, wider merges, and no part of 60 files before it is large. Measured
 *  40 % less CPU a row than the engine's own choice. */
const SETTINGS = `non_replicated_deduplication_window = ${DEDUPLICATION_WINDOW}, merge_selector_base = 16, min_bytes_for_wide_part = 268435456`;

/** Rows keep the number of their insert through merges: a redo tells by it which insert brought them. */
const SOURCE_SETTINGS = `${SETTINGS}, enable_block_number_column = 1`;

/** Where a row comes from, and when it may go. */
const ORIGIN = `
  org LowCardinality(String),
  channel LowCardinality(String),
  subtopic LowCardinality(String),
  publisher LowCardinality(String),
  protocol LowCardinality(String),
  received DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
  log_partition UInt16 CODEC(T64, ZSTD(1)),
  log_offset UInt64 CODEC(Delta, ZSTD(1))`;
const EXPIRES = `expires DateTime('UTC') DEFAULT toDateTime('2106-01-01 00:00:00', 'UTC') CODEC(DoubleDelta, ZSTD(1))`;

/** Which series a row is of: never two units or subtopics in one aggregate. */
export const SERIES = 'org, channel, name, publisher, subtopic, unit';

/** Widths of the buckets, in s; 0 is all time, from which `latest` takes its numbers. */
const WIDTHS = [0, 60, 3_600] as const;

/** A time, down to the start of its bucket, in signed arithmetic. DateTime ends in 1970 and 2106, a device's clock
 *  does not. */
export function bucket(time: string, seconds: string): string {
  const ns = `toUnixTimestamp64Nano(${time})`;
  return `toDateTime64(fromUnixTimestamp64Nano(${ns} - positiveModulo(${ns}, toInt64(${seconds}) * 1000000000), 'UTC'), 0, 'UTC')`;
}

const rollupView = (name: string, width: (typeof WIDTHS)[number]): string => `CREATE VIEW IF NOT EXISTS ${name} AS
SELECT ${SERIES}, month, bucket, count, minimum, maximum, sum, first, last, last_time, last_received
FROM rollups WHERE width = ${width}`;

/** Tables, rollups and the last value of each series. Only numbers are rolled up; `latest` holds every kind.
 *  A batch is grouped once, by minute; the wider buckets follow from its groups, and all go into one part: what a
 *  view costs is mostly the files of one more part.
 *  @source docs/adr/0003-storage-schema.md */
export const initial: Migration = {
  version: 1,
  name: 'initial',
  statements: [
    `CREATE TABLE IF NOT EXISTS readings (${ORIGIN},
  \`index\` UInt32 CODEC(T64, ZSTD(1)),
  name LowCardinality(String),
  unit LowCardinality(String),
  time DateTime64(9, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
  kind LowCardinality(String),
  value Nullable(Float64) CODEC(Gorilla, ZSTD(1)),
  string_value String CODEC(ZSTD(1)),
  bool_value Nullable(Bool) CODEC(ZSTD(1)),
  data_value String CODEC(ZSTD(1)),
  sum Nullable(Float64) CODEC(Gorilla, ZSTD(1)),
  update_time Nullable(Float64) CODEC(Gorilla, ZSTD(1)),
  ${EXPIRES},
  INDEX by_time time TYPE minmax GRANULARITY 1,
  INDEX by_offset log_offset TYPE minmax GRANULARITY 1
) ENGINE = MergeTree PARTITION BY toYYYYMM(received) ORDER BY (org, channel, name, publisher, time)
  TTL expires SETTINGS ${SOURCE_SETTINGS}`,

    `CREATE TABLE IF NOT EXISTS messages (id UUID CODEC(ZSTD(1)), ${ORIGIN},
  content_type LowCardinality(String),
  size UInt32 CODEC(T64, ZSTD(1)),
  payload String CODEC(ZSTD(1)),
  ${EXPIRES},
  INDEX by_offset log_offset TYPE minmax GRANULARITY 1
) ENGINE = MergeTree PARTITION BY toYYYYMM(received) ORDER BY (org, channel, received, log_partition, log_offset)
  TTL expires SETTINGS ${SOURCE_SETTINGS}`,

    // UUIDs sort by their second half: as numbers they sort as they were made, so the key finds one granule.
    `CREATE TABLE IF NOT EXISTS message_log (id UUID CODEC(ZSTD(1)), ${ORIGIN},
  content_type LowCardinality(String),
  size UInt32 CODEC(T64, ZSTD(1)),
  decision LowCardinality(String),
  readings UInt32 CODEC(T64, ZSTD(1)),
  dead_letters UInt32 CODEC(T64, ZSTD(1)),
  stored LowCardinality(String),
  reason LowCardinality(String),
  ${EXPIRES},
  INDEX by_offset log_offset TYPE minmax GRANULARITY 1
) ENGINE = MergeTree PARTITION BY toYYYYMM(received) ORDER BY toUInt128(id)
  TTL expires SETTINGS ${SOURCE_SETTINGS}`,

    `CREATE TABLE IF NOT EXISTS dead_letters (id UUID CODEC(ZSTD(1)), ${ORIGIN},
  content_type LowCardinality(String),
  record_index Nullable(UInt32) CODEC(ZSTD(1)),
  reason LowCardinality(String),
  detail String CODEC(ZSTD(1)),
  payload String CODEC(ZSTD(1)),
  ${EXPIRES},
  INDEX by_offset log_offset TYPE minmax GRANULARITY 1
) ENGINE = MergeTree PARTITION BY toYYYYMM(received) ORDER BY (org, received, log_partition, log_offset)
  TTL expires SETTINGS ${SOURCE_SETTINGS}`,

    `CREATE TABLE IF NOT EXISTS rollups (
  org LowCardinality(String),
  channel LowCardinality(String),
  width UInt32,
  name LowCardinality(String),
  publisher LowCardinality(String),
  subtopic LowCardinality(String),
  unit LowCardinality(String),
  month Date,
  bucket DateTime64(0, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
  count SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  minimum SimpleAggregateFunction(min, Float64) CODEC(Gorilla, ZSTD(1)),
  maximum SimpleAggregateFunction(max, Float64) CODEC(Gorilla, ZSTD(1)),
  sum SimpleAggregateFunction(sum, Float64) CODEC(Gorilla, ZSTD(1)),
  first AggregateFunction(argMin, Float64, DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
  last AggregateFunction(argMax, Float64, DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
  last_time SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(DoubleDelta, ZSTD(1)),
  last_received SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(DoubleDelta, ZSTD(1))
) ENGINE = AggregatingMergeTree PARTITION BY month
  ORDER BY (org, channel, width, name, publisher, subtopic, unit, bucket) SETTINGS ${SETTINGS}`,

    `CREATE TABLE IF NOT EXISTS latest_others (
  org LowCardinality(String),
  channel LowCardinality(String),
  name LowCardinality(String),
  publisher LowCardinality(String),
  subtopic LowCardinality(String),
  unit LowCardinality(String),
  time DateTime64(9, 'UTC'),
  received DateTime64(6, 'UTC'),
  kind LowCardinality(String),
  string_value String,
  bool_value Nullable(Bool),
  data_value String,
  sum Nullable(Float64)
) ENGINE = ReplacingMergeTree(time) ORDER BY (org, channel, name, publisher, subtopic) SETTINGS ${SETTINGS}`,

    `CREATE MATERIALIZED VIEW IF NOT EXISTS rollups_view TO rollups AS
SELECT ${SERIES}, month, width, if(width = 0, toDateTime64(0, 0, 'UTC'), ${bucket('minute', 'greatest(width, 1)')}) AS bucket,
  count, minimum, maximum, sum, first, last, last_time, last_received
FROM (
  SELECT ${SERIES}, toStartOfMonth(received) AS month, ${bucket('time', '60')} AS minute,
    count() AS count, min(assumeNotNull(value)) AS minimum, max(assumeNotNull(value)) AS maximum,
    sum(assumeNotNull(value)) AS sum, argMinState(assumeNotNull(value), time) AS first,
    argMaxState(assumeNotNull(value), time) AS last, max(time) AS last_time, max(received) AS last_received
  FROM readings WHERE isNotNull(value) GROUP BY ${SERIES}, month, minute
) ARRAY JOIN [${WIDTHS.join(', ')}]::Array(UInt32) AS width`,

    `CREATE MATERIALIZED VIEW IF NOT EXISTS latest_others_view TO latest_others AS
SELECT ${SERIES}, time, received, kind, string_value, bool_value, data_value, sum
FROM readings WHERE isNull(value)`,

    rollupView('readings_1m', 60),
    rollupView('readings_1h', 3_600),

    `CREATE VIEW IF NOT EXISTS latest AS
SELECT org, channel, name, publisher, subtopic, newest_time AS time, newest.1 AS unit, newest.2 AS received,
  newest.3 AS kind, newest.4 AS value, newest.5 AS string_value, newest.6 AS bool_value, newest.7 AS data_value,
  newest.8 AS sum
FROM (
 SELECT org, channel, name, publisher, subtopic, max(time) AS newest_time,
  argMax((unit, received, kind, value, string_value, bool_value, data_value, sum), time) AS newest
 FROM (
  SELECT ${SERIES}, last_time AS time, last_received AS received, 'number' AS kind,
    toNullable(finalizeAggregation(last)) AS value, '' AS string_value, NULL::Nullable(Bool) AS bool_value,
    '' AS data_value, NULL::Nullable(Float64) AS sum
  FROM rollups WHERE width = 0
  UNION ALL
  SELECT ${SERIES}, time, received, kind::String, NULL::Nullable(Float64), string_value, bool_value, data_value, sum
  FROM latest_others
 ) GROUP BY org, channel, name, publisher, subtopic)`,
  ],
};
