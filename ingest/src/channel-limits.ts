import type { ChannelRecord } from '@millrace/core';

// hot

/** Buckets that are kept; beyond, those that were made first are forgotten, and full again then. */
const BUCKETS_MAX = 65_536;
/** From so many on, those that are full are forgotten now and then. */
const SWEEP_FROM = 1_024;
/** A client is never told to wait longer. */
const WAIT_MS_MAX = 3_600_000;

/** Sums of doubles miss by less. */
const ROUNDING = 1e-6;

interface Bucket {
  tokens: number;
  atMs: number;
  fullAtMs: number;
}

/** What one channel lets its publishers do on this node.
 *  @units rate in messages a second; a bucket holds one second's worth, at least one message */
export class ChannelLimit {
  /** Infinity if any size will do. */
  readonly payloadBytesMax: number;
  readonly #channel: string;
  readonly #perMs: number;
  readonly #burst: number;
  readonly #buckets: Buckets;

  constructor({ id, limits }: Pick<ChannelRecord, 'id' | 'limits'>, buckets: Buckets) {
    const { messagesPerSecond, payloadBytesMax = Number.POSITIVE_INFINITY } = limits;
    this.payloadBytesMax = payloadBytesMax;
    this.#channel = id;
    this.#perMs = (messagesPerSecond ?? Number.POSITIVE_INFINITY) / 1_000;
    this.#burst = Math.max(1, messagesPerSecond ?? 1);
    this.#buckets = buckets;
  }

  /** Takes `count` messages' worth. More than a second's worth waits for a full bucket and overdraws it, so that in the
   *  long run the rate holds for batches too.
   *  @param nowMs monotonic  @returns 0, or the ms to wait until they are there (nothing is taken then) */
  take(count: number, nowMs: number = performance.now()): number {
    const perMs = this.#perMs;
    if (perMs === Number.POSITIVE_INFINITY) return 0;
    const burst = this.#burst;
    const bucket = this.#buckets.of(this.#channel, burst, nowMs);
    bucket.tokens = Math.min(burst, bucket.tokens + Math.max(0, nowMs - bucket.atMs) * perMs);
    bucket.atMs = Math.max(nowMs, bucket.atMs);
    const needed = Math.min(count, burst);
    const missing = needed - bucket.tokens;
    if (missing > ROUNDING) return Math.min(WAIT_MS_MAX, Math.ceil(missing / perMs - ROUNDING));
    bucket.tokens -= count;
    bucket.fullAtMs = nowMs + (burst - bucket.tokens) / perMs;
    return 0;
  }
}

/** The buckets of all channels that were published to within their last second, by the channel's id: a channel without
 *  one has a full one. */
class Buckets {
  readonly #kept = new Map<string, Bucket>();
  #sweepAt = SWEEP_FROM;

  get size(): number {
    return this.#kept.size;
  }

  of(channel: string, burst: number, nowMs: number): Bucket {
    let bucket = this.#kept.get(channel);
    if (bucket === undefined) {
      if (this.#kept.size >= this.#sweepAt) this.#sweep(nowMs);
      bucket = { tokens: burst, atMs: nowMs, fullAtMs: nowMs };
      this.#kept.set(channel, bucket);
    }
    return bucket;
  }

  #sweep(nowMs: number): void {
    for (const [channel, { fullAtMs }] of this.#kept) if (fullAtMs <= nowMs) this.#kept.delete(channel);
    if (this.#kept.size >= BUCKETS_MAX) {
      let left = BUCKETS_MAX / 16;
      for (const channel of this.#kept.keys()) {
        if (left-- === 0) break;
        this.#kept.delete(channel);
      }
    }
    this.#sweepAt = Math.min(BUCKETS_MAX, Math.max(SWEEP_FROM, this.#kept.size * 2));
  }
}

/** The limits of all channels on this node, whatever protocol their messages come by. */
export class ChannelLimits {
  static readonly #all = new WeakMap<object, ChannelLimits>();
  readonly #buckets = new Buckets();

  /** One for all who publish through one gate. */
  static of(gate: object): ChannelLimits {
    let limits = ChannelLimits.#all.get(gate);
    if (limits === undefined) {
      limits = new ChannelLimits();
      ChannelLimits.#all.set(gate, limits);
    }
    return limits;
  }

  /** Channels whose bucket is remembered. */
  get bucketCount(): number {
    return this.#buckets.size;
  }

  /** @returns null for a channel that has none: most have none */
  limitOf(channel: Pick<ChannelRecord, 'id' | 'limits'>): ChannelLimit | null {
    const { messagesPerSecond, payloadBytesMax } = channel.limits;
    if (messagesPerSecond === undefined && payloadBytesMax === undefined) return null;
    return new ChannelLimit(channel, this.#buckets);
  }
}
