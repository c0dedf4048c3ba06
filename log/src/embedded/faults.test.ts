import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { appendOne, type Log, siblingUrl } from '@millrace/core';
import { afterEach, describe, expect, test } from 'vitest';
import { Bench, leaseOf, readAll, topic, until } from '../testing/embedded.ts';

const MiB = 1024 * 1024;

const bench = new Bench();
const directory = () => bench.directory();
const open: Bench['open'] = (at, more) => bench.open(at, more);
afterEach(() => bench.end());

const all = async (log: Log): Promise<string[]> => [...(await readAll(log)).kept.values()];

function child(program: string, args: readonly string[]): ChildProcess {
  const execArgv = program.endsWith('.ts') ? ['--import', 'tsx', '--conditions=source'] : [];
  const process_ = spawn(process.execPath, [...execArgv, fileURLToPath(program), ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  bench.onEnd(() => void process_.kill('SIGKILL'));
  return process_;
}

describe('when the process is killed', () => {
  test('every acknowledged record is there, in order, and offsets go on behind them', async () => {
    const at = directory();
    const acknowledged = new Map<number, string>();
    for (let life = 0; life < 4; life++) {
      const writer = child(siblingUrl(import.meta.url, './writer'), [at, String(life)]);
      const told = createInterface({ input: writer.stdout as NodeJS.ReadableStream });
      const ended = new Promise((resolve) => writer.once('exit', resolve));
      let lines = 0;
      told.on('line', (line) => {
        const [offset, text] = line.split(' ');
        acknowledged.set(Number(offset), text ?? '');
        if (++lines === 300 + life * 511) writer.kill('SIGKILL');
      });
      await ended;
    }
    const started = await open(at);
    const log = await started.value.topic(topic);
    const kept = await all(log);
    expect(acknowledged.size).toBeGreaterThan(1_500);
    for (const [offset, text] of acknowledged) expect(kept[offset]).toBe(text);
    expect((await appendOne(log, 0, '', Buffer.from('after'))).offset).toBe(kept.length);
    // Of each life, what is kept is a prefix of what it wrote: nothing is missing in between.
    for (let life = 0; life < 4; life++) {
      const own = kept.filter((text) => text.startsWith(`${life}-`));
      expect(own).toEqual(own.map((_, index) => `${life}-${index}`));
    }
  });
});

describe('one engine at a time', () => {
  test('refuses a directory that is open, naming the process', async () => {
    const at = directory();
    const first = await open(at);
    await expect(open(at)).rejects.toMatchObject({ code: 'LOG_UNREACHABLE', facts: { pid: process.pid } });
    await first.stop();
    await (await open(at)).stop();
  });

  test('refuses it from another process too, and takes it over when that was killed', async () => {
    const at = directory();
    const writer = child(siblingUrl(import.meta.url, './writer'), [at, '0']);
    const ended = new Promise((resolve) => writer.once('exit', resolve));
    await new Promise((resolve) => writer.stdout?.once('data', resolve));
    await expect(open(at)).rejects.toMatchObject({ code: 'LOG_UNREACHABLE', facts: { pid: writer.pid } });
    writer.kill('SIGKILL');
    await ended;
    expect(await (await open(at)).value.health()).toBeNull();
  });

  test('takes over the lock of a process id that was given to another program since', async () => {
    const at = directory();
    writeFileSync(join(at, 'lock'), '1 999999999\n');
    await open(at);
    expect(readFileSync(join(at, 'lock'), 'utf8')).toMatch(`${process.pid} `);
  });
});

describe('when it is full', () => {
  test('refuses beyond the pending bytes, and takes more once they are durable', async () => {
    const started = await open(directory(), { pendingBytesMax: MiB });
    const log = await started.value.topic(topic);
    const record = new Uint8Array(100_000);
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => appendOne(log, 0, '', record)));
    const refused = results.filter((result) => result.status === 'rejected');
    expect(refused.length).toBe(10);
    for (const { reason } of refused) expect(reason).toMatchObject({ code: 'LOG_FULL', retry: 'later' });
    expect((await appendOne(log, 0, '', record)).offset).toBe(10);
  });

  test('refuses when the log has its size, keeps what is not processed, and takes more once it is', async () => {
    const started = await open(directory(), { bytesMax: 8 * MiB, retentionEveryMs: 20 });
    const log = await started.value.topic(topic);
    const lease = await leaseOf(log, 'processors');
    const record = new Uint8Array(100_000);
    let refusal: unknown = null;
    for (let index = 0; refusal === null && index < 1_000; index++) {
      await appendOne(log, 0, '', record).catch((error: unknown) => {
        refusal = error;
      });
    }
    expect(refusal).toMatchObject({ code: 'LOG_FULL', facts: { bytesMax: 8 * MiB } });
    expect(await started.value.health()).toMatch(/full/);
    const { earliest, next } = await log.extent(0);
    expect(earliest).toBe(0);
    await lease.commit(next, '');
    await until(async () => {
      await appendOne(log, 0, '', record).catch(() => {});
      return (await log.extent(0)).next > next;
    });
    expect((await log.extent(0)).earliest).toBeGreaterThan(0);
    expect((await log.extent(0)).earliest).toBeLessThanOrEqual(next);
    expect(await started.value.health()).toBeNull();
  });
});

