import type { Committed } from '@millrace/core';
import type { Admin, ITopicConfig } from 'kafkajs';
import type { Extent, KafkaAdmin, TopicDescription } from '../client.ts';
import { kafkaFault } from './faults.ts';
import type { Leaders } from './leaders.ts';

/** ConfigResourceTypes.TOPIC: a `const enum` of theirs. */
const TOPIC_RESOURCE = 2;

/** Asks about topics and groups.
 *  @holds kafkajs remembers each topic that it was asked about, and asks for the metadata of all of them together: one
 *         that somebody deleted would make every later question fail. Then a new client asks again. */
export class KafkajsAdmin implements KafkaAdmin {
  readonly #make: () => Admin;
  readonly #leaders: Leaders;
  #admin: Admin;
  /** What the client was asked about. */
  #topics = new Set<string>();
  #renewing: Promise<void> | null = null;

  constructor(make: () => Admin, leaders: Leaders) {
    this.#make = make;
    this.#admin = make();
    this.#leaders = leaders;
  }

  connect(): Promise<void> {
    return this.#admin.connect();
  }

  close(): Promise<void> {
    return this.#admin.disconnect();
  }

  async deleteGroup(group: string): Promise<void> {
    await this.#admin.deleteGroups([group]);
  }

  async #about<T>(topic: string, ask: (admin: Admin) => Promise<T>): Promise<T> {
    const admin = this.#admin;
    try {
      const answer = await ask(admin);
      this.#topics.add(topic);
      return answer;
    } catch (cause) {
      const others = [...this.#topics].some((each) => each !== topic);
      if (!others || !isUnknownTopic(cause)) throw kafkaFault(cause);
    }
    if (admin === this.#admin) {
      this.#renewing ??= this.#renew().finally(() => {
        this.#renewing = null;
      });
    }
    try {
      await this.#renewing;
      return await ask(this.#admin);
    } catch (cause) {
      throw kafkaFault(cause);
    }
  }

  async #renew(): Promise<void> {
    const admin = this.#make();
    await admin.connect();
    const old = this.#admin;
    this.#admin = admin;
    this.#topics = new Set();
    await old.disconnect().catch(() => {});
  }

  async brokerCount(): Promise<number> {
    return (await answered(this.#admin.describeCluster())).brokers.length;
  }

  async describeTopic(topic: string): Promise<TopicDescription | null> {
    if (!(await answered(this.#admin.listTopics())).includes(topic)) return null;
    const [metadata, configs] = await Promise.all([
      this.#about(topic, (admin) => admin.fetchTopicMetadata({ topics: [topic] })),
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
    const found = await this.#about(topic, (admin) => admin.fetchTopicOffsets(topic));
    return new Map(found.map(({ partition, low, high }) => [partition, { earliest: Number(low), next: Number(high) }]));
  }

  async offsetsAt(topic: string, timeMs: number): Promise<ReadonlyMap<number, number>> {
    const found = await this.#about(topic, (admin) => admin.fetchTopicOffsetsByTimestamp(topic, timeMs));
    return new Map(found.map(({ partition, offset }) => [partition, Number(offset)]));
  }

  async committed(group: string, topic: string): Promise<ReadonlyMap<number, Committed>> {
    const [found] = await this.#about(topic, (admin) => admin.fetchOffsets({ groupId: group, topics: [topic] }));
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

/** Also as the reason that kafkajs gives for having tried in vain. */
function isUnknownTopic(cause: unknown): boolean {
  for (let error = cause as { type?: string; cause?: unknown } | undefined; error !== undefined && error !== null; ) {
    if (error.type === 'UNKNOWN_TOPIC_OR_PARTITION') return true;
    error = error.cause as typeof error;
  }
  return false;
}
