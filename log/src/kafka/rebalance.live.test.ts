import {
  createLogger,
  createMetrics,
  type LogEngine,
  LogError,
  type PartitionLease,
  type Started,
} from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kafkaAvailable, type RunningKafka, startKafka } from '../testing/kafka.ts';
import type { KafkaClient } from './client.ts';
import { kafkaLog } from './engine.ts';

const missing = kafkaAvailable();
const PARTITIONS = 12;
const STEADY_MS_MAX = 90_000;
const TOPIC = {
  topic: 'millrace.messages',
  partitionCount: PARTITIONS,
  retentionMs: 3_600_000,
  retentionBytes: 2 ** 30,
};

/** Commits that Kafka took, of all members: each must be the one after the last of its partition. */
class Ledger {
  readonly faults: string[] = [];
  readonly lastMs = new Map<number, number>();
  readonly #next = new Map<number, number>();
  pauseMsMax = 0;

  took(partition: number, offset: number, by: string): void {
    const expected = this.#next.get(partition) ?? 1;
    if (offset !== expected) this.faults.push(`${by} committed ${offset} of ${partition}, not ${expected}`);
    this.#next.set(partition, offset + 1);
    const now = performance.now();
    this.pauseMsMax = Math.max(this.pauseMsMax, now - (this.lastMs.get(partition) ?? now));
    this.lastMs.set(partition, now);
  }
}

/** A node: commits one offset after the other of each partition that it has. */
class Member {
  readonly leases = new Map<number, PartitionLease>();
  readonly #started: Started<LogEngine>;

  private constructor(started: Started<LogEngine>) {
    this.#started = started;
  }

  static async join(
    brokers: string,
    { name, group, client }: { name: string; group: string; client: KafkaClient['name'] },
    ledger: Ledger,
  ): Promise<Member> {
    const started = await kafkaLog({
      brokers,
      client,
      replication: 1,
      pendingBytesMax: 1024 * 1024,
      recordBytesMax: 64 * 1024,
      metrics: createMetrics(),
      logger: createLogger({ level: process.env.LOG_LEVEL ?? 'silent' }),
    }).start();
    const member = new Member(started);
    const log = await started.value.topic(TOPIC);
    await log.consume(group, async (lease) => {
      const { partition, signal } = lease;
      member.leases.set(partition, lease);
      for (let offset = lease.committed.offset + 1; !signal.aborted; offset++) {
        try {
          await lease.commit(offset, name);
          ledger.took(partition, offset, name);
        } catch (error) {
          if (!(error instanceof LogError) || error.code === 'LOG_FENCED') break;
          offset--;
        }
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      if (member.leases.get(partition) === lease) member.leases.delete(partition);
    });
    return member;
  }

  leave(): Promise<void> {
    return this.#started.stop();
  }
}

describe.skipIf(missing !== null)('a group that grows and shrinks (needs java and mvn)', () => {
  let kafka: RunningKafka;
  const members: Member[] = [];
  beforeAll(async () => {
    kafka = await startKafka();
  }, 300_000);
  afterAll(async () => {
    await Promise.all(members.map((member) => member.leave()));
    await kafka?.stop();
  });

  /** Resolves once each partition is held by one member, evenly, and all of them make progress. */
  async function steady(of: readonly Member[], ledger: Ledger): Promise<Map<number, PartitionLease>> {
    const end = performance.now() + STEADY_MS_MAX;
    for (;;) {
      const sizes = of.map(({ leases }) => leases.size);
      if (sizes.every((size) => size === PARTITIONS / of.length)) {
        const since = performance.now();
        const moving = (): boolean =>
          Array.from({ length: PARTITIONS }, (_, one) => one).every((one) => (ledger.lastMs.get(one) ?? 0) > since);
        while (!moving() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
        const held = new Map(of.flatMap(({ leases }) => [...leases]));
        if (moving() && held.size === PARTITIONS) return held;
      }
      if (performance.now() > end) throw new Error(`no steady state: ${sizes.join(', ')}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  // The last: nodes change from one client to the other, one at a time.
  test.for([
    ['kafkajs', 'kafkajs', 'kafkajs'],
    ['platformatic', 'platformatic', 'platformatic'],
    ['kafkajs', 'platformatic', 'kafkajs'],
  ] as const)(
    'only what must move moves, what stays goes on under the same lease, and no partition ever has two owners: %s, %s, %s',
    {
      timeout: 240_000,
    },
    async ([first, second, third]) => {
      const ledger = new Ledger();
      const group = `processors-${[first, second, third].join('-')}`;
      const join = async (name: string, client: KafkaClient['name']): Promise<Member> => {
        const member = await Member.join(kafka.brokers, { name, group, client }, ledger);
        members.push(member);
        return member;
      };
      const one = await join('one', first);
      const two = await join('two', second);
      const before = await steady([one, two], ledger);
      const three = await join('three', third);
      const grown = await steady([one, two, three], ledger);
      const stayed = [...grown].filter(([partition, lease]) => before.get(partition) === lease);
      expect(stayed.length).toBe(8);
      expect(stayed.every(([, lease]) => !lease.signal.aborted)).toBe(true);
      await two.leave();
      const shrunk = await steady([one, three], ledger);
      expect([...shrunk].filter(([partition, lease]) => grown.get(partition) === lease).length).toBe(8);
      expect(ledger.faults).toEqual([]);
      await Promise.all(members.splice(0).map((member) => member.leave()));
      if (process.env.MILLRACE_TEST_LONG === '1') console.info(`longest pause of a partition: ${ledger.pauseMsMax} ms`);
    },
  );
});
