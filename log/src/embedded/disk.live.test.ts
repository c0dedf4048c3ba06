import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
import { afterAll, describe, expect, test } from 'vitest';
import { texts } from '../conformance.ts';
import { embeddedLog } from './engine.ts';

const MiB = 1024 * 1024;
const mounted: string[] = [];

/** A disk of so many MiB, or why there can't be one. */
function smallDisk(size: number): string | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return null;
  const at = mkdtempSync(join(tmpdir(), 'millrace-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}m`, 'tmpfs', at], { stdio: 'ignore' });
    mounted.push(at);
    return at;
  } catch {
    rmSync(at, { recursive: true, force: true });
    return null;
  }
}
const probe = smallDisk(1);

afterAll(() => {
  for (const at of mounted) {
    execFileSync('umount', ['-l', at], { stdio: 'ignore' });
    rmSync(at, { recursive: true, force: true });
  }
});

const topic = { topic: 'millrace.messages', partitionCount: 1, retentionMs: 3_600_000, retentionBytes: 1024 * MiB };

async function open(directory: string): Promise<Started<LogEngine>> {
  return await embeddedLog({
    directory,
    durability: 'fsync',
    bytesMax: 1024 * MiB,
    pendingBytesMax: 64 * MiB,
    recordBytesMax: MiB,
    segmentBytesMax: MiB,
    retentionEveryMs: 50,
    metrics: createMetrics(),
    logger: createLogger({ level: 'silent' }),
  }).start();
}

/** Appends until a record is refused.  @returns the texts of those that were acknowledged, by offset */
async function fill(log: Log, tag: string, kept: Map<number, string>): Promise<LogError> {
  for (let index = 0; ; index++) {
    const text = `${tag}-${index}-`.padEnd(50_000, '.');
    try {
      kept.set((await appendOne(log, 0, '', Buffer.from(text))).offset, text);
    } catch (error) {
      return error as LogError;
    }
  }
}

async function takesAgain(log: Log, kept: Map<number, string>): Promise<void> {
  for (;;) {
    try {
      kept.set((await appendOne(log, 0, '', Buffer.from('again'))).offset, 'again');
      return;
    } catch (error) {
      expect(error).toMatchObject({ code: 'LOG_FULL' });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function expectKept(log: Log, kept: ReadonlyMap<number, string>): Promise<void> {
  const { earliest, next } = await log.extent(0);
  let seen = 0;
  for (let from = earliest; from < next; ) {
    const batch = await log.peek(0, from, { bytesMax: MiB });
    if (batch === null) break;
    for (const [index, text] of texts(batch).entries()) {
      expect(kept.get(batch.first + index)).toBe(text);
      seen++;
    }
    from = batch.last + 1;
  }
  expect(seen).toBe([...kept.keys()].filter((offset) => offset >= earliest).length);
}

function lease(log: Log): Promise<PartitionLease> {
  return new Promise((resolve) => {
    void log.consume('processors', async (given) => {
      resolve(given);
      await new Promise((ended) => given.signal.addEventListener('abort', ended, { once: true }));
    });
  });
}

describe.skipIf(probe === null)('when the disk is full (needs root and mount on Linux)', () => {
  test('refuses with what to do, loses nothing acknowledged, and goes on without a restart when there is room', async () => {
    const disk = smallDisk(24) ?? '';
    const other = join(disk, 'other');
    writeFileSync(other, Buffer.alloc(10 * MiB));
    const directory = join(disk, 'log');
    let started = await open(directory);
    let log = await started.value.topic(topic);
    const kept = new Map<number, string>();
    const refusal = await fill(log, 'first', kept);
    expect(refusal).toBeInstanceOf(LogError);
    expect(refusal.code).toBe('LOG_FULL');
    expect(refusal.retry).toBe('later');
    expect(await started.value.health()).toMatch(/disk is full/);
    await expectKept(log, kept);
    unlinkSync(other);
    await takesAgain(log, kept);
    expect(await started.value.health()).toBeNull();
    expect((await fill(log, 'second', kept)).code).toBe('LOG_FULL');
    await started.stop();
    started = await open(directory);
    log = await started.value.topic(topic);
    await expectKept(log, kept);
    expect((await log.extent(0)).next).toBe(kept.size);
    await started.stop();
  });

  test('still commits offsets, and makes room by what is processed', async () => {
    const disk = smallDisk(16) ?? '';
    const started = await open(join(disk, 'log'));
    const log = await started.value.topic(topic);
    const processor = await lease(log);
    const kept = new Map<number, string>();
    expect((await fill(log, 'r', kept)).code).toBe('LOG_FULL');
    expect(statfsSync(disk).bavail * statfsSync(disk).bsize).toBeLessThan(2 * MiB);
    await processor.commit(1, 'intent:1-100');
    expect(await log.committed('processors', 0)).toEqual({ offset: 1, metadata: 'intent:1-100' });
    await processor.commit((await log.extent(0)).next, '');
    await takesAgain(log, kept);
    expect((await log.extent(0)).earliest).toBeGreaterThan(0);
    await expectKept(log, kept);
    await started.stop();
  });
});
