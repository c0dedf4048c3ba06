import type { Logger } from '@millrace/core';
import { mayGo } from './retention.ts';
import { SEGMENT_HEADER_BYTES, type Segment } from './segment.ts';
import type { State, TopicState } from './state.ts';

/** Above this share of `bytesMax`, whatever all groups have passed may go. */
const PRESSED_SHARE = 0.9;
/** With a pass a second, more than a disk takes in that time: else what is consumed would fill the log. */
const SEGMENTS_A_PASS_MAX = 64;

export interface UpkeepOptions {
  readonly segments: readonly Segment[];
  readonly state: State;
  readonly logger: Logger;
  readonly bytesMax: number;
  readonly nowMs: () => number;
  readonly bytes: () => number;
  readonly diskFull: () => boolean;
  /** Takes a segment from the readers' sight, and away. */
  readonly remove: (segment: Segment) => Promise<void>;
  /** After each pass. */
  readonly passed: () => void;
}

/** Retention, every so often. */
export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #timer: NodeJS.Timeout;
  #passing = false;
  #stopped = false;

  constructor(everyMs: number, options: UpkeepOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.#pass(), everyMs).unref();
  }

  /** Removes nothing more, for the directory may soon be another engine's. */
  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }

  async #pass(): Promise<void> {
    if (this.#passing) return;
    this.#passing = true;
    const { remove, passed, logger } = this.#options;
    try {
      for (let count = 0; count < SEGMENTS_A_PASS_MAX && !this.#stopped; count++) {
        const segment = this.#toGo();
        if (segment === null) break;
        await remove(segment);
      }
      passed();
    } catch (error) {
      logger.warn({ err: error }, 'retention could not free room in the log');
    } finally {
      this.#passing = false;
    }
  }

  /** The segment to be removed next, or null: the oldest, if all that it holds may go; or any that holds nothing but
   *  small state, for the last segment has all of that.  @holds never the last one that has its head */
  #toGo(): Segment | null {
    const { segments, state, bytesMax, nowMs, bytes, diskFull } = this.#options;
    let last = segments.length - 1;
    while (last > 0 && segments[last]?.end === SEGMENT_HEADER_BYTES) last--;
    for (let at = 0; at < last; at++) if (segments[at]?.spans.size === 0) return segments[at] ?? null;
    const oldest = last > 0 ? segments[0] : undefined;
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
    const pressed = diskFull() || bytes() > bytesMax * PRESSED_SHARE;
    return mayGo(parts, { nowMs: nowMs(), bytes: bytes(), retentionBytes, pressed }) ? oldest : null;
  }
}
