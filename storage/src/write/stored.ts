import { type NormalisedBatch, StoreError, type TableName } from '@millrace/core';
import type { Engine } from '../engine/engine.ts';
import { DEDUPLICATION_WINDOW } from '../schema/initial.ts';

/** How far an insert may reach beyond a range that is a part of it. */
const INSERT_OFFSETS_MAX = 1_000_000;

/** The tables that have a range's rows, views included, and must not get them again.
 *
 *  `message_log` comes last: where it has the range, everything is there. Without it a kill may have kept a view from
 *  rows that its table has. If those rows came by an insert of this very range whose token the table surely remembers,
 *  the insert is told again, which mends the views and nothing else. An insert takes a block number of its own, so
 *  rows with the same number outside the range tell of a larger one, and distance bounds what came since.
 *  A part of a bisected range has no such choice: what is there may be all that the whole brought to this table, which
 *  block numbers do not tell from an insert of the part.
 *  @throws StoreError STORE_REFUSED when only a part of the rows is there: its parts can be told apart */
export async function stored(engine: Engine, batch: NormalisedBatch, part: boolean): Promise<ReadonlySet<TableName>> {
  const { partition, first, last, blocks } = batch;
  const of = `log_partition = ${partition} AND log_offset BETWEEN ${first} AND ${last}`;
  const tables = (Object.keys(blocks) as TableName[]).filter((table) => blocks[table].rowCount > 0);
  const there = new Set<TableName>();
  for (const table of tables.toSorted((a) => (a === 'message_log' ? -1 : 1))) {
    const [found] = await engine.rows<{ rows: string; low: string; high: string }>(
      `SELECT toString(count()) AS rows, toString(min(_block_number)) AS low, toString(max(_block_number)) AS high
       FROM ${table} WHERE ${of}`,
    );
    const rowCount = Number(found?.rows ?? 0);
    if (found === undefined || rowCount === 0) continue;
    const whole = rowCount >= blocks[table].rowCount;
    if (whole && table === 'message_log') return new Set(tables);
    if (!part && (await cameByThisInsert(engine, batch, table, found))) continue;
    if (!whole)
      throw new StoreError('STORE_REFUSED', 'never', { table, first, last, rowCount, problem: 'partly there' });
    there.add(table);
  }
  return there;
}

async function cameByThisInsert(
  engine: Engine,
  { partition, first, last }: NormalisedBatch,
  table: TableName,
  blocks: { readonly low: string; readonly high: string },
): Promise<boolean> {
  const [beyond] = await engine.rows(
    `SELECT 1 FROM ${table} WHERE log_partition = ${partition}
       AND log_offset BETWEEN ${Math.max(0, first - INSERT_OFFSETS_MAX)} AND ${last + INSERT_OFFSETS_MAX}
       AND NOT (log_offset BETWEEN ${first} AND ${last}) AND _block_number BETWEEN ${blocks.low} AND ${blocks.high} LIMIT 1`,
  );
  const [newest] = await engine.rows<{ block: string }>(
    `SELECT toString(max(max_block_number)) AS block FROM system.parts
     WHERE database = currentDatabase() AND table = '${table}' AND active`,
  );
  return beyond === undefined && Number(newest?.block ?? 0) - Number(blocks.low) < DEDUPLICATION_WINDOW / 2;
}
