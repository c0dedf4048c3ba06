import { mayGo } from './retention.ts';
import type { Segment } from './segment.ts';
import type { State, TopicState } from './state.ts';

/** Above this share of `bytesMax`, whatever all groups have passed may go. */
const PRESSED_SHARE = 0.9;
export const SEGMENTS_A_PASS_MAX = 16;

/** The segment to be removed next, or null: the oldest, if all that it holds may go; or any that holds nothing but small
 *  state, for the last segment has all of that.  @holds never the last one */
export function oldestToGo(
  segments: readonly Segment[],
  state: State,
  { nowMs, bytes, bytesMax, diskFull }: { nowMs: number; bytes: number; bytesMax: number; diskFull: boolean },
): Segment | null {
  const closed = segments.slice(0, -1);
  for (const segment of closed) if (segment.spans.size === 0) return segment;
  const oldest = closed[0];
  if (oldest === undefined) return null;
  const topics = new Map<number, TopicState>();
  let retentionBytes = 0;
  for (const topic of state.topics.values()) {
    topics.set(topic.id, topic);
    retentionBytes += topic.retentionBytes;
  }
  const parts = [...oldest.spans.values()].map(({ topic, partition, end, timeMs }) => {
    const known = topics.get(topic);
    const floor = known === undefined ? null : state.floor(known.topic, partition);
    return { end, floor, timeMs, retentionMs: known?.retentionMs ?? 0 };
  });
  const pressed = diskFull || bytes > bytesMax * PRESSED_SHARE;
  return mayGo(parts, { nowMs, bytes, retentionBytes, pressed }) ? oldest : null;
}
