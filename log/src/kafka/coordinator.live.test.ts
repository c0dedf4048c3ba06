import { setTimeout as sleep } from 'node:timers/promises';
import {
  appendOne,
  createLogger,
  createMetrics,
  type Log,
  type LogEngine,
  LogError,
  type PartitionLease,
  type Started,
} from '@millrace/core';
import kafkajs, { type Admin } from 'kafkajs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type KafkaBroker, kafkaAvailable, type RunningKafka, startKafka } from '../testing/kafka.ts';
import type { KafkaClient } from './client.ts';
import { kafkaLog } from './engine.ts';

const missing = kafkaAvailable();
const LONG = process.env.MILLRACE_TEST_LONG === '1';
const LAPS = LONG ? 10 : 1;
const PARTITIONS = 6;
const PARTITION_NUMBERS = Array.from({ length: PARTITIONS }, (_, partition) => partition);
const APPEND_MS = 100;
/** A broker that is not heard of for 9 s is led around. */
const STEADY_MS_MAX = LONG ? 60_000 : 120_000;
/** Longer than a member's session, and than the brokers' own. */
const LASTS_MS = 15_000;
/** As the test's brokers are set. */
const OFFSETS_PARTITIONS = 4;
/** The one where all groups here are kept. */
const KEPT_IN = 0;
/** So old may be what was fetched and is not read yet. */
const FETCHED_MS_MAX = 1_000;
const CLIENTS = ['kafkajs', 'platformatic'] as const;

interface Fault {
  readonly name: string;
  readonly of: (keeper: KafkaBroker, all: readonly KafkaBroker[], lap: number) => readonly KafkaBroker[];
  readonly how: 'kill' | 'hang';
}

const keeper: Fault['of'] = (one) => [one];
const all: Fault['of'] = (_, brokers) => brokers;
const another: Fault['of'] = (one, brokers, lap) => {
  const others = brokers.filter((broker) => broker !== one);
  return others.slice(lap % 2, (lap % 2) + 1);
};

const FAULTS: readonly Fault[] = [
  { name: 'the coordinator hangs', of: keeper, how: 'hang' },
  { name: 'the coordinator is killed', of: keeper, how: 'kill' },
  { name: 'all brokers hang', of: all, how: 'hang' },
  { name: 'all brokers are killed', of: all, how: 'kill' },
  { name: 'another broker hangs', of: another, how: 'hang' },
  { name: 'another broker is killed', of: another, how: 'kill' },
];

/** Nodes that append to all partitions, and that read and commit those that they have. */
class Members {
  readonly faults: string[] = [];
  /** By partition: when the last read began whose end is committed, by `performance.now()`. */
  readonly #readMs = new Map<number, number>();
  readonly #committed = new Map<number, number>();
  readonly #started: Started<LogEngine>[] = [];
  readonly #ending = new AbortController();
  readonly #running: Promise<void>[] = [];

  async join(brokers: string, client: KafkaClient['name'], group: string): Promise<void> {
    const started = await kafkaLog({
      brokers,
      client,
      pendingBytesMax: 1024 * 1024,
      recordBytesMax: 64 * 1024,
      metrics: createMetrics(),
      logger: createLogger({ level: process.env.LOG_LEVEL ?? 'silent' }),
    }).start();
    this.#started.push(started);
    const log = await started.value.topic({
      topic: `millrace.${group}`,
      partitionCount: PARTITIONS,
      retentionMs: 3_600_000,
      retentionBytes: 2 ** 30,
    });
    await log.consume(group, (lease) => this.#carry(lease));
    for (const partition of PARTITION_NUMBERS) this.#running.push(this.#append(log, partition));
  }

  async #append(log: Log, partition: number): Promise<void> {
    while (!this.#ending.signal.aborted) {
      await appendOne(log, partition, '', Buffer.from('one')).catch(() => {});
      await sleep(APPEND_MS);
    }
  }

