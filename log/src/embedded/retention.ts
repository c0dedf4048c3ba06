import type { Segment } from './partition.ts';

/** Whether the oldest segment of a partition may go. Pure.
 *  @holds nothing that a known group has not passed ever goes; neither does the last segment, for it bears the next
 *         offset; a compacted topic keeps everything
 *  @units times in ms since 1970 */
export function mayGo(
  segments: readonly Segment[],
  rules: { retentionMs: number; retentionBytes: number; compacted: boolean },
  state: { nowMs: number; floor: number | null; pressed: boolean },
): boolean {
  const oldest = segments[0];
  if (oldest === undefined || segments.length < 2 || rules.compacted) return false;
  if (state.floor !== null && state.floor < oldest.end) return false;
  if (state.nowMs - oldest.timeMs > rules.retentionMs) return true;
  let bytes = 0;
  for (const segment of segments) bytes += segment.bytes;
  if (bytes > rules.retentionBytes) return true;
  return state.pressed && state.floor !== null;
}
