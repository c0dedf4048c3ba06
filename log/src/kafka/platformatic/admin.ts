import type { Committed } from '@millrace/core';
import {
  ConfigResourceTypes,
  createTopicsV7,
  describeConfigsV4,
  listOffsetsV7,
  offsetFetchV8,
} from '@platformatic/kafka';
import type { Extent, KafkaAdmin, TopicDescription } from '../client.ts';
import { brokerFault } from '../faults.ts';
import { type Brokers, CALL_MS_MAX, Links } from './brokers.ts';
import { platformaticFault, protocolName } from './faults.ts';
import type { Link } from './link.ts';
import { patiently } from './patience.ts';

/** Twice a call that is not answered: the second goes to another broker. */
const PATIENCE_MS = 2 * CALL_MS_MAX + 1_000;
/** A new topic's partitions have leaders after so long at the latest. */
const LEADERS_MS_MAX = 10_000;
const EARLIEST = -2n;
const LATEST = -1n;
/** As it reads: what is not committed yet is not there yet. */
export const READ_COMMITTED = 1;
const CONSUMER = -1;
const NO_EPOCH = -1;

export class PlatformaticAdmin implements KafkaAdmin {
  readonly #brokers: Brokers;
  readonly #links: Links;
  readonly #coordinators = new Map<string, Promise<Link>>();

  constructor(brokers: Brokers) {
    this.#brokers = brokers;
    this.#links = new Links(brokers);
  }

  async brokerCount(): Promise<number> {
    return (await patiently(PATIENCE_MS, () => this.#brokers.metadata([]))).brokers.length;
  }

  async describeTopic(topic: string): Promise<TopicDescription | null> {
    return await patiently(PATIENCE_MS, async () => {
      try {
        const [metadata, configs] = await Promise.all([
          this.#brokers.metadata([topic]),
          this.#brokers.any((link) =>
            link.call(
              describeConfigsV4.api,
              CALL_MS_MAX,
              [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configurationKeys: null }],
              false,
              false,
            ),
          ),
        ]);
        const found = metadata.topics.find(({ name }) => name === topic);
        return {
          partitions: (found?.partitions ?? []).map(({ partitionIndex, replicaNodes, isrNodes }) => ({
            partition: partitionIndex,
            replicaCount: replicaNodes.length,
            inSyncCount: isrNodes.length,
          })),
          settings: new Map((configs.results[0]?.configs ?? []).map(({ name, value }) => [name, value ?? ''])),
        };
      } catch (error) {
        if (protocolName(error) === 'UNKNOWN_TOPIC_OR_PARTITION') return null;
        throw error;
      }
    });
  }

  async createTopic(
    topic: string,
    options: { partitionCount: number; replication: number; settings: ReadonlyMap<string, string> },
  ): Promise<void> {
    await patiently(PATIENCE_MS, async () => {
      try {
        await this.#brokers.any((link) =>
          link.call(
            createTopicsV7.api,
            CALL_MS_MAX + 1_000,
            [
              {
                name: topic,
                numPartitions: options.partitionCount,
                replicationFactor: options.replication,
                assignments: [],
                configs: [...options.settings].map(([name, value]) => ({ name, value })),
              },
            ],
            CALL_MS_MAX,
            false,
          ),
        );
      } catch (error) {
        if (protocolName(error) !== 'TOPIC_ALREADY_EXISTS') throw error;
      }
    });
    await patiently(LEADERS_MS_MAX, async () => {
      await this.#brokers.refresh(topic);
      for (let partition = 0; partition < options.partitionCount; partition++) this.#leader(topic, partition);
    });
  }

  #leader(topic: string, partition: number): number {
    const leader = this.#brokers.leader(topic, partition);
    if (leader === null) throw brokerFault('LEADER_NOT_AVAILABLE', '', undefined);
    return leader;
  }

  async extents(topic: string): Promise<ReadonlyMap<number, Extent>> {
    const [earliest, latest] = await this.#offsets(topic, [EARLIEST, LATEST]);
    const extents = new Map<number, Extent>();
    for (const [partition, offset] of earliest ?? []) {
      extents.set(partition, { earliest: offset, next: latest?.get(partition) ?? offset });
    }
    return extents;
  }

  async offsetsAt(topic: string, timeMs: number): Promise<ReadonlyMap<number, number>> {
    const [found, latest] = await this.#offsets(topic, [BigInt(Math.floor(timeMs)), LATEST]);
    const offsets = new Map(found);
    for (const [partition, offset] of offsets) if (offset < 0) offsets.set(partition, latest?.get(partition) ?? 0);
    return offsets;
  }

  /** Of each time the offset of each partition, -1 where there is none.  @throws LogError */
  async #offsets(topic: string, times: readonly bigint[]): Promise<readonly ReadonlyMap<number, number>[]> {
    return await patiently(PATIENCE_MS, async () => {
      await this.#brokers.refresh(topic);
      const nodes = new Map<number, number[]>();
      for (let partition = 0; partition < this.#brokers.partitionCount(topic); partition++) {
        const leader = this.#leader(topic, partition);
        nodes.set(leader, [...(nodes.get(leader) ?? []), partition]);
      }
      const found = times.map(() => new Map<number, number>());
      const asked = [...nodes].flatMap(([node, partitions]) =>
        times.map(async (timestamp, index) => {
          const link = await this.#links.to(node);
          const wanted = partitions.map((partitionIndex) => ({
            partitionIndex,
            currentLeaderEpoch: NO_EPOCH,
            timestamp,
          }));
          const topics = [{ name: topic, partitions: wanted }];
          const answer = await link.call(listOffsetsV7.api, CALL_MS_MAX, CONSUMER, READ_COMMITTED, topics);
          for (const { partitionIndex, offset } of answer.topics[0]?.partitions ?? []) {
            found[index]?.set(partitionIndex, Number(offset));
          }
        }),
      );
      await Promise.all(asked);
      return found;
    });
  }

  async committed(group: string, topic: string): Promise<ReadonlyMap<number, Committed>> {
    return await patiently(PATIENCE_MS, async () => {
      await this.#brokers.refresh(topic);
      const partitionIndexes = Array.from({ length: this.#brokers.partitionCount(topic) }, (_, index) => index);
      const link = await this.#coordinator(group);
      try {
        // Stable: what a transaction is about to commit is waited for.
        const answer = await link.call(
          offsetFetchV8.api,
          CALL_MS_MAX,
          [{ groupId: group, memberId: null, memberEpoch: NO_EPOCH, topics: [{ name: topic, partitionIndexes }] }],
          true,
        );
        const committed = new Map<number, Committed>();
        for (const { partitionIndex, committedOffset, metadata } of answer.groups[0]?.topics[0]?.partitions ?? []) {
          if (committedOffset >= 0n) {
            committed.set(partitionIndex, { offset: Number(committedOffset), metadata: metadata ?? '' });
          }
        }
        return committed;
      } catch (cause) {
        this.#coordinators.delete(group);
        throw platformaticFault(cause);
      }
    });
  }

  async #coordinator(group: string): Promise<Link> {
    const known = await this.#coordinators.get(group)?.catch(() => null);
    if (known !== undefined && known !== null && !known.gone) return known;
    const found = this.#brokers.coordinator(group).then((node) => this.#links.to(node));
    this.#coordinators.set(group, found);
    return await found;
  }

  close(): void {
    this.#links.close();
  }
}
