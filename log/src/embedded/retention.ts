/** What the oldest segment has of one partition. */
export interface Part {
  /** After its last record there. */
  readonly end: number;
  /** What all known groups have passed; null when no group is known. */
  readonly floor: number | null;
  readonly timeMs: number;
  readonly retentionMs: number;
}

/** Whether the oldest segment may go: all partitions share it, so all must let it go. Pure.
 *  @holds nothing that a known group has not passed ever goes; under pressure, only what groups have passed
 *  @units times in ms since 1970; `bytes` of the whole log against the sum of what the topics keep */
export function mayGo(
  parts: readonly Part[],
  state: { nowMs: number; bytes: number; retentionBytes: number; pressed: boolean },
): boolean {
  if (parts.some(({ floor, end }) => floor !== null && floor < end)) return false;
  if (parts.every(({ timeMs, retentionMs }) => state.nowMs - timeMs > retentionMs)) return true;
  if (state.bytes > state.retentionBytes) return true;
  return state.pressed && parts.every(({ floor }) => floor !== null);
}