describe('retention', () => {
  test('removes by age what every group has passed, and gives the earliest that is kept', async () => {
    const at = directory();
    let now = 1_000_000;
    const options = { segmentBytesMax: 4_096, retentionEveryMs: 10, now: () => now };
    const started = await open(at, options);
    const log = await started.value.topic(topic);
    const one = await leaseOf(log, 'one');
    const two = await leaseOf(log, 'two');
    for (let index = 0; index < 50; index++) await appendOne(log, 0, '', Buffer.alloc(1_000, index));
    await one.commit(50, '');
    await two.commit(10, '');
    now += 4_000_000;
    await until(async () => (await log.extent(0)).earliest > 0);
    const { earliest } = await log.extent(0);
    expect(earliest).toBeLessThanOrEqual(10);
    await two.commit(50, '');
    await until(async () => (await log.extent(0)).earliest > 40);
    const batch = await one.read(0, { bytesMax: MiB, waitMsMax: 1_000 });
    expect(batch?.first).toBe((await log.extent(0)).earliest);
    await started.stop();
    // The next offset is not forgotten with the records.
    const again = await (await open(at, options)).value.topic(topic);
    expect((await appendOne(again, 0, '', Buffer.from('x'))).offset).toBe(50);
  });

  test('never shows a reader the gap that it makes', async () => {
    let now = 1_000_000;
    const started = await open(directory(), { segmentBytesMax: 4_096, retentionEveryMs: 1, now: () => now });
    const log = await started.value.topic(topic);
    const lease = await leaseOf(log, 'g');
    for (let index = 0; index < 100; index++) await appendOne(log, 0, '', Buffer.alloc(1_000, index));
    await lease.commit(100, '');
    now += 4_000_000;
    while ((await log.extent(0)).earliest < 90) {
      const batch = await log.peek(0, 0, { bytesMax: 1_000 });
      expect(batch?.bytes.at(-1)).toBe(batch?.first);
      await new Promise((resolve) => setImmediate(resolve));
    }
  });

  test('removes by size, oldest first', async () => {
    const started = await open(directory(), { segmentBytesMax: 4_096, retentionEveryMs: 10 });
    const log = await started.value.topic({ ...topic, retentionBytes: 20_000 });
    const lease = await leaseOf(log, 'g');
    for (let index = 0; index < 50; index++) await appendOne(log, 0, '', Buffer.alloc(1_000, index));
    await lease.commit(50, '');
    await until(async () => (await log.extent(0)).earliest > 25);
    expect((await all(log)).at(-1)).toBe(Buffer.alloc(1_000, 49).toString());
  });
});

describe('at the end', () => {
  test('a drain makes durable what was taken and refuses what comes', async () => {
    const at = directory();
    const started = await open(at);
    const log = await started.value.topic(topic);
    const taken = Array.from({ length: 100 }, (_, index) => appendOne(log, 0, '', Buffer.from(`r${index}`)));
    await started.drain(5_000);
    expect((await Promise.all(taken)).length).toBe(100);
    await expect(appendOne(log, 0, '', Buffer.from('late'))).rejects.toMatchObject({ code: 'LOG_CLOSED' });
    await started.stop();
    await started.stop();
  });

  test('a stop without a drain refuses or keeps each record, never neither', async () => {
    const at = directory();
    const started = await open(at);
    const log = await started.value.topic(topic);
    const results = Promise.allSettled(
      Array.from({ length: 50 }, (_, index) => appendOne(log, 0, '', Buffer.from(`r${index}`))),
    );
    await started.stop();
    const kept = (await results).filter((result) => result.status === 'fulfilled').length;
    const again = await (await open(at)).value.topic(topic);
    expect((await again.extent(0)).next).toBe(kept);
  });
});
