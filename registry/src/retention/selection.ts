import { createHash } from 'node:crypto';
import type { Deletion, StoredKind } from '@millrace/core';

/** What a deletion was asked to reach, as it is kept.  @units from_us, to_us: µs since 1970, decimal text */
export interface DeletionRequest {
  readonly what: readonly StoredKind[];
  readonly channels?: readonly string[] | undefined;
  readonly publishers?: readonly string[] | undefined;
  readonly names?: readonly string[] | undefined;
  readonly subtopics?: readonly string[] | undefined;
  readonly from_us?: string | undefined;
  readonly to_us?: string | undefined;
}

/** What a hold and a deletion have in common. */
export type Reach = Pick<DeletionRequest, 'channels' | 'publishers' | 'from_us' | 'to_us'>;

export const deletionOf = (org: string, request: DeletionRequest, before: Deletion['before']): Deletion => ({
  org,
  before,
  what: request.what,
  ...(request.channels === undefined ? {} : { channels: request.channels }),
  ...(request.publishers === undefined ? {} : { publishers: request.publishers }),
  ...(request.names === undefined ? {} : { names: request.names }),
  ...(request.subtopics === undefined ? {} : { subtopics: request.subtopics }),
  ...(request.from_us === undefined ? {} : { fromUs: BigInt(request.from_us) }),
  ...(request.to_us === undefined ? {} : { toUs: BigInt(request.to_us) }),
});

/** Whether something may lie in both. */
export function overlap(one: Reach, other: Reach): boolean {
  const meet = (a: readonly string[] | undefined, b: readonly string[] | undefined): boolean =>
    a === undefined || b === undefined || a.some((each) => b.includes(each));
  const ends = (from: string | undefined, to: string | undefined): boolean =>
    from === undefined || to === undefined || BigInt(from) < BigInt(to);
  return (
    meet(one.channels, other.channels) &&
    meet(one.publishers, other.publishers) &&
    ends(one.from_us, other.to_us) &&
    ends(other.from_us, one.to_us)
  );
}

/** Of what was asked for and where, however its members are ordered: names the request in the proof. */
export function requestHash(org: string, request: DeletionRequest, reason: string): string {
  const sorted = Object.fromEntries(
    Object.entries(request)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [key, Array.isArray(value) ? value.toSorted() : value] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
  return createHash('sha256')
    .update(JSON.stringify({ org, reason, request: sorted }))
    .digest('hex');
}
