import { type LogBatch, LogError, type PartitionLease, type ReadOptions } from '@millrace/core';
import { describe, expect, test } from 'vitest';
import { Source } from './source.ts';

const never = new AbortController().signal;

/** A lease of a partition whose log keeps some offsets, and gives nothing for so many reads. */
function sourceOver(kept: readonly number[], silences: number, partBytes = Number.POSITIVE_INFINITY) {
  let silent = silences;
  let given = 0;
  const lease = {
    partition: 0,
    signal: never,
    async read(from: number, { last = Number.POSITIVE_INFINITY, bytesMax }: ReadOptions): Promise<LogBatch | null> {
      if (given > 0 && silent-- > 0) return null;
      const count = Math.min(bytesMax, partBytes);
      const offsets = kept.filter((offset) => offset >= from && offset <= last).slice(0, count);
      given++;
      if (offsets.length === 0) return null;
      const [first, end] = [offsets[0] as number, offsets.at(-1) as number];
      const bytes = new Uint8Array(offsets.length * 4);
      return { partition: 0, first, last: end, count: offsets.length, bytes, offsets: Float64Array.from(offsets) };
    },
  } as unknown as PartitionLease;
  const extent = async () => ({ earliest: kept[0] ?? 100, next: (kept.at(-1) ?? 99) + 1 });
  return {
    source: new Source(lease, extent),
    silence: (times: number) => {
      silent = times;
      given = 1;
    },
  };
}
const upTo = (last: number) => Array.from({ length: last + 1 }, (_, offset) => offset);

describe('what is read of a range', () => {
  test('is all of it, also when the log gives nothing for a while: its rows would be lost', async () => {
    const { source, silence } = sourceOver(upTo(9), 0);
    silence(3);
    expect((await source.readRange({ first: 2, last: 6 }, never))?.count).toBe(5);
  });
  test('is not its beginning only, when the rest is late', async () => {
    const { source } = sourceOver(upTo(9), 3, 2);
    expect((await source.readRange({ first: 2, last: 7 }, never))?.count).toBe(6);
  });
  test('is unreachable, and not nothing, when the log stays silent though it keeps it', async () => {
    const { source, silence } = sourceOver(upTo(9), 0);
    silence(1_000);
    await expect(source.readRange({ first: 2, last: 6 }, never)).rejects.toThrow(LogError);
    silence(1_000);
    await expect(source.readPart({ first: 2, last: 6 }, 100, never)).rejects.toMatchObject({ code: 'LOG_UNREACHABLE' });
    silence(0);
    expect((await source.readRange({ first: 2, last: 6 }, never))?.count).toBe(5);
  });
  test('is nothing when the log keeps nothing of it', async () => {
    expect(await sourceOver([7, 8], 0).source.readRange({ first: 2, last: 6 }, never)).toBeNull();
    expect(await sourceOver([0, 1, 7, 8], 0).source.readRange({ first: 2, last: 6 }, never)).toBeNull();
    expect(await sourceOver([7, 8], 0).source.readPart({ first: 2, last: 6 }, 100, never)).toBeNull();
  });
  test('is what is left when the log has lost some of it', async () => {
    const read = await sourceOver([5, 6, 7], 0).source.readRange({ first: 2, last: 6 }, never);
    expect([read?.first, read?.last, read?.count]).toEqual([5, 6, 2]);
    const middle = await sourceOver([0, 1, 2, 9], 0).source.readRange({ first: 1, last: 6 }, never);
    expect([middle?.first, middle?.last, middle?.count]).toEqual([1, 6, 2]);
  });
});
