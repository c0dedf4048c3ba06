import type { Committed } from '@millrace/core';
import type { Extent } from './client.ts';

/** What Kafka would remove, whether it is read or not. */
export interface Retention {
  /** null: nothing goes by age. */
  readonly ms: number | null;
  /** Of one partition; null: nothing goes by size. */
  readonly bytes: number | null;
}

/** One partition, seen for the group that must read it. */
export interface Unread {
  readonly extent: Extent;
  /** undefined: it never committed. */
  readonly committed: Committed | undefined;
  /** The first offset that is younger than the share of the retention allows; null: not asked yet. */
  readonly youngFrom: number | null;
  /** What a record takes, roughly. */
  readonly recordBytes: number;
}

export interface Verdict {
  /** Records that the group has not read, of those that are kept. */
  readonly lag: number;
  readonly lagBytes: number;
  /** Records that went before the group had read them. */
  readonly lost: number;
  /** Why nothing more may be appended for now. */
  readonly full: 'age' | 'size' | null;
}

/** Whether what is not read yet comes too close to being removed.
 *  @source ADR 0022 */
export function judge(unread: Unread, retention: Retention, shareMax: number | null): Verdict {
  const { extent, committed, youngFrom, recordBytes } = unread;
  const from = Math.max(committed?.offset ?? extent.earliest, extent.earliest);
  const lag = Math.max(0, extent.next - from);
  const lagBytes = lag * recordBytes;
  const lost = committed === undefined ? 0 : Math.max(0, extent.earliest - committed.offset);
  let full: Verdict['full'] = null;
  if (shareMax !== null && lag > 0) {
    if (retention.ms !== null && youngFrom !== null && from < youngFrom) full = 'age';
    else if (retention.bytes !== null && lagBytes > retention.bytes * shareMax) full = 'size';
  }
  return { lag, lagBytes, lost, full };
}

/** Kafka's settings of a topic; −1 is no limit there. */
export function retentionOf(settings: ReadonlyMap<string, string>): Retention {
  // What is only compacted keeps the newest of each key, however old.
  if (!(settings.get('cleanup.policy') ?? 'delete').includes('delete')) return { ms: null, bytes: null };
  const limit = (name: string): number | null => {
    const value = Number(settings.get(name) ?? -1);
    return value >= 0 ? value : null;
  };
  return { ms: limit('retention.ms'), bytes: limit('retention.bytes') };
}
