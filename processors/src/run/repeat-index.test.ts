import type { LogBatch } from '@millrace/core';
import { describe, expect, test } from 'vitest';
import { RepeatTable } from '../batch/repeat-table.ts';
import { RepeatIndex } from './repeat-index.ts';

const window = { recordsMax: 10, secondsMax: 60 };

/** An index over a log that keeps some offsets, read three at a time. */
function indexOver(kept: readonly number[]) {
  const reads: number[] = [];
  const learned: number[] = [];
  let faults = 0;
  const index = new RepeatIndex({
    window,
    async read(from, last) {
      reads.push(from);
      const offsets = kept.filter((offset) => offset >= from && offset <= last).slice(0, 3);
      if (offsets.length === 0) return null;
      return {
        partition: 0,
        first: offsets[0] as number,
        last: offsets.at(-1) as number,
        count: offsets.length,
        bytes: new Uint8Array(0),
        offsets: Float64Array.from(offsets),
      } satisfies LogBatch;
    },
    async learn(part, buffer) {
      if (faults-- > 0) throw new Error('the worker failed');
      const table = new RepeatTable(buffer);
      for (const offset of part.offsets ?? []) {
        if (offset > part.last) continue;
        learned.push(offset);
        table.put(table.keyOf('p', 'c', `${offset}`), offset, 0);
      }
    },
  });
  return {
    index,
    reads,
    learned,
    failing: (times: number) => {
      faults = times;
    },
  };
}
const upTo = (last: number) => Array.from({ length: last + 1 }, (_, offset) => offset);

describe('the index of what may be repeated', () => {
  test('has nothing until it is built, and then the window before an offset', async () => {
    const { index, learned } = indexOver(upTo(40));
    expect(index.tableFor(30, 5)).toBeNull();
    await index.build(30, 30);
    expect(learned).toEqual(upTo(29).slice(20));
    expect(index.tableFor(30, 5)).not.toBeNull();
  });
  test('begins with the log, and is built where there is nothing before', async () => {
    const { index, learned } = indexOver([3, 4, 5]);
    await index.build(5, 5);
    expect(learned).toEqual([3, 4]);
    const empty = indexOver([0]);
    await empty.index.build(0, 0);
    expect(empty.index.tableFor(0, 1)).not.toBeNull();
    expect(empty.reads).toEqual([]);
  });
  test('passes over offsets that the log does not have', async () => {
    const { index, learned } = indexOver([20, 23, 27, 28, 35]);
    await index.build(31, 35);
    expect(learned).toEqual([23, 27, 28]);
    expect(index.tableFor(31, 1)).not.toBeNull();
  });
  test('moves on with the batches, over gaps, and is of no use elsewhere', async () => {
    const { index } = indexOver(upTo(40));
    await index.build(30, 30);
    index.passed(33);
    expect(index.tableFor(34, 1)).not.toBeNull();
    index.skipped(34, 36);
    expect(index.tableFor(36, 1)).not.toBeNull();
    expect(index.tableFor(35, 1)).toBeNull();
    expect(index.tableFor(36, 1)).toBeNull();
  });
  test('stays empty when batches pass that it does not know', () => {
    const { index } = indexOver(upTo(40));
    index.passed(10);
    expect(index.tableFor(11, 1)).toBeNull();
  });
  test('is built anew after a fault', async () => {
    const { index, learned, failing } = indexOver(upTo(40));
    failing(1);
    await expect(index.build(30, 30)).rejects.toThrow('the worker failed');
    expect(index.tableFor(30, 1)).toBeNull();
    await index.build(30, 30);
    expect(learned).toEqual(upTo(29).slice(20));
  });
  test('makes room by leaving out what is before the window', async () => {
    const { index } = indexOver(upTo(40));
    await index.build(30, 30);
    for (let first = 30; first < 5_030; first += 100) {
      const buffer = index.tableFor(first, 100);
      const table = new RepeatTable(buffer as SharedArrayBuffer);
      expect(table.used).toBeLessThan(1_100);
      for (let offset = first; offset < first + 100; offset++) table.put(table.keyOf('p', 'c', `${offset}`), offset, 0);
      index.passed(first + 99);
    }
  });
});
