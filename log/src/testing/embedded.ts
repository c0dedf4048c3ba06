import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createLogger,
  createMetrics,
  type Log,
  type LogEngine,
  LogError,
  type Logger,
  type PartitionLease,
  type Started,
} from '@millrace/core';
import { type EmbeddedLogOptions, embeddedLog } from '../embedded/engine.ts';

const MiB = 1024 * 1024;

export const topic = {
  topic: 'millrace.messages',
  partitionCount: 1,
  retentionMs: 3_600_000,
  retentionBytes: 1024 * MiB,
};

/** Directories and engines of one test file, all gone at the end of each test. */
export class Bench {
  readonly #cleanups: (() => Promise<void> | void)[] = [];

  onEnd(cleanup: () => Promise<void> | void): void {
    this.#cleanups.push(cleanup);
  }

  async end(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0).reverse()) await cleanup();
  }

  directory(): string {
    const made = mkdtempSync(join(tmpdir(), 'millrace-log-'));
    this.onEnd(() => rmSync(made, { recursive: true, force: true }));
    return made;
  }

  async open(at: string, more: Partial<EmbeddedLogOptions> = {}): Promise<Started<LogEngine>> {
    const started = await embeddedLog({
      directory: at,
      durability: 'fsync',
      bytesMax: 1024 * MiB,
      pendingBytesMax: 64 * MiB,
      recordBytesMax: 4 * MiB,
      metrics: createMetrics(),
      logger: createLogger({ level: 'silent' }) as Logger,
      ...more,
    }).start();
    this.onEnd(() => started.stop());
    return started;
  }

  /** The files as they are at this moment: what a killed process leaves behind. */
  crash(at: string): string {
    const copy = this.directory();
    cpSync(at, copy, { recursive: true, filter: (path) => !/lock|\.tmp$/.test(path) });
    return copy;
  }
}

/** The segment files of a log, oldest first. */
export function segmentsIn(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => name.startsWith('segment-'))
    .sort()
    .map((name) => join(directory, name));
}

/** All records of a partition as text, by offset; damaged ones are left out and counted. */
export async function readAll(log: Log, partition = 0): Promise<{ kept: Map<number, string>; damaged: number }> {
  const kept = new Map<number, string>();
  let damaged = 0;
  let { earliest: from, next } = await log.extent(partition);
  while (from < next) {
    try {
      const batch = await log.peek(partition, from, { bytesMax: MiB });
      if (batch === null || batch.first !== from) throw new Error(`nothing at ${from} of ${next}`);
      const view = new DataView(batch.bytes.buffer);
      for (let at = 0; at < view.byteLength; from++) {
        const size = view.getUint32(at, true);
        kept.set(from, Buffer.from(batch.bytes.subarray(at + 4, at + 4 + size)).toString('latin1'));
        at += 4 + size;
      }
      if (from !== batch.last + 1) throw new Error(`${batch.last} is said to be the last, but ${from - 1} is`);
    } catch (error) {
      if (!(error instanceof LogError) || error.code !== 'LOG_CORRUPT') throw error;
      damaged++;
      from = Number(error.facts.nextReadable ?? next);
    }
  }
  return { kept, damaged };
}

export async function leaseOf(log: Log, group: string, partition = 0): Promise<PartitionLease> {
  return new Promise((resolve) => {
    void log.consume(group, async (lease) => {
      if (lease.partition === partition) resolve(lease);
      await new Promise((ended) => lease.signal.addEventListener('abort', ended, { once: true }));
    });
  });
}

export async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
}
