import { createMetrics, StoreError, type TableName } from '@millrace/core';
import { expect, test } from 'vitest';
import type { Engine, Shard } from '../engine/engine.ts';
import { Turnstile } from '../engine/turnstile.ts';
import { batchOf } from '../testing/batches.ts';
import { Writer } from './writer.ts';

test('an insert that was given up does not begin after all, when the server that kept it waiting is back', async () => {
  const inserted: TableName[] = [];
  let back = (): void => {};
  const away = new Promise<void>((resolve) => {
    back = resolve;
  });
  let refused: unknown;
  const shard: Pick<Shard, 'insertBlock'> = {
    async insertBlock(table, _bytes, _token, fence) {
      await away;
      await fence?.().catch((error: unknown) => {
        refused = error;
        throw error;
      });
      inserted.push(table);
    },
  };
  const engine = { shardOf: async () => shard } as unknown as Engine;
  const writer = new Writer(engine, new Turnstile('inserts', 1, 1), createMetrics(), 20);
  let asked = 0;
  const fence = async (): Promise<void> => {
    asked++;
  };
  const writing = writer.write('messages', batchOf(0, [{}]), { verify: false, fence });
  await expect(writing).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  back();
  await expect.poll(() => refused, { timeout: 20_000 }).toBeInstanceOf(StoreError);
  expect(asked).toBe(1);
  expect(inserted).toEqual([]);
});
