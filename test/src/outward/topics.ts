import { createLogger, createMetrics, readConfig } from '@millrace/core';
import { LogConfig, openLog } from '@millrace/log';
import { expect } from 'vitest';
import { eventually, type Millrace, type Publisher } from '../millrace.ts';

/** Every setting that the topics need. */
export const TOPICS = { MILLRACE_READINGS_TOPIC: 'on', MILLRACE_DEAD_LETTERS_TOPIC: 'on' };

interface Told {
  readonly channel: string;
  readonly position: string;
  readonly readings: readonly {
    readonly index: number;
    readonly name: string;
    readonly value: number;
    readonly time: number;
  }[];
}
export interface DeadTold {
  readonly channel: string;
  readonly position: string;
  readonly index: number | null;
  readonly reason: string;
  readonly payload_base64: string;
}
export interface TopicsTold {
  readonly readings: readonly Told[];
  readonly deadLetters: readonly DeadTold[];
}

/** A reading that has a value of its own, and a record that can not be one. */
export async function publish({ rest, channel }: Publisher, value: number): Promise<void> {
  const body = JSON.stringify([
    { n: 't', v: value },
    { n: 'odd', v: value, vs: 'two values' },
  ]);
  const sent = await rest.raw('POST', `/channels/${channel}/messages`, body, {
    'content-type': 'application/senml+json',
  });
  expect(sent.status).toBe(202);
}

/** All that the topics hold, each in the order of its log. Of the embedded log: while no node runs. */
export async function readTopics(environment: Record<string, string>, directory: string): Promise<TopicsTold> {
  const started = await openLog(readConfig(LogConfig, environment), {
    directory: `${directory}/log`,
    metrics: createMetrics(),
    logger: createLogger({ level: 'silent' }),
  }).start();
  try {
    const all = async <Record>(topic: string): Promise<Record[]> => {
      const records: Record[] = [];
      const log = await started.value.topic({
        topic,
        partitionCount: 2,
        retentionMs: 3_600_000,
        retentionBytes: 2 ** 27,
      });
      for (let partition = 0; partition < log.partitionCount; partition++) {
        const { earliest, next } = await log.extent(partition);
        for (let at = earliest; at < next; ) {
          const batch = await log.peek(partition, at, { bytesMax: 1_048_576 });
          if (batch === null) break;
          const bytes = Buffer.from(batch.bytes);
          for (let from = 0; from < bytes.length; ) {
            const size = bytes.readUInt32LE(from);
            records.push(JSON.parse(bytes.toString('utf8', from + 4, from + 4 + size)));
            from += 4 + size;
          }
          at = batch.last + 1;
        }
      }
      return records;
    };
    return { readings: await all('millrace.readings'), deadLetters: await all('millrace.dead-letters') };
  } finally {
    await started.stop();
  }
}

/** What a reader that tells repeats by position and index has of one channel. */
export function onceEach({ readings }: TopicsTold, channel: string): number[] {
  const seen = new Map<string, number>();
  for (const record of readings)
    if (record.channel === channel)
      for (const { index, value } of record.readings) {
        const key = `${record.position}.${index}`;
        if (!seen.has(key)) seen.set(key, value);
      }
  return [...seen.values()];
}

/** Waits until all that came is stored, and both topics have all that is stored. */
export async function allWritten(millrace: Millrace): Promise<void> {
  await eventually('all that came in both topics', 60_000, async () => {
    const text = await (await fetch(`${millrace.url}/metrics`)).text();
    const lags = [...text.matchAll(/^millrace_log_lag_messages\{([^}]*)\} (\d+)/gm)]
      .filter(([, labels = '']) => labels.includes('group="processors"'))
      .map(([, , lag]) => lag);
    const topics = [...text.matchAll(/^millrace_topic_lag_messages\{[^}]*\} (\d+)/gm)].map(([, lag]) => lag);
    return lags.length > 0 && topics.length === 2 && [...lags, ...topics].every((lag) => lag === '0');
  });
}
