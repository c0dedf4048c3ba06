import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { beforeAll, describe, expect, test } from 'vitest';
import { WORK_PREFIX } from './directory.ts';
import { footprint, readMaps } from './small/footprint.ts';
import { SMALL_FULL } from './small/options.ts';
import type { SmallReport } from './small/report.ts';
import { runSmall } from './small/small.ts';
import { formatSmallReport } from './small/table.ts';

const leftovers = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith(WORK_PREFIX));

describe('a node with the small profile, for a few seconds (needs the built product)', () => {
  let report: SmallReport;
  let before: string[];
  beforeAll(async () => {
    before = leftovers();
    report = await runSmall(
      { ...SMALL_FULL, messagesPerSecond: 60, tenEvery: 3, seconds: 6, channels: 6, querySeconds: 1 },
      () => undefined,
    );
  }, 240_000);

  test('acknowledges what HTTP and MQTT publish, and stores each reading of it once', () => {
    const { load, stored } = report;
    expect(load.refused).toEqual({});
    expect(load.accepted).toBe(load.offered);
    expect(load.offered).toBe(360);
    expect(stored).toBe(load.readings);
    // A third of the messages has ten readings.
    expect(load.readings).toBe(360 + 9 * 120);
    expect(load.ackP50).toBeGreaterThan(0);
    expect(load.ackP99).toBeGreaterThanOrEqual(load.ackP50);
  });

  test('answers queries meanwhile', () => {
    expect(report.queries.count).toBeGreaterThan(0);
    expect(report.queries.failed).toBe(0);
  });

  test.runIf(process.platform === 'linux')('keeps within a bound what only memory can hold', () => {
    const { largest, memory, idle } = report;
    expect(report.samples.length).toBeGreaterThan(0);
    expect(largest?.total).toBe(memory?.max);
    expect(idle?.byProgram).toHaveProperty('postgres');
    expect(largest?.anonymous).toBeGreaterThan(50);
    expect(largest?.anonymous).toBeLessThan(ANONYMOUS_MAX);
    expect(largest?.files).toBeGreaterThan(20);
  });

  test('prints what it found, and leaves no directory behind', () => {
    expect(formatSmallReport(report)).toContain('acknowledged');
    expect(leftovers().filter((name) => !before.includes(name))).toEqual([]);
  });
});

/** @units MiB */
const ANONYMOUS_MAX = 260;

const MAPS = `55d0c8a00000-55d0c8b00000 r--p 00000000 08:01 1234                       /usr/bin/node
Rss:                 300 kB
Pss:                 100 kB
Anonymous:             0 kB
55d0c8b00000-55d0c8c00000 rw-p 00100000 08:01 1234                       /usr/bin/node
Rss:                  50 kB
Pss:                  50 kB
Anonymous:            40 kB
7f0000000000-7f0000100000 rw-p 00000000 00:00 0 
Rss:                 200 kB
Pss:                 180 kB
Anonymous:           200 kB
7f0000200000-7f0000300000 rw-s 00000000 00:01 77                         /dev/zero (deleted)
Rss:                  80 kB
Pss:                  20 kB
Anonymous:             0 kB
`;

test('tells memory that nothing but memory holds from pages of files', () => {
  const { anonymous, files } = readMaps(MAPS);
  expect(anonymous).toBe(40 + 180 + 20);
  expect([...files]).toEqual([['/usr/bin/node', 300 + 10]]);
});

test('knows nothing of processes that are gone', () => {
  expect(footprint([])).toBeNull();
});
