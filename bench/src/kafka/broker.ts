import { spawnSync } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { startKafka } from '@millrace/log/testing';
import { Kafka, logLevel } from 'kafkajs';
import { workDirectory } from '../directory.ts';
import { canPin } from '../pinning.ts';

export interface BenchKafka {
  readonly brokers: string;
  createTopic(topic: string, partitions: number): Promise<void>;
  deleteTopic(topic: string): Promise<void>;
  /** What the broker keeps of a topic, without its indexes.  @units bytes */
  bytesOf(topic: string): Promise<number>;
  stop(): Promise<void>;
}

/** One real broker, on a core of its own where programs can be held on one. */
export async function startBenchKafka(core: number): Promise<BenchKafka> {
  const work = await workDirectory();
  const kafka = await startKafka({ directory: work.path }).catch(async (error: unknown) => {
    await work.remove();
    throw error;
  });
  const pid = kafka.nodes[0]?.pid ?? 0;
  if (canPin()) spawnSync('taskset', ['-a', '-c', '-p', String(core), String(pid)], { stdio: 'ignore' });
  const admin = new Kafka({ brokers: kafka.brokers.split(','), logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  return {
    brokers: kafka.brokers,
    async createTopic(topic, numPartitions) {
      await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions, replicationFactor: 1 }] });
    },
    async deleteTopic(topic) {
      await admin.deleteTopics({ topics: [topic] });
    },
    async bytesOf(topic) {
      let bytes = 0;
      for (const entry of await readdir(work.path, { recursive: true })) {
        if (entry.includes(`/${topic}-`) && entry.endsWith('.log')) bytes += (await stat(join(work.path, entry))).size;
      }
      return bytes;
    },
    async stop() {
      await admin.disconnect();
      await kafka.stop();
      await work.remove();
    },
  };
}
