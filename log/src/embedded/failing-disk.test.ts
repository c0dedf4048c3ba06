import { appendOne, type Log, type LogError } from '@millrace/core';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Bench, leaseOf, readAll, segmentsIn, topic, until } from '../testing/embedded.ts';

type Callback = (error: NodeJS.ErrnoException | null, written: number) => void;
/** What becomes of a write: done; done and refused all the same; refused after a part; done in part or not at all, and
 *  answered only by `release`, one way or the other. */
type Fate = 'done' | 'done-but-failed' | 'torn-and-failed' | 'failing-late' | 'hanging' | 'torn-and-hanging';

const disk = vi.hoisted(() => ({
  fates: [] as string[],
  ofHeads: null as string | null,
  hanging: [] as (() => void)[],
  begun: 0,
  done: 0,
}));

vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  const write = (file: number, bytes: Buffer, at: number, size: number, position: number, told: Callback): void => {
    disk.begun++;
    const fate = (position === 64 ? disk.ofHeads : null) ?? disk.fates.shift() ?? 'done';
    const all = (): void => {
      fs.write(file, bytes, at, size, position, (error, written) => {
        disk.done++;
        told(error, written);
      });
    };
    const fail = (): void => told(Object.assign(new Error('i/o error'), { code: 'EIO' }), 0);
    if (fate === 'done') {
      all();
      return;
    }
    const part = fate.startsWith('torn') ? Math.floor(size * 0.6) : fate === 'done-but-failed' ? size : 0;
    fs.writeSync(file, bytes, at, part, position);
    if (fate === 'failing-late') disk.hanging.push(fail);
    else if (fate.endsWith('hanging')) disk.hanging.push(all);
    else setImmediate(fail);
  };
  return { ...fs, default: fs, write };
});

function release(): void {
  for (const go of disk.hanging.splice(0)) go();
}

const bench = new Bench();
afterEach(async () => {
  disk.fates = [];
  disk.ofHeads = null;
  release();
  await bench.end();
});

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
};

