import { type Committed, LogError, type Logger } from '@millrace/core';
import type { Extent, KafkaAdmin } from './client.ts';
import { judge, type Retention, retentionOf, type Verdict } from './retention-guard.ts';
import { Stalls } from './stalls.ts';

const ROUND_MS = 1_000;
const SETTINGS_MS = 60_000;
/** What is too old is asked for so often while the bound is crossed. */
const AGE_MS = { min: 1_000, max: 10_000, part: 20 };
/** Until this node has appended something itself. */
const RECORD_BYTES = 512;

/** A topic, as the watch needs it. */
export interface WatchedTopic {
  readonly topic: string;
  readonly neededBy: readonly string[];
  /** Groups that this process takes part in. */
  groups(): Iterable<string>;
  /** What an appended record takes on average; 0 if there was none. */
  recordBytes(): number;
}

interface Seen {
  readonly watched: WatchedTopic;
  retention: Retention;
  settingsMs: number;
  youngFrom: ReadonlyMap<number, number>;
  youngMs: number;
  extents: ReadonlyMap<number, Extent>;
  committed: Map<string, ReadonlyMap<number, Committed>>;
  /** By partition. */
  refusals: (LogError | null)[];
  /** By group that this process takes part in. */
  readonly stalls: Map<string, Stalls>;
  /** By group and partition: up to where what was lost has been told. */
  told: Map<string, number>;
}

/** Looks once a second how far the groups are behind, of all partitions, whoever has them: for the metrics, and because
 *  Kafka removes what is old whether it was read or not. Where what a group must read has used up its share of the
 *  retention, appends are refused until it has caught up. */
export class Watch {
  readonly #admin: KafkaAdmin;
  readonly #shareMax: number | null;
  readonly #logger: Logger;
  readonly #lost: (topic: string, group: string, count: number) => void;
  readonly #topics = new Map<string, Seen>();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | null = null;
  #stopped = false;
  #trouble: string | null = null;

  constructor(parts: {
    readonly admin: KafkaAdmin;
    /** null: never refuse. */
    readonly shareMax: number | null;
    readonly logger: Logger;
    readonly lost: (topic: string, group: string, count: number) => void;
  }) {
    this.#admin = parts.admin;
    this.#shareMax = parts.shareMax;
    this.#logger = parts.logger;
    this.#lost = parts.lost;
  }

