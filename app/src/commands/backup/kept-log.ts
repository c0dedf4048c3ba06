import type { Log, PartitionLease } from '@millrace/core';
import type { BackupManifest } from '@millrace/registry';
import { Failure } from '../control/failure.ts';

const GROUP = 'processors';
const LEASES_MS_MAX = 60_000;

export interface Rewind {
  /** Of each partition of the log: where the processors go on. */
  readonly positions: ReadonlyMap<number, number>;
  /** Messages that came after the backup and that the log does not keep any more. */
  readonly lost: number;
}

/** Where the backup ends in a log that is still there.  @throws Failure when it can not be the same log */
export async function rewindOf(log: Log, manifest: BackupManifest): Promise<Rewind> {
  const ends = new Map(manifest.log.positions.map(({ partition, offset }) => [partition, offset]));
  const positions = new Map<number, number>();
  let lost = 0;
  for (let partition = 0; partition < log.partitionCount; partition++) {
    const { earliest, next } = await log.extent(partition);
    const end = ends.get(partition) ?? 0;
    if (end > next) throw anotherLog(`partition ${partition} ends at ${next}, the backup at ${end}`);
    lost += Math.max(0, earliest - end);
    positions.set(partition, Math.max(end, earliest));
    ends.delete(partition);
  }
  if (ends.size > 0) throw anotherLog(`it has no partition ${[...ends.keys()].join(', ')}`);
  return { positions, lost };
}

const anotherLog = (why: string): Failure =>
  new Failure(
    5,
    `This is not the log that the backup was taken beside: ${why}. Nothing was written.`,
    'Leave out --keep-log, with a log that is empty.',
  );

/** Lets the processors go on there, whatever they had read before. */
export async function rewind(log: Log, { positions }: Rewind): Promise<void> {
  const left = new Set(positions.keys());
  let done: (() => void) | undefined;
  let failed: ((error: unknown) => void) | undefined;
  const all = new Promise<void>((resolve, reject) => {
    done = resolve;
    failed = reject;
  });
  const consumer = await log.consume(GROUP, async (lease: PartitionLease) => {
    try {
      await lease.commit(positions.get(lease.partition) ?? 0, '');
      left.delete(lease.partition);
      if (left.size === 0) done?.();
    } catch (error) {
      failed?.(error);
    }
  });
  const late = setTimeout(
    () =>
      failed?.(
        new Failure(6, 'The log did not give its partitions.', 'Is a processor running? Stop it, and restore again.'),
      ),
    LEASES_MS_MAX,
  );
  try {
    if (left.size > 0) await all;
  } finally {
    clearTimeout(late);
    await consumer.stop();
  }
}
