import type { Committed } from '@millrace/core';
import type { Segment } from './segment.ts';

/** A topic as it was created, with the retention that it was opened with last. */
export interface TopicState {
  readonly id: number;
  readonly topic: string;
  readonly partitionCount: number;
  readonly retentionMs: number;
  readonly retentionBytes: number;
}

export interface CommitState extends Committed {
  readonly topic: string;
  readonly group: string;
  readonly partition: number;
}

/** One change of the small state; a frame of changes is a JSON array of them. */
export type Change = { readonly topic: TopicState } | { readonly commit: CommitState };

/** What a head tells of the segment before it, so that only the last one must be read through at the start.
 *  @shape spans: topic, partition, first, end, bytes, ms since 1970 */
export interface Summary {
  readonly sequence: number;
  readonly end: number;
  readonly spans: readonly (readonly [number, number, number, number, number, number])[];
}

/** The first frame of a segment: all of the small state, so that any earlier segment may go.
 *  @shape nexts: topic, partition, next offset */
export interface Head {
  readonly previous: Summary | null;
  readonly topics: readonly TopicState[];
  readonly commits: readonly CommitState[];
  readonly nexts: readonly (readonly [number, number, number])[];
}

export function summaryOf(segment: Segment): Summary {
  return {
    sequence: segment.sequence,
    end: segment.end,
    spans: [...segment.spans.values()].map(
      ({ topic, partition, first, end, bytes, timeMs }) => [topic, partition, first, end, bytes, timeMs] as const,
    ),
  };
}

export const encode = (value: Head | readonly Change[]): Buffer => Buffer.from(JSON.stringify(value));
export const decodeHead = (data: Buffer): Head => JSON.parse(data.toString()) as Head;
export const decodeChanges = (data: Buffer): readonly Change[] => JSON.parse(data.toString()) as Change[];

/** Topics and what every group has committed.
 *  @holds changes come in order, each once it is durable; a group is known from its first `consume` on, with offset −1
 *         until it commits */
export class State {
  readonly topics = new Map<string, TopicState>();
  readonly #commits = new Map<string, Map<string, Committed[]>>();

  apply(change: Change): void {
    if ('topic' in change) {
      this.topics.set(change.topic.topic, change.topic);
      return;
    }
    const { topic, group, partition, offset, metadata } = change.commit;
    let groups = this.#commits.get(topic);
    if (groups === undefined) {
      groups = new Map();
      this.#commits.set(topic, groups);
    }
    let partitions = groups.get(group);
    if (partitions === undefined) {
      partitions = [];
      groups.set(group, partitions);
    }
    partitions[partition] = { offset, metadata };
  }

  restore({ topics, commits }: Head): void {
    this.topics.clear();
    this.#commits.clear();
    for (const topic of topics) this.apply({ topic });
    for (const commit of commits) this.apply({ commit });
  }

  committed(topic: string, group: string, partition: number): Committed | undefined {
    return this.#commits.get(topic)?.get(group)?.[partition];
  }

  groups(topic: string): Iterable<[string, Committed[]]> {
    return this.#commits.get(topic) ?? [];
  }

  commits(): CommitState[] {
    const all: CommitState[] = [];
    for (const [topic, groups] of this.#commits) {
      for (const [group, partitions] of groups) {
        for (const [partition, committed] of partitions.entries()) {
          if (committed !== undefined) all.push({ topic, group, partition, ...committed });
        }
      }
    }
    return all;
  }

  /** What all known groups have passed; null when no group is known. */
  floor(topic: string, partition: number): number | null {
    let floor: number | null = null;
    for (const [, partitions] of this.groups(topic)) {
      const offset = partitions[partition]?.offset ?? -1;
      if (floor === null || offset < floor) floor = offset;
    }
    return floor;
  }
}
