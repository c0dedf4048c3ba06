import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '@millrace/core';

const POLL_MS = 50;

/** Waits until what is acknowledged now is stored, or the time is over.
 *  @returns how many messages of each partition are not; all partitions of none */
export async function caughtUp(log: Log, group: string, msMax: number): Promise<ReadonlyMap<number, number>> {
  const ends = new Map<number, number>();
  for (let partition = 0; partition < log.partitionCount; partition++)
    ends.set(partition, (await log.extent(partition)).next);
  const behind = new Map<number, number>();
  for (const end = Date.now() + msMax; ; await sleep(POLL_MS)) {
    behind.clear();
    for (const [partition, next] of ends) {
      const { offset } = await log.committed(group, partition);
      const { earliest } = offset < 0 ? await log.extent(partition) : { earliest: 0 };
      const missing = next - Math.max(offset, earliest);
      if (missing > 0) behind.set(partition, missing);
    }
    if (behind.size === 0 || Date.now() >= end) return behind;
  }
}