describe('rounds that are written at the same time', () => {
  test('are acknowledged in order: a later one that is done first waits', async () => {
    const log = await (await bench.open(bench.directory())).value.topic(topic);
    await appendOne(log, 0, '', Buffer.from('warm'));
    const { done, begun } = disk;
    disk.fates = ['hanging', 'done'];
    const told: string[] = [];
    const first = appendOne(log, 0, '', Buffer.from('first')).then(() => told.push('first'));
    await until(() => disk.begun === begun + 1);
    const second = appendOne(log, 0, '', Buffer.from('second')).then(() => told.push('second'));
    await until(() => disk.done === done + 1);
    await turns(20);
    expect(told).toEqual([]);
    expect((await log.extent(0)).next).toBe(1);
    release();
    await Promise.all([first, second]);
    expect(told).toEqual(['first', 'second']);
  });

  test('fall together: what was written behind a failed one is refused and never comes back', async () => {
    const at = bench.directory();
    const started = await bench.open(at);
    const log = await started.value.topic(topic);
    await appendOne(log, 0, '', Buffer.from('kept 0'));
    const { done, begun } = disk;
    disk.fates = ['failing-late', 'done'];
    const failed = appendOne(log, 0, '', Buffer.from('lost 1'));
    await until(() => disk.begun === begun + 1);
    const behind = appendOne(log, 0, '', Buffer.from('lost 2'));
    await until(() => disk.done === done + 1);
    release();
    await expect(failed).rejects.toMatchObject({ code: 'LOG_UNREACHABLE', retry: 'later' });
    await expect(behind).rejects.toMatchObject({ code: 'LOG_UNREACHABLE', retry: 'later' });
    expect(log.pendingBytes).toBe(0);
    // A frame of the same size takes the place of the failed one, right before what was written behind that.
    expect((await appendOne(log, 0, '', Buffer.from('kept 1'))).offset).toBe(1);
    expect(await started.value.health()).toBeNull();
    for (const directory of [bench.crash(at), at]) {
      if (directory === at) await started.stop();
      const { kept, damaged } = await readAll(await (await bench.open(directory)).value.topic(topic));
      expect(damaged).toBe(0);
      expect([...kept.values()]).toEqual(['kept 0', 'kept 1']);
    }
  });

  test('leave the log healthy again by itself when the disk is, though nothing is sent', async () => {
    const started = await bench.open(bench.directory(), { retentionEveryMs: 5 });
    const log = await started.value.topic(topic);
    await appendOne(log, 0, '', Buffer.from('kept'));
    disk.fates = ['failing-late', 'failing-late'];
    const { begun } = disk;
    const failed = appendOne(log, 0, '', Buffer.from('lost'));
    await until(() => disk.begun === begun + 1);
    release();
    await expect(failed).rejects.toMatchObject({ code: 'LOG_UNREACHABLE' });
    await until(() => disk.begun === begun + 2);
    expect(await started.value.health()).toMatch(/i\/o error/);
    release();
    await until(async () => (await started.value.health()) === null);
    expect((await log.extent(0)).next).toBe(1);
  });

  test('nothing goes from before a new segment until its head is durable: that alone has the small state', async () => {
    const at = bench.directory();
    let now = 1_000_000;
    const options = { segmentBytesMax: 4_096, retentionEveryMs: 1, now: () => now };
    const log = await (await bench.open(at, options)).value.topic(topic);
    await (await leaseOf(log, 'g')).commit(1_000, '');
    for (let index = 0; index < 5; index++) await appendOne(log, 0, '', Buffer.alloc(1_000));
    expect(segmentsIn(at).length).toBeGreaterThan(1);
    disk.ofHeads = 'hanging';
    while (disk.hanging.length === 0) {
      let over = false;
      const told = (): void => {
        over = true;
      };
      appendOne(log, 0, '', Buffer.alloc(1_000)).then(told, told);
      await until(() => over || disk.hanging.length > 0);
    }
    const { next } = await log.extent(0);
    now += 4_000_000;
    await until(async () => (await log.extent(0)).earliest > 0);
    const killed = bench.crash(at);
    disk.ofHeads = null;
    const again = await (await bench.open(killed, options)).value.topic(topic);
    expect((await again.extent(0)).next).toBe(next);
    expect((await again.committed('g', 0)).offset).toBe(1_000);
  });

  test('wait for the head of a new segment: killed before that is written, all acknowledged is found', async () => {
    const at = bench.directory();
    const log = await (await bench.open(at, { segmentBytesMax: 8_192 })).value.topic(topic);
    const acknowledged: number[] = [];
    const receipt = { appended: (_: number, offset: number) => void acknowledged.push(offset), refused: () => {} };
    disk.ofHeads = 'torn-and-hanging';
    while (disk.hanging.length === 0) {
      log.append(0, '', Buffer.alloc(300, 'r'), receipt);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const { begun } = disk;
    log.append(0, '', Buffer.alloc(300, 's'), receipt);
    await turns(20);
    expect(disk.begun).toBe(begun);
    const told = acknowledged.length;
    expect(told).toBeGreaterThan(10);
    disk.ofHeads = null;
    const { kept } = await readAll(await (await bench.open(bench.crash(at))).value.topic(topic));
    expect(kept.size).toBe(told);
  });

  test('a commit of an offset that could not be written is told, and does not count', async () => {
    const log = await (await bench.open(bench.directory())).value.topic(topic);
    await appendOne(log, 0, '', Buffer.from('r'));
    const lease = await leaseOf(log, 'g');
    disk.fates = ['torn-and-failed'];
    const refusal = (await lease.commit(1, 'done').catch((error: unknown) => error)) as LogError;
    expect(refusal).toMatchObject({ code: 'LOG_UNREACHABLE', retry: 'later' });
    expect((await log.committed('g', 0)).offset).toBe(-1);
    await lease.commit(1, 'done');
    expect(await log.committed('g', 0)).toEqual({ offset: 1, metadata: 'done' });
  });
});

describe('killed again and again, with any writes failed, torn or under way', () => {
  const PARTITIONS = 2;
  const OPTIONS = { segmentBytesMax: 8_192, roundsInFlightMax: 3, overlapAfterMs: 0 };
  const step = fc.record({
    // Few sizes, so that the end of one frame falls on the beginning of what an earlier one left behind.
    appends: fc.array(fc.record({ partition: fc.nat(1), size: fc.constantFrom(16, 16, 16, 400) }), { maxLength: 3 }),
    turns: fc.nat(6),
    releases: fc.integer({ min: 0, max: 4 }).map((number) => number === 0),
    commits: fc.integer({ min: 0, max: 4 }).map((number) => number === 0),
  });
  const fate = fc.constantFrom<Fate[]>(
    'done',
    'done',
    'done-but-failed',
    'torn-and-failed',
    'hanging',
    'torn-and-hanging',
  );
  const life = fc.record({
    steps: fc.array(step, { minLength: 3, maxLength: 20 }),
    fates: fc.array(fate, { maxLength: 20 }),
  });
  type Life = typeof life extends fc.Arbitrary<infer T> ? T : never;

  /** What must be there: acknowledged, or found at a start, which makes it just as true. */
  interface Truth {
    readonly records: readonly Map<number, string>[];
    committed: number;
    asked: number;
    serial: number;
  }

  /** What is found is the truth and, behind it, what was under way. */
  async function verify(log: Log, truth: Truth): Promise<void> {
    for (const [partition, told] of truth.records.entries()) {
      const { kept, damaged } = await readAll(log, partition);
      expect(damaged).toBe(0);
      for (const [offset, text] of told) expect(kept.get(offset)).toBe(text);
      const highest = Math.max(-1, ...told.keys());
      for (const [offset, text] of kept) {
        if (!told.has(offset)) expect(offset).toBeGreaterThan(highest);
        expect(text).toMatch(new RegExp(`^p${partition}-`));
        told.set(offset, text);
      }
      expect([...kept.keys()]).toEqual([...kept.keys()].map((_, index) => index));
      expect((await log.extent(partition)).next).toBe(kept.size);
      expect(new Set(kept.values()).size).toBe(kept.size);
    }
    const { offset } = await log.committed('g', 1);
    expect(offset).toBeGreaterThanOrEqual(truth.committed);
    expect(offset).toBeLessThanOrEqual(truth.asked);
    truth.committed = offset;
  }

  /** @returns the directory as a kill leaves it */
  async function live(at: string, { steps, fates }: Life, truth: Truth): Promise<string> {
    const log = await (await bench.open(at, OPTIONS)).value.topic({ ...topic, partitionCount: PARTITIONS });
    await verify(log, truth);
    const lease = await leaseOf(log, 'g', 1);
    disk.fates = [...fates];
    let alive = true;
    for (const { appends, turns: count, releases, commits } of steps) {
      for (const { partition, size } of appends) {
        const text = `p${partition}-${truth.serial++}-`.padEnd(size, '.');
        log.append(partition, '', Buffer.from(text), {
          appended: (_, offset) => {
            if (alive) truth.records[partition]?.set(offset, text);
          },
          refused: () => {},
        });
      }
      if (commits) {
        const offset = ++truth.asked;
        lease.commit(offset, '').then(
          () => {
            if (alive) truth.committed = offset;
          },
          () => {},
        );
      }
      await turns(count);
      if (releases) release();
    }
    // What was written and not held up is on the disk now.
    await new Promise((resolve) => setTimeout(resolve, 3));
    const copy = bench.crash(at);
    alive = false;
    disk.fates = [];
    release();
    return copy;
  }

  test('what was acknowledged is there at its offset, once, and nothing comes between', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(life, { minLength: 2, maxLength: 4 }), async (lives) => {
        const truth: Truth = {
          records: Array.from({ length: PARTITIONS }, () => new Map()),
          committed: -1,
          asked: 0,
          serial: 0,
        };
        let at = bench.directory();
        disk.fates = [];
        for (const one of lives) at = await live(at, one, truth);
        const log = await (await bench.open(at, OPTIONS)).value.topic({ ...topic, partitionCount: PARTITIONS });
        await verify(log, truth);
        await bench.end();
      }),
      { numRuns: 40 },
    );
  }, 180_000);
});
