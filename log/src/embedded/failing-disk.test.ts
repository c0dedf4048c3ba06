import { appendOne, type LogError } from '@millrace/core';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Bench, leaseOf, readAll, topic, until } from '../testing/embedded.ts';

type Callback = (error: NodeJS.ErrnoException | null, written: number) => void;
/** What becomes of a write: done; done and refused all the same; refused after a part; done in part, and not answered
 *  before `release`. */
type Fate = 'done' | 'done-but-failed' | 'torn-and-failed' | 'hanging' | 'torn-and-hanging';

const disk = vi.hoisted(() => ({ fates: [] as string[], hanging: [] as (() => void)[], writes: 0 }));

vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  const write = (file: number, bytes: Buffer, at: number, size: number, position: number, told: Callback): void => {
    disk.writes++;
    const fate = disk.fates.shift() ?? 'done';
    const all = (): void => fs.write(file, bytes, at, size, position, told as never);
    if (fate === 'done') {
      all();
      return;
    }
    const part = fate.startsWith('torn') ? Math.floor(size * 0.6) : fate === 'hanging' ? 0 : size;
    fs.writeSync(file, bytes, at, part, position);
    if (fate.endsWith('hanging')) disk.hanging.push(all);
    else setImmediate(() => told(Object.assign(new Error('i/o error'), { code: 'EIO' }), 0));
  };
  return { ...fs, default: fs, write };
});

function release(): void {
  for (const go of disk.hanging.splice(0)) go();
}

const bench = new Bench();
afterEach(async () => {
  disk.fates = [];
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
    disk.fates = ['hanging', 'done'];
    const { writes } = disk;
    const told: string[] = [];
    const first = appendOne(log, 0, '', Buffer.from('first')).then(() => told.push('first'));
    await until(() => disk.writes === writes + 1);
    const second = appendOne(log, 0, '', Buffer.from('second')).then(() => told.push('second'));
    await until(() => disk.writes === writes + 2);
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
    disk.fates = ['torn-and-failed', 'done'];
    const failed = appendOne(log, 0, '', Buffer.from('lost 1'));
    const behind = turns(1).then(() => appendOne(log, 0, '', Buffer.from('lost 2')));
    for (const one of await Promise.allSettled([failed, behind])) {
      if (one.status === 'fulfilled') expect(one.value.offset).toBe(1);
      else expect(one.reason).toMatchObject({ code: 'LOG_UNREACHABLE', retry: 'later' });
    }
    await expect(failed).rejects.toMatchObject({ code: 'LOG_UNREACHABLE' });
    expect(log.pendingBytes).toBe(0);
    const { next } = await log.extent(0);
    // A frame of the same size takes the place of the failed one, right before what was written behind that.
    expect((await appendOne(log, 0, '', Buffer.from('kept n'))).offset).toBe(next);
    expect(await started.value.health()).toBeNull();
    const { kept, damaged } = await readAll(await (await bench.open(bench.crash(at))).value.topic(topic));
    expect(damaged).toBe(0);
    expect([...kept.values()].filter((text) => text.startsWith('kept'))).toEqual(['kept 0', 'kept n']);
    expect(kept.get(next)).toBe('kept n');
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

describe('killed at any moment, with any writes failed, torn or under way', () => {
  const step = fc.record({
    appends: fc.array(fc.record({ partition: fc.nat(1), size: fc.integer({ min: 12, max: 900 }) }), { maxLength: 4 }),
    turns: fc.nat(4),
    release: fc.boolean(),
    commits: fc.boolean(),
  });
  const fate = fc.constantFrom<Fate[]>(
    'done',
    'done',
    'done-but-failed',
    'torn-and-failed',
    'hanging',
    'torn-and-hanging',
  );

  test('what was acknowledged is there at its offset, and nothing comes between', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 5, maxLength: 40 }),
        fc.array(fate, { maxLength: 40 }),
        async (steps, fates) => {
          disk.fates = [];
          const at = bench.directory();
          const options = { segmentBytesMax: 8_192, roundsInFlightMax: 3 };
          const log = await (await bench.open(at, options)).value.topic({ ...topic, partitionCount: 2 });
          const lease = await leaseOf(log, 'g', 1);
          const acknowledged = [new Map<number, string>(), new Map<number, string>()];
          let serial = 0;
          let committed = 0;
          let asked = 0;
          disk.fates = [...fates];
          for (const { appends, turns: count, release: releases, commits } of steps) {
            for (const { partition, size } of appends) {
              const text = `p${partition}-${serial++}-`.padEnd(size, '.');
              log.append(partition, '', Buffer.from(text), {
                appended: (_, offset) => acknowledged[partition]?.set(offset, text),
                refused: () => {},
              });
            }
            if (commits) {
              const offset = ++asked;
              lease.commit(offset, `${offset}`).then(
                () => {
                  committed = offset;
                },
                () => {},
              );
            }
            await turns(count);
            if (releases) release();
          }
          // Snapshots are taken between callbacks, as a kill is: what was acknowledged until here counts.
          const before = acknowledged.map((told) => new Map(told));
          const committedBefore = committed;
          const copy = bench.crash(at);
          disk.fates = [];
          release();

          for (let life = 0; life < 2; life++) {
            const again = await bench.open(life === 0 ? copy : bench.crash(copy), options);
            const reopened = await again.value.topic({ ...topic, partitionCount: 2 });
            for (const partition of [0, 1]) {
              const { kept, damaged } = await readAll(reopened, partition);
              expect(damaged).toBe(0);
              const told = before[partition] as Map<number, string>;
              for (const [offset, text] of told) expect(kept.get(offset)).toBe(text);
              const unacknowledged = [...kept.keys()].filter((offset) => !told.has(offset));
              for (const offset of unacknowledged) expect(offset).toBeGreaterThan(Math.max(-1, ...told.keys()));
              for (const text of kept.values()) expect(text).toMatch(new RegExp(`^(p${partition}-|next)`));
              const { offset } = await appendOne(reopened, partition, '', Buffer.from('next'));
              expect(offset).toBe(kept.size);
              for (const [found, text] of kept) if (!told.has(found)) told.set(found, text);
              told.set(offset, 'next');
            }
            const { offset } = await reopened.committed('g', 1);
            expect(offset).toBeGreaterThanOrEqual(committedBefore === 0 ? -1 : committedBefore);
            expect(offset).toBeLessThanOrEqual(asked);
          }
          await bench.end();
        },
      ),
      { numRuns: 40 },
    );
  }, 120_000);
});
