import { GONE_PARTITION_MIN, type SnapshotTable, type StoreSnapshot, TABLES } from '@millrace/core';
import type { Engine } from '../engine/engine.ts';

/** Clocks of nodes may differ by so much. @units s */
const SKEW_S = 600;
/** A backup must not take the engine from those who work with it. */
const SETTINGS = 'SETTINGS max_threads=2';
/** By what a table is partitioned, so that only these rows are read. */
const MONTHS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(TABLES.map((table) => [table, 'toYYYYMM(t.received)'])),
  rollups: 'toYYYYMM(t.month)',
};
/** Rows of another schema are none of ours. */
const VERSION = 'SELECT max(version) AS version FROM schema_migrations';

interface Reached {
  readonly partition: number;
  readonly next: string;
  /** µs since 1970 */
  readonly received: string;
}

/** The tables up to where `message_log` has come in each partition: it is written last, so all that is before is there.
 *  What is added meanwhile lies beyond and is left out; merges change no rows.
 *
 *  Rollups are not of one moment: those of months that are over are read, since readings that they were made of may have
 *  expired. Those of the month that goes on are made again from its readings, but for what has to be known of the last
 *  value of each series.  @source docs/adr/0027 */
export async function takeSnapshot(engine: Engine, behind: ReadonlySet<number>, nowMs: number): Promise<StoreSnapshot> {
  const [found] = await engine.rows<{ version: number }>(VERSION);
  const reached = await engine.rows<Reached>(
    `SELECT log_partition AS partition, toString(max(log_offset) + 1) AS next,
       toString(toUnixTimestamp64Micro(max(received))) AS received
     FROM message_log GROUP BY log_partition ORDER BY log_partition`,
  );
  const live = reached.filter(({ partition }) => partition < GONE_PARTITION_MIN);
  const gone = reached.map(({ partition }) => partition).filter((partition) => partition >= GONE_PARTITION_MIN);
  const firstFree = Math.max(GONE_PARTITION_MIN - 1, ...gone) + 1;
  const partitions = new Map(live.map(({ partition }, index) => [partition, firstFree + index]));
  const late = live.filter(({ partition }) => behind.has(partition)).map(({ received }) => Number(received) / 1_000);
  // Nothing that is left out was received before.
  const openS = Math.floor(Math.min(nowMs, ...late) / 1_000) - SKEW_S;
  return {
    schema: found?.version ?? 0,
    positions: new Map(live.map(({ partition, next }) => [partition, Number(next)])),
    partitions,
    tables: () => tables(engine, live, partitions, openS),
  };
}

async function* tables(
  engine: Engine,
  live: readonly Reached[],
  partitions: ReadonlyMap<number, number>,
  openS: number,
): AsyncGenerator<SnapshotTable> {
  const from = `[${live.map(({ partition }) => partition).join(', ')}]`;
  const to = `[${live.map(({ partition }) => partitions.get(partition)).join(', ')}]`;
  const ends = `[${live.map(({ next }) => next).join(', ')}]`;
  const within =
    live.length === 0
      ? `log_partition >= ${GONE_PARTITION_MIN}`
      : `(log_partition >= ${GONE_PARTITION_MIN} OR log_offset < transform(log_partition, ${from}, ${ends}, toUInt64(0)))`;
  const renumbered =
    live.length === 0 ? 'log_partition' : `transform(log_partition, ${from}, ${to}, toInt64(log_partition))`;
  const openMonth = new Date(openS * 1_000).toISOString().slice(0, 7).replace('-', '');

  const table = async function* (
    name: string,
    part: string,
    condition: string,
    replaced: Readonly<Record<string, string>> = {},
    final = '',
    clears = false,
  ): AsyncGenerator<SnapshotTable> {
    const columns = await columnsOf(engine, name);
    const selected = columns
      .map((column) => `${replaced[column] ?? `t.${quote(column)}`} AS ${quote(column)}`)
      .join(', ');
    const of = MONTHS[name] === undefined ? '' : ` AND ${MONTHS[name]} = ${part}`;
    const rows = engine.stream(`SELECT ${selected} FROM ${name} AS t ${final} WHERE ${condition}${of} ${SETTINGS}`, {
      format: 'TabSeparated',
    });
    yield { name, part, columns, rows, ...(clears ? { clears } : {}) };
  };

  const closed: [string, string][] = [];
  const open: [string, string][] = [];
  for (const name of TABLES)
    for (const part of await monthsOf(engine, name))
      (name === 'readings' && part >= openMonth ? open : closed).push([name, part]);
  for (const [name, part] of closed)
    yield* table(name, part, within.replaceAll('log_', 't.log_'), {
      log_partition: renumbered.replaceAll('log_', 't.log_'),
    });
  // From here on the views' own rows count: what they made so far is replaced by what is read here.
  const over = (await monthsOf(engine, 'rollups')).filter((part) => part < openMonth);
  for (const [index, part] of over.entries()) yield* table('rollups', part, '1', {}, 'FINAL', index === 0);
  for (const [name, part] of open)
    yield* table(name, part, within.replaceAll('log_', 't.log_'), {
      log_partition: renumbered.replaceAll('log_', 't.log_'),
    });
  const known = `t.last_received < fromUnixTimestamp64Milli(${openS}000, 'UTC')`;
  for (const part of await monthsOf(engine, 'rollups'))
    if (part >= openMonth)
      // The same readings come in by the view: minima, maxima and last values stay what they are, counts and sums would not.
      yield* table('rollups', part, `t.width = 0 AND ${known}`, { count: '0', sum: '0' }, 'FINAL');
  yield* table('latest_others', 'all', known.replace('last_received', 'received'), {}, 'FINAL');
}

/** Months that a table has rows of, as `202611`. */
async function monthsOf(engine: Engine, table: string): Promise<string[]> {
  const rows = await engine.rows<{ part: string }>(
    `SELECT DISTINCT toString(${MONTHS[table]}) AS part FROM ${table} AS t ORDER BY part ${SETTINGS}`,
  );
  return rows.map(({ part }) => part);
}

async function columnsOf(engine: Engine, table: string): Promise<string[]> {
  const rows = await engine.rows<{ name: string }>(
    `SELECT name FROM system.columns WHERE database = currentDatabase() AND table = '${table}'
     AND default_kind NOT IN ('MATERIALIZED', 'ALIAS') ORDER BY position`,
  );
  return rows.map(({ name }) => name);
}

export const quote = (name: string): string => `\`${name}\``;