  async #carry({ partition, signal, committed, read, commit }: PartitionLease): Promise<void> {
    for (let next = committed.offset; !signal.aborted; ) {
      const begun = performance.now();
      try {
        const batch = await read(next, { bytesMax: 64 * 1024, waitMsMax: 500 });
        if (batch === null) continue;
        await commit(batch.last + 1, '');
        next = batch.last + 1;
        this.#took(partition, next, begun);
      } catch (error) {
        if (!(error instanceof LogError)) this.faults.push(String(error));
        if (!(error instanceof LogError) || error.code === 'LOG_FENCED') break;
        await sleep(50);
      }
    }
  }

  #took(partition: number, offset: number, begun: number): void {
    const last = this.#committed.get(partition) ?? 0;
    if (offset <= last) this.faults.push(`${offset} of ${partition} was committed after ${last}`);
    this.#committed.set(partition, offset);
    this.#readMs.set(partition, begun);
  }

  behind(since: number): number[] {
    return PARTITION_NUMBERS.filter((partition) => (this.#readMs.get(partition) ?? 0) < since);
  }

  async leave(): Promise<void> {
    this.#ending.abort();
    await Promise.all(this.#started.splice(0).map((started) => started.stop()));
    await Promise.all(this.#running.splice(0));
  }
}

/** Two nodes of each client, in a group of their own that the same broker keeps. */
interface Pair {
  readonly client: KafkaClient['name'];
  readonly group: string;
  readonly members: Members;
}

describe.skipIf(missing !== null)('groups of two whose brokers fail (needs java and mvn)', () => {
  let kafka: RunningKafka;
  let pairs: Pair[] = [];
  let admin: Admin;

  beforeAll(async () => {
    kafka = await startKafka({ brokerCount: 3 });
    admin = new kafkajs.Kafka({
      brokers: kafka.nodes.map(({ internal }) => internal),
      logLevel: kafkajs.logLevel.NOTHING,
      requestTimeout: 3_000,
      retry: { retries: 3, initialRetryTime: 100 },
    }).admin();
  }, 300_000);
  afterEach(async () => {
    for (const node of kafka.nodes) node.resume();
    await Promise.all(pairs.splice(0).map(({ members }) => members.leave()));
    await admin.disconnect().catch(() => {});
  }, 60_000);
  afterAll(async () => {
    await kafka?.stop();
  }, 60_000);

  async function asked<T>(ask: () => Promise<T>): Promise<T | null> {
    try {
      await admin.connect();
      return await ask();
    } catch {
      await admin.disconnect().catch(() => {});
      return null;
    }
  }

  async function stateOf(group: string): Promise<string> {
    const described = await asked(() => admin.describeGroups([group]));
    const [one] = described?.groups ?? [];
    return one === undefined ? 'not known' : `${one.state}, ${one.members.length} members`;
  }

  async function coordinator(): Promise<KafkaBroker> {
    for (;;) {
      const told = await asked(() => admin.fetchTopicMetadata({ topics: ['__consumer_offsets'] }));
      const { leader = -1 } = told?.topics[0]?.partitions.find(({ partitionId }) => partitionId === KEPT_IN) ?? {};
      if (leader > 0) return kafka.nodes[leader - 1] as KafkaBroker;
      await sleep(200);
    }
  }

  /** Resolves once the group is stable and what was read later is committed of every partition. */
  async function steady({ client, group, members }: Pair, since: number): Promise<string> {
    for (const end = performance.now() + STEADY_MS_MAX; ; await sleep(100)) {
      const behind = members.behind(since);
      if (behind.length === 0 && (await stateOf(group)) === 'Stable, 2 members')
        return `${client} after ${((performance.now() - since) / 1_000).toFixed(1)} s`;
      if (performance.now() > end)
        throw new Error(`${client}: nothing of ${behind.join(', ')}; the group is ${await stateOf(group)}`);
    }
  }

  async function allSteady(since: number): Promise<string> {
    return (await Promise.all(pairs.map((pair) => steady(pair, since)))).join(', ');
  }

  test.each(LONG ? FAULTS.map((fault) => [fault.name, fault] as const) : [[FAULTS[0]?.name, FAULTS[0]] as const])(
    'go on with all partitions when %s, and once it is over',
    { timeout: LAPS * 400_000 },
    async (_name, fault) => {
      const { of, how } = fault as Fault;
      await kafka.inSync();
      pairs = CLIENTS.map((client) => ({ client, group: groupOf(client), members: new Members() }));
      for (const { client, group, members } of pairs)
        await Promise.all([0, 1].map(() => members.join(kafka.brokers, client, group)));
      await allSteady(performance.now());
      for (let lap = 1; lap <= LAPS; lap++) {
        const hit = of(await coordinator(), kafka.nodes, lap);
        const began = performance.now();
        for (const broker of hit) how === 'kill' ? broker.kill() : broker.pause();
        // With a quorum they go on without it; what was fetched before does not count.
        const meanwhile = hit.length === 1 ? await allSteady(began + FETCHED_MS_MAX) : 'no quorum';
        await sleep(Math.max(0, began + LASTS_MS - performance.now()));
        // One of three alone does not come up.
        await Promise.all(hit.map((broker) => (how === 'kill' ? broker.restart() : broker.resume())));
        const back = await allSteady(performance.now());
        console.log(`lap ${lap}, ${hit.length} ${how}: meanwhile ${meanwhile}; once it was over ${back}`);
        await kafka.inSync();
      }
      for (const { members } of pairs) expect(members.faults).toEqual([]);
    },
  );
});

/** A name that is kept where the others are. */
function groupOf(client: string): string {
  for (let number = 0; ; number++) if (partitionOf(`${client}-${number}`) === KEPT_IN) return `${client}-${number}`;
}

/** Of the topic where Kafka keeps what groups commit. */
function partitionOf(group: string): number {
  let hash = 0;
  for (const letter of Buffer.from(group)) hash = (Math.imul(hash, 31) + letter) | 0;
  return Math.abs(hash) % OFFSETS_PARTITIONS;
}
