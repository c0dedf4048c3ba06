import {
  type AppendReceipt,
  createLogger,
  createMetrics,
  type Log,
  type LogEngine,
  type LogError,
  type Started,
} from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { texts } from '../conformance.ts';
import { kafkaAvailable, type RunningKafka, startKafka } from '../testing/kafka.ts';
import { kafkaLog } from './engine.ts';

const missing = kafkaAvailable();
const PARTITIONS = 6;
const LONG = process.env.MILLRACE_TEST_LONG === '1';
const MOVES_MS_MAX = 60_000;

/** Appends numbered records to all partitions, so many in flight at most, and keeps what was told about each. */
class Load {
  readonly kept = new Map<string, { partition: number; offset: number }>();
  readonly refused: LogError[] = [];
  readonly #log: Log;
  #serial = 0;
  #inFlight = 0;
  #running = true;
  #ended: () => void = () => {};

  constructor(log: Log) {
    this.#log = log;
    this.#more();
  }

  #more(): void {
    if (!this.#running) {
      if (this.#inFlight === 0) this.#ended();
      return;
    }
    for (; this.#inFlight < 60; this.#inFlight++) this.#append(`r${this.#serial++}`);
  }

  #append(text: string): void {
    const receipt: AppendReceipt = {
      appended: (partition, offset) => {
        this.kept.set(text, { partition, offset });
        this.#inFlight--;
        setImmediate(() => this.#more());
      },
      refused: (error) => {
        this.refused.push(error);
        this.#inFlight--;
        setTimeout(() => this.#more(), 20);
      },
    };
    this.#log.append(this.#serial % PARTITIONS, '', Buffer.from(text), receipt);
  }

  async atLeast(count: number): Promise<void> {
    const from = this.kept.size;
    await until(() => this.kept.size >= from + count);
  }

  async stop(): Promise<void> {
    const ended = new Promise<void>((resolve) => {
      this.#ended = resolve;
    });
    this.#running = false;
    this.#more();
    await ended;
  }
}

let kafka: RunningKafka;
beforeAll(async () => {
  if (missing === null) kafka = await startKafka({ brokerCount: 3 });
}, 300_000);
afterAll(async () => {
  await kafka?.stop();
});

describe.skipIf(missing !== null).each(['kafkajs', 'platformatic'] as const)(
  'three brokers, by %s (needs java and mvn)',
  (client) => {
    let started: Started<LogEngine>;
    let log: Log;
    beforeAll(async () => {
      await kafka.inSync();
      started = await kafkaLog({
        brokers: kafka.brokers,
        client,
        pendingBytesMax: 16 * 1024 * 1024,
        recordBytesMax: 512 * 1024,
        metrics: createMetrics(),
        logger: createLogger({ level: process.env.LOG_LEVEL ?? 'silent' }),
      }).start();
      log = await started.value.topic({
        topic: `millrace.messages-${client}`,
        partitionCount: PARTITIONS,
        retentionMs: 3_600_000,
        retentionBytes: Number.POSITIVE_INFINITY,
      });
    }, 300_000);
    afterAll(async () => {
      await started?.stop();
    });

    /** All of the log, by text. */
    async function everything(): Promise<Map<string, { partition: number; offset: number }[]>> {
      const found = new Map<string, { partition: number; offset: number }[]>();
      for (let partition = 0; partition < PARTITIONS; partition++) {
        const { next } = await log.extent(partition);
        const end = performance.now() + MOVES_MS_MAX;
        for (let at = 0; at < next; ) {
          // A look may come to nothing while leaders move.
          const batch = await log.peek(partition, at, { bytesMax: 1024 * 1024 }).catch(() => null);
          if (batch === null && performance.now() < end) continue;
          if (batch === null) throw new Error(`nothing to be seen of ${partition} from ${at} to ${next}`);
          texts(batch).forEach((text, index) => {
            const offset = batch.offsets?.[index] ?? batch.first + index;
            found.set(text, [...(found.get(text) ?? []), { partition, offset }]);
          });
          at = batch.last + 1;
        }
      }
      return found;
    }

    test('a broker that dies and comes back costs no acknowledged record, and makes none of them two', async () => {
      const load = new Load(log);
      await load.atLeast(500);
      for (const node of kafka.nodes.slice(0, LONG ? 3 : 1)) {
        node.kill();
        await load.atLeast(500);
        await node.restart();
        await kafka.inSync();
        await load.atLeast(500);
      }
      await load.stop();
      const found = await everything();
      for (const [text, where] of load.kept) expect(found.get(text), text).toEqual([where]);
      for (const [text, places] of found) expect(places.length, text).toBe(1);
    }, 240_000);

    test('refuses while fewer replicas are in sync than must be, and goes on by itself', async () => {
      const load = new Load(log);
      await load.atLeast(100);
      const [, second, third] = kafka.nodes;
      second?.kill();
      third?.kill();
      await until(() => load.refused.length > 0);
      expect(new Set(load.refused.map(({ code, retry }) => `${code} ${retry}`))).toEqual(
        new Set(['LOG_UNREACHABLE later']),
      );
      await Promise.all([second?.restart(), third?.restart()]);
      await load.atLeast(200);
      await load.stop();
      const found = await everything();
      for (const [text, where] of load.kept) expect(found.get(text), text).toContainEqual(where);
      await until(async () => (await started.value.health()) === null);
    }, 240_000);
  },
);

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + MOVES_MS_MAX;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error('it did not come to pass in time');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
