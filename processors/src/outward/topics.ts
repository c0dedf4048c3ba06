import {
  type Component,
  type Consumer,
  type Log,
  type LogEngine,
  LogError,
  type Logger,
  type Metrics,
  type PartitionLease,
  type Started,
  type StoredStream,
} from '@millrace/core';
import { pause } from '../run/patience.ts';
import { PROCESSORS_GROUP } from '../run/runner.ts';
import type { TopicsConfig } from './config.ts';
import { OutwardLane, type OutwardSignals, type Source } from './lane.ts';
import { createMeasures, type TopicMeasures } from './measures.ts';
import { deadLetterRecords, readingRecords } from './records.ts';

export const READINGS_TOPIC = 'millrace.readings';
export const DEAD_LETTERS_TOPIC = 'millrace.dead-letters';

const POLL_MS = 250;
const READINGS_ROWS_MAX = 5_000;
const DEAD_LETTERS_ROWS_MAX = 200;
/** Of a dead letter's payload; the table has all of it. */
const PAYLOAD_BYTES_MAX = 65_536;
const MiB = 1024 * 1024;

export interface OutwardTopicsOptions {
  readonly config: TopicsConfig;
  readonly engine: LogEngine;
  readonly messages: Log;
  readonly stream: StoredStream;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly pollMs?: number;
}

/** Writes what is stored to topics that other programs read, as the configuration asks for. Each topic has a group of its
 *  own name, whose members share the partitions. */
export function outwardTopics(options: OutwardTopicsOptions): Component<null> {
  return { name: 'topics', start: () => start(options) };
}

async function start(options: OutwardTopicsOptions): Promise<Started<null>> {
  const { config } = options;
  const [draining, stopping] = [new AbortController(), new AbortController()];
  const signals = { draining: draining.signal, stopping: stopping.signal };
  const running = new Map<string, Map<OutwardLane, Promise<void>>>();
  const measures = createMeasures(options.metrics, running);
  const consumers: Consumer[] = [];
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopping.abort();
    stopped ??= Promise.all(consumers.map((consumer) => consumer.stop())).then(() => {});
    return stopped;
  };
  try {
    for (const [topic, source] of sourcesOf(options.stream, config)) {
      const lanes = new Map<OutwardLane, Promise<void>>();
      running.set(topic, lanes);
      consumers.push(await write(topic, source, options, { signals, lanes, measures }));
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    value: null,
    // What is left is found by whoever begins next.
    async drain(deadlineMs) {
      draining.abort();
      const finished = new AbortController();
      const idle = Promise.all([...running.values()].flatMap((lanes) => [...lanes.values()])).then(() =>
        finished.abort(),
      );
      await Promise.race([idle, pause(deadlineMs, finished.signal)]);
    },
    stop,
  };
}

function sourcesOf(stream: StoredStream, config: TopicsConfig): Map<string, Source> {
  const sources = new Map<string, Source>();
  if (config.MILLRACE_READINGS_TOPIC)
    sources.set(READINGS_TOPIC, {
      async read(partition, range) {
        const { rows, next } = await stream.readings({ partition, ...range, limit: READINGS_ROWS_MAX });
        return { records: readingRecords(partition, rows), next };
      },
    });
  if (config.MILLRACE_DEAD_LETTERS_TOPIC)
    sources.set(DEAD_LETTERS_TOPIC, {
      async read(partition, range) {
        const query = { partition, ...range, limit: DEAD_LETTERS_ROWS_MAX, payloadBytesMax: PAYLOAD_BYTES_MAX };
        const { rows, next } = await stream.deadLetters(query);
        return { records: deadLetterRecords(partition, rows), next };
      },
    });
  return sources;
}

interface Running {
  readonly signals: OutwardSignals;
  readonly lanes: Map<OutwardLane, Promise<void>>;
  readonly measures: TopicMeasures;
}

async function write(
  name: string,
  source: Source,
  { config, engine, messages, logger, pollMs = POLL_MS }: OutwardTopicsOptions,
  { signals, lanes, measures }: Running,
): Promise<Consumer> {
  const topic = await engine.topic({
    topic: name,
    partitionCount: messages.partitionCount,
    retentionMs: config.MILLRACE_TOPICS_RETENTION_MS,
    retentionBytes:
      config.MILLRACE_TOPICS_RETENTION_BYTES ?? (engine.name === 'embedded' ? 128 * MiB : Number.POSITIVE_INFINITY),
  });
  // Whoever has the topic's partition of a number carries the messages' partition of that number.
  if (topic.partitionCount < messages.partitionCount)
    throw new LogError('LOG_UNREACHABLE', 'never', {
      topic: name,
      problem: `it has ${topic.partitionCount} partitions, and ${messages.topic} has ${messages.partitionCount}: make it anew`,
    });
  const label = { topic: name };
  const onLease = async (lease: PartitionLease): Promise<void> => {
    const { partition, signal } = lease;
    if (partition < messages.partitionCount) {
      const lane = new OutwardLane(
        lease,
        {
          source,
          messages,
          group: PROCESSORS_GROUP,
          topic,
          logger,
          pollMs,
          wrote: (count, size) => {
            measures.records.inc(label, count);
            measures.bytes.inc(label, size);
          },
          leftOut: () => measures.leftOut.inc(label),
        },
        signals,
      );
      const done = lane.run();
      lanes.set(lane, done);
      await done;
      lanes.delete(lane);
    }
    // The lease is ours until it ends: who returns is not given the partition again.
    const over = AbortSignal.any([signal, signals.stopping]);
    if (!over.aborted) await new Promise((resolve) => over.addEventListener('abort', resolve, { once: true }));
  };
  return topic.consume(name, onLease);
}
