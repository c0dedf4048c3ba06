import { type NormalisedBatch, StoreError, type TableName } from '@millrace/core';
import type { Engine, Look, Shard } from '../engine/engine.ts';
import { DEDUPLICATION_WINDOW_S } from '../schema/clustered.ts';
import { DEDUPLICATION_WINDOW } from '../schema/initial.ts';

/** How far an insert may reach beyond a range that is a part of it. */
const INSERT_OFFSETS_MAX = 1_000_000;
/** Clocks of nodes may differ by so much. @units s */
const SKEW_S = 600;

/** What a table has of a range, of one month. */
interface Found {
  readonly month: string;
  readonly rows: string;
  readonly low: string;
  readonly high: string;
  /** s since 1970 */
  readonly received: string;
}

/** The tables that have a range's rows, views included, and must not get them again.
 *
 *  `message_log` comes last: where it has the range, everything is there. Without it a kill may have kept a view from
 *  rows that its table has. If those rows came by an insert of this very range whose token the table surely remembers,
 *  the insert is told again, which mends the views and nothing else. An insert takes a block number of its own, so
 *  rows with the same number outside the range tell of a larger one, and distance bounds what came since.
 *  A part of a bisected range has no such choice: what is there may be all that the whole brought to this table, which
 *  block numbers do not tell from an insert of the part.
 *  @throws StoreError STORE_REFUSED when only a part of the rows is there: its parts can be told apart */
export async function stored(
  engine: Engine,
  shard: Shard,
  batch: NormalisedBatch,
  part: boolean,
): Promise<ReadonlySet<TableName>> {
  const { partition, first, last, blocks } = batch;
  const tables = (Object.keys(blocks) as TableName[]).filter((table) => blocks[table].rowCount > 0);
  const look = await shard.look(tables);
  const there = new Set<TableName>();
  for (const table of tables.toSorted((a) => (a === 'message_log' ? -1 : 1))) {
    const found = await look<Found>(
      `SELECT ${shard.blockNumbers === 'month' ? '_partition_id' : "''"} AS month, toString(count()) AS rows,
         toString(min(_block_number)) AS low, toString(max(_block_number)) AS high,
         toString(toUnixTimestamp(min(received))) AS received
       FROM ${engine.localTable(table)}
       WHERE log_partition = ${partition} AND log_offset BETWEEN ${first} AND ${last} GROUP BY month`,
    );
    if (found.length === 0) continue;
    const rowCount = found.reduce((sum, { rows }) => sum + Number(rows), 0);
    const whole = rowCount >= blocks[table].rowCount;
    if (whole && table === 'message_log') return new Set(tables);
    if (!part && (await cameByThisInsert(look, engine.localTable(table), batch, found))) continue;
    if (!whole)
      throw new StoreError('STORE_REFUSED', 'never', { table, first, last, rowCount, problem: 'partly there' });
    there.add(table);
  }
  return there;
}

async function cameByThisInsert(
  look: Look,
  table: string,
  { partition, first, last }: NormalisedBatch,
  found: readonly Found[],
): Promise<boolean> {
  for (const { month, low, high, received } of found) {
    const [beyond] = await look(
      `SELECT 1 FROM ${table} WHERE log_partition = ${partition}
         AND log_offset BETWEEN ${Math.max(0, first - INSERT_OFFSETS_MAX)} AND ${last + INSERT_OFFSETS_MAX}
         AND NOT (log_offset BETWEEN ${first} AND ${last}) AND _block_number BETWEEN ${low} AND ${high}
         ${month === '' ? '' : `AND _partition_id = '${month}'`} LIMIT 1`,
    );
    if (beyond !== undefined) return false;
    const [since] = await look<{ blocks: string }>(
      month === '' ? blocksSince(table, low) : blocksSinceInMonths(table, month, low, Number(received) - SKEW_S),
    );
    if (Number(since?.blocks ?? 0) >= DEDUPLICATION_WINDOW / 2) return false;
  }
  return true;
}

const blocksSince = (table: string, low: string): string =>
  `SELECT toString(greatest(0, toInt64(max(max_block_number)) - ${low})) AS blocks FROM system.parts
   WHERE database = currentDatabase() AND table = '${table}' AND active`;

/** Each month counts its blocks from one: what came since is what is behind in its own month, and in others at most what
 *  was written or merged since. A token is also forgotten with time. */
const blocksSinceInMonths = (table: string, month: string, low: string, fromS: number): string =>
  `SELECT toString(if(toUnixTimestamp(now()) - ${fromS} > ${DEDUPLICATION_WINDOW_S / 2}, ${DEDUPLICATION_WINDOW}, sum(
     if(partition_id = '${month}', greatest(0, toInt64(max_block_number) - greatest(${low}, toInt64(min_block_number) - 1)),
       toInt64(max_block_number) - toInt64(min_block_number) + 1)))) AS blocks FROM system.parts
   WHERE database = currentDatabase() AND table = '${table}' AND active
     AND (partition_id = '${month}' OR toUnixTimestamp(modification_time) >= ${fromS})`;
