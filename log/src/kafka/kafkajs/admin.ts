import type { Committed } from '@millrace/core';
import type { Admin, ITopicConfig } from 'kafkajs';
import type { Extent, KafkaAdmin, TopicDescription } from '../client.ts';
import { kafkaFault } from './faults.ts';
import type { Leaders } from './leaders.ts';

/** ConfigResourceTypes.TOPIC: a `const enum` of theirs. */
const TOPIC_RESOURCE = 2;

export class KafkajsAdmin implements KafkaAdmin {
  readonly #admin: Admin;

  readonly #leaders: Leaders;

  constructor(admin: Admin, leaders: Leaders) {
    this.#admin = admin;
    this.#leaders = leaders;
  }

  async brokerCount(): Promise<number> {
    return (await answered(this.#admin.describeCluster())).brokers.length;
  }

  async describeTopic(topic: string): Promise<TopicDescription | null> {
    if (!(await answered(this.#admin.listTopics())).includes(topic)) return null;
    const [metadata, configs] = await Promise.all([
      answered(this.#admin.fetchTopicMetadata({ topics: [topic] })),
      answered(
        this.#admin.describeConfigs({
          includeSynonyms: false,
          resources: [{ type: TOPIC_RESOURCE, name: topic }],
        }),
      ),
    ]);
    this.#leaders.learn(topic, metadata.topics[0]?.partitions ?? []);
    return {
      partitions: (metadata.topics[0]?.partitions ?? []).map(({ partitionId, replicas, isr }) => ({
        partition: partitionId,
        replicaCount: replicas.length,
        inSyncCount: isr.length,
      })),
      settings: new Map(
        (configs.resources[0]?.configEntries ?? []).map(({ configName, configValue }) => [configName, configValue]),
      ),
    };
  }

  async createTopic(
    topic: string,
    options: { partitionCount: number; replication: number; settings: ReadonlyMap<string, string> },
  ): Promise<void> {
    const config: ITopicConfig = {
      topic,
      numPartitions: options.partitionCount,
      replicationFactor: options.replication,
      configEntries: [...options.settings].map(([name, value]) => ({ name, value })),
    };
    await answered(this.#admin.createTopics({ waitForLeaders: true, topics: [config] }));
  }

  async extents(topic: string): Promise<ReadonlyMap<number, Extent>> {
    const found = await answered(this.#admin.fetchTopicOffsets(topic));
    return new Map(found.map(({ partition, low, high }) => [partition, { earliest: Number(low), next: Number(high) }]));
  }

  async offsetsAt(topic: string, timeMs: number): Promise<ReadonlyMap<number, number>> {
    const found = await answered(this.#admin.fetchTopicOffsetsByTimestamp(topic, timeMs));
    return new Map(found.map(({ partition, offset }) => [partition, Number(offset)]));
  }

  async committed(group: string, topic: string): Promise<ReadonlyMap<number, Committed>> {
    const [found] = await answered(this.#admin.fetchOffsets({ groupId: group, topics: [topic] }));
    const committed = new Map<number, Committed>();
    for (const { partition, offset, metadata } of found?.partitions ?? []) {
      if (Number(offset) >= 0) committed.set(partition, { offset: Number(offset), metadata: metadata ?? '' });
    }
    return committed;
  }
}

async function answered<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    throw kafkaFault(cause);
  }
}