  add(watched: WatchedTopic, settings: ReadonlyMap<string, string>): void {
    this.#topics.set(watched.topic, {
      watched,
      retention: retentionOf(settings),
      settingsMs: performance.now(),
      youngFrom: new Map(),
      youngMs: Number.NEGATIVE_INFINITY,
      extents: new Map(),
      committed: new Map(),
      refusals: [],
      stalls: new Map(),
      told: new Map(),
    });
    if (this.#timer === undefined) this.#schedule(0);
  }

  /** Why nothing may be appended to a partition for now. */
  refusalOf(topic: string, partition: number): LogError | null {
    return this.#topics.get(topic)?.refusals[partition] ?? null;
  }

  /** Why nothing may be appended to any partition for now. */
  refusalOfAll(topic: string): LogError | null {
    const seen = this.#topics.get(topic);
    if (seen === undefined || seen.extents.size === 0) return null;
    for (const partition of seen.extents.keys()) if ((seen.refusals[partition] ?? null) === null) return null;
    return seen.refusals.find((refusal) => refusal !== null && refusal !== undefined) ?? null;
  }

  health(): string | null {
    for (const { watched, refusals } of this.#topics.values()) {
      const partitions = refusals.flatMap((refusal, partition) => (refusal ? [partition] : []));
      if (partitions.length > 0) {
        return `${watched.topic}: partitions ${partitions.join(', ')} take nothing more, since ${watched.neededBy.join(', ')} are too far behind and Kafka would remove what is not processed: see that a node with the processors role runs`;
      }
    }
    return this.#trouble ?? this.#stalled();
  }

  #stalled(): string | null {
    for (const [topic, { stalls }] of this.#topics) {
      for (const [group, of] of stalls) {
        const stalled = of.stalled(performance.now());
        if (stalled === null) continue;
        return `${topic}: of partitions ${stalled.partitions.join(', ')} the group ${group} has committed nothing for ${Math.floor(stalled.ms / 1_000)} s while more came: see what the nodes that process say`;
      }
    }
    return null;
  }

  *nexts(): Iterable<{ topic: string; partition: number; next: number }> {
    for (const [topic, { extents }] of this.#topics) {
      for (const [partition, { next }] of extents) yield { topic, partition, next };
    }
  }

  *lags(): Iterable<{ topic: string; group: string; partition: number; lag: number }> {
    for (const { group, topic, partition, verdict } of this.#verdicts()) {
      yield { topic, group, partition, lag: verdict.lag };
    }
  }

  *#verdicts(): Iterable<{ topic: string; group: string; partition: number; verdict: Verdict }> {
    for (const [topic, seen] of this.#topics) {
      for (const [group, committed] of seen.committed) {
        for (const [partition, extent] of seen.extents) {
          const verdict = this.#judge(seen, extent, committed.get(partition), partition);
          yield { topic, group, partition, verdict };
        }
      }
    }
  }

  #judge(seen: Seen, extent: Extent, committed: Committed | undefined, partition: number): Verdict {
    const youngFrom = seen.youngFrom.get(partition) ?? null;
    const recordBytes = seen.watched.recordBytes() || RECORD_BYTES;
    return judge({ extent, committed, youngFrom, recordBytes }, seen.retention, this.#shareMax);
  }

  #schedule(ms: number): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#round = this.#look().finally(() => this.#schedule(ROUND_MS));
    }, ms);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    for (const seen of this.#topics.values()) {
      try {
        await this.#lookAt(seen);
        this.#trouble = null;
      } catch (error) {
        if (this.#stopped) return;
        const told = `${seen.watched.topic}: ${(error as Error).message}`;
        if (told !== this.#trouble) this.#logger.warn({ err: error }, 'how far the groups are cannot be seen');
        this.#trouble = told;
      }
    }
  }

  async #lookAt(seen: Seen): Promise<void> {
    const { topic, neededBy, groups } = seen.watched;
    const now = performance.now();
    if (now >= seen.settingsMs + SETTINGS_MS) await this.#lookAtSettings(seen, now);
    // The groups first: what they commit meanwhile makes the lag too large, never too small.
    const all = new Set([...neededBy, ...groups()]);
    for (const group of all) seen.committed.set(group, await this.#admin.committed(group, topic));
    for (const group of seen.committed.keys()) if (!all.has(group)) seen.committed.delete(group);
    await this.#lookForOld(seen, now);
    seen.extents = await this.#admin.extents(topic);
    for (const group of all) this.#tellLost(seen, group);
    this.#lookForStalls(seen);
    for (const partition of seen.extents.keys()) seen.refusals[partition] = this.#refusal(seen, partition);
  }

  async #lookAtSettings(seen: Seen, now: number): Promise<void> {
    const { topic } = seen.watched;
    const found = await this.#admin.describeTopic(topic);
    if (found === null) {
      const problem = 'the topic is gone: somebody has deleted it; restart the nodes to create it anew';
      throw new LogError('LOG_UNREACHABLE', 'later', { topic, problem });
    }
    seen.retention = retentionOf(found.settings);
    seen.settingsMs = now;
  }

  async #lookForOld(seen: Seen, now: number): Promise<void> {
    const { ms } = seen.retention;
    if (ms === null || this.#shareMax === null || seen.watched.neededBy.length === 0) {
      seen.youngFrom = new Map();
      return;
    }
    const bound = ms * this.#shareMax;
    if (now < seen.youngMs + Math.min(AGE_MS.max, Math.max(AGE_MS.min, bound / AGE_MS.part))) return;
    seen.youngFrom = await this.#admin.offsetsAt(seen.watched.topic, Math.floor(Date.now() - bound));
    seen.youngMs = now;
  }

  #lookForStalls({ watched, stalls, extents, committed }: Seen): void {
    const groups = new Set(watched.groups());
    for (const group of stalls.keys()) if (!groups.has(group)) stalls.delete(group);
    for (const group of groups) {
      const known = stalls.get(group) ?? new Stalls();
      stalls.set(group, known);
      known.look(performance.now(), extents, committed.get(group) ?? new Map());
    }
  }

  #refusal(seen: Seen, partition: number): LogError | null {
    const { topic, neededBy } = seen.watched;
    const extent = seen.extents.get(partition) as Extent;
    for (const group of neededBy) {
      const verdict = this.#judge(seen, extent, seen.committed.get(group)?.get(partition), partition);
      if (verdict.full === null) continue;
      const facts = { topic, partition, group, lag: verdict.lag, by: verdict.full };
      if ((seen.refusals[partition] ?? null) === null) {
        this.#logger.error(facts, 'Kafka would soon remove what is not processed: appends are refused');
      }
      return new LogError('LOG_FULL', 'later', facts);
    }
    if (seen.refusals[partition]) this.#logger.info({ topic, partition }, 'appends are taken again');
    return null;
  }

  #tellLost(seen: Seen, group: string): void {
    const { topic } = seen.watched;
    for (const [partition, committed] of seen.committed.get(group) ?? []) {
      const earliest = seen.extents.get(partition)?.earliest ?? 0;
      const key = `${group}/${partition}`;
      const from = Math.max(committed.offset, seen.told.get(key) ?? 0);
      if (earliest <= from) continue;
      seen.told.set(key, earliest);
      this.#lost(topic, group, earliest - from);
      this.#logger.error(
        { topic, group, partition, count: earliest - from },
        'Kafka has removed records that the group had not read',
      );
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#round;
  }
}
