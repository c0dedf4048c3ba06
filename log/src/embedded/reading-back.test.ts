import { appendOne } from '@millrace/core';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Bench, readAll, segmentsIn, topic } from '../testing/embedded.ts';

const disk = vi.hoisted(() => ({ readsThatFail: 0 }));
vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  const readSync = (...args: Parameters<typeof fs.readSync>): number => {
    if (disk.readsThatFail === 0) return fs.readSync(...args);
    disk.readsThatFail--;
    throw Object.assign(new Error('too many open files'), { code: 'EMFILE' });
  };
  return { ...fs, default: fs, readSync };
});

const bench = new Bench();
afterEach(() => bench.end());

describe('reading back', () => {
  test('of more segments than stay loaded leaves the one open that is written', async () => {
    const at = bench.directory();
    const log = await (await bench.open(at, { segmentBytesMax: 4_096 })).value.topic(topic);
    const record = Buffer.alloc(1_000);
    for (let index = 0; index < 81; index++) await appendOne(log, 0, '', record);
    expect(segmentsIn(at).length).toBeGreaterThan(20);
    expect((await log.peek(0, 80, { bytesMax: 1 }))?.first).toBe(80);
    for (let offset = 0; offset < 76; offset++) await log.peek(0, offset, { bytesMax: 1 });
    expect((await appendOne(log, 0, '', Buffer.from('next'))).offset).toBe(81);
    expect((await readAll(log)).kept.size).toBe(82);
  });

  test('that the system refuses for a moment does not make records seem lost', async () => {
    const at = bench.directory();
    const options = { segmentBytesMax: 4_096 };
    const first = await bench.open(at, options);
    const before = await first.value.topic(topic);
    for (let index = 0; index < 40; index++) await appendOne(before, 0, '', Buffer.alloc(1_000));
    await first.stop();
    const log = await (await bench.open(at, options)).value.topic(topic);
    for (let fails = 1; fails <= 2; fails++) {
      disk.readsThatFail = 1;
      await expect(log.peek(0, 5, { bytesMax: 1 })).rejects.toMatchObject({ code: 'LOG_UNREACHABLE', retry: 'later' });
    }
    expect((await log.peek(0, 5, { bytesMax: 1 }))?.first).toBe(5);
    expect((await readAll(log)).damaged).toBe(0);
  });
});
