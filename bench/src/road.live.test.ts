import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { beforeAll, describe, expect, test } from 'vitest';
import { WORK_PREFIX } from './directory.ts';
import { PRODUCT_MAIN } from './product.ts';
import type { RoadReport } from './report.ts';
import { QUICK, type RoadOptions, runRoad } from './road.ts';
import { formatReport } from './table.ts';

const SHORT: RoadOptions = { ...QUICK, seconds: 0.5, connections: 16, channels: 4 };
const PACK_SIZES = [1, 10, 100];
const isBuilt = existsSync(PRODUCT_MAIN);
const leftovers = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith(WORK_PREFIX));

describe('the road, for half a second each', () => {
  let report: RoadReport;
  let before: string[];
  beforeAll(async () => {
    before = leftovers();
    report = await runRoad({ ...SHORT, product: isBuilt }, () => undefined);
  }, 180_000);

  test('measures every floor', () => {
    for (const name of [
      'answer/packs-10/messages_per_second',
      'parse/packs-10/packs_per_second',
      'sync/4-kib/syncs_per_second',
      'insert/text/rows_per_second',
      'insert/native/rows_per_second',
      ...PACK_SIZES.map((records) => `bare-road/packs-${records}/readings_per_second`),
    ]) {
      expect(report.figures[name]?.median, name).toBeGreaterThan(0);
    }
    expect(formatReport(report)).toContain('raw insert, Native');
  });

  test('stores what was acknowledged, each reading once', () => {
    for (const road of isBuilt ? ['millrace', 'bare-road'] : ['bare-road']) {
      for (const records of PACK_SIZES) {
        expect(report.figures[`${road}/packs-${records}/surplus`]?.median, road).toBe(0);
        expect(report.figures[`${road}/packs-${records}/refused`]?.median, road).toBe(0);
      }
    }
  });

  test.skipIf(!isBuilt)('gives the product a finite ratio to each floor', () => {
    expect(report.targets.map((target) => target.name).slice(0, 4)).toEqual([
      'readings/s at packs of 10, to the bare road',
      'readings/s at packs of 10, to the raw insert',
      'acknowledgement p50 at 10,000 messages/s',
      'acknowledgement p99 at 10,000 messages/s',
    ]);
    for (const { value } of report.targets) expect(value).toBeGreaterThan(0);
  });

  test('leaves no directory behind', () => {
    expect(leftovers().filter((name) => !before.includes(name))).toEqual([]);
  });

  test('can be interrupted, and ends what it started', async () => {
    const stop = new AbortController();
    const run = runRoad({ ...SHORT, product: false, signal: stop.signal }, (line) => {
      if (line.includes('empty 202')) setTimeout(() => stop.abort(new Error('enough')), 300);
    });
    await expect(run).rejects.toThrow('enough');
  }, 60_000);
});
