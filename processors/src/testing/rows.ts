import { type BatchTally, TABLES, type TableName, unpackBatch } from '@millrace/core';
import { BatchNormaliser } from '../batch/normaliser.ts';
import type { BatchAnswer, BatchTask } from '../batch/task.ts';
import { SECRET } from './envelopes.ts';
import { readNative } from './native.ts';
import { createEnforcer, createSealer } from './plain-enforcer.ts';

export type Row = Record<string, unknown>;
export type Rows = Record<TableName, Row[]> & { tally: BatchTally };

export const newNormaliser = (): BatchNormaliser => new BatchNormaliser(createSealer(SECRET), createEnforcer());

/** What a task's answer says, as rows. */
export function rowsOf(answer: BatchAnswer): Rows {
  if (answer.kind !== 'rows') throw new RangeError('the batch was not normalised');
  const { blocks, tally } = unpackBatch(answer.rows, 0, 0, answer.last);
  const rows = { tally } as Rows;
  for (const table of TABLES) rows[table] = blocks[table].rowCount === 0 ? [] : readNative(blocks[table].bytes);
  return rows;
}

const normaliser = newNormaliser();
export const normalised = (task: BatchTask): Rows => rowsOf(normaliser.run(task));
