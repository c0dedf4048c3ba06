import type { LogShards } from '@millrace/core';
import { expect, test } from 'vitest';
import type { Engine } from '../engine/engine.ts';
import { openEngine } from '../store.ts';
import { batchOf } from '../testing/batches.ts';
import { openPlace, type PlaceKind } from '../testing/places.ts';
import { MIGRATIONS, migrate } from './migrate.ts';

const BYTES_A_MINUTE_MAX = 8;
const DAYS = 2;
/** As the demo's devices send: of few decimals, each near the one before. */
const SIGNALS = {
  temperature: 'round(21 + 3 * sin(minute / 229) + noise * 0.2, 2)',
  humidity: 'round(45 + 8 * sin(minute / 229) + noise, 1)',
  power: 'round(if(minute % 90 < 30, 1800, 120) + noise * 20)',
  energy: 'minute * 3 + intDiv(minute, 90)',
};
const T0 = Date.UTC(2026, 10, 19) * 1_000;
const MINUTE_US = 60_000_000;
const shards: LogShards = { shardOf: async (_, partition, all) => all[partition % all.length] as number };

test('a minute in which a series was read once takes few bytes', { timeout: 120_000 }, async () => {
  const place = await openPlace('embedded');
  try {
    const opened = await place.open();
    for (const [name, value] of Object.entries(SIGNALS))
      await place.rows(
        `INSERT INTO readings (org, channel, publisher, name, time, received, kind, value) SELECT 'acme', 'room', concat('thing-', toString(thing)),
           '${name}', fromUnixTimestamp64Micro(toInt64(${T0} + minute * ${MINUTE_US} + thing * 977000), 'UTC') AS at,
           fromUnixTimestamp64Micro(toUnixTimestamp64Micro(at) + 700 + cityHash64(thing, minute) % 900, 'UTC'), 'number', ${value}
         FROM (SELECT number % 20 AS thing, intDiv(number, 20) AS minute, (cityHash64(number) % 1000) / 500 - 1 AS noise FROM numbers(${DAYS * 1_440 * 20}))`,
      );
    await place.rows('OPTIMIZE TABLE rollups FINAL');
    const [found] = await place.rows<{ minutes: number; bytes: number }>(
      `SELECT (SELECT toUInt32(count()) FROM rollups WHERE width = 60) AS minutes, toUInt32(sum(bytes_on_disk)) AS bytes
       FROM system.parts WHERE active AND database = currentDatabase() AND table = 'rollups'`,
    );
    expect(found?.minutes).toBe(DAYS * 1_440 * 20 * Object.keys(SIGNALS).length);
    expect(Number(found?.bytes) / Number(found?.minutes)).toBeLessThan(BYTES_A_MINUTE_MAX);
    expect(Number(found?.bytes)).toBeGreaterThan(0);
    await opened.stop();
  } finally {
    await place.close();
  }
});

/** Until the background has rewritten what was there. */
async function rewritten(engine: Engine): Promise<void> {
  await expect
    .poll(
      async () => {
        const left = await engine.everywhere<{ left: string }>(
          'SELECT toString(count()) AS left FROM system.mutations WHERE database = currentDatabase() AND NOT is_done',
        );
        return left.flat().reduce((sum, each) => sum + Number(each.left), 0);
      },
      { timeout: 60_000 },
    )
    .toBe(0);
}

test.each<PlaceKind>(['embedded', 'cluster of two shards'])(
  'what was stored before and what is told again counts once, also after another start, and last values stay (%s)',
  { timeout: 180_000 },
  async (kind) => {
    const place = await openPlace(kind);
    try {
      let engine = await openEngine(place.config, place.directory, shards);
      await engine.createDatabase();
      await migrate(engine, MIGRATIONS.slice(0, 2));
      let count = 0;
      const insert = async (first: number): Promise<void> => {
        const messages = [0, 1, 2].map((index) => ({
          receivedUs: T0 + first * MINUTE_US,
          readings: [{ name: 't', timeUs: T0 + (first + index) * MINUTE_US, value: first + index + 0.5 }],
        }));
        for (const partition of [0, 1]) {
          const shard = await engine.shardOf('t', partition);
          const { bytes } = batchOf(first, messages, partition).blocks.readings;
          await shard.insertBlock('readings', bytes, `t-${partition}-${first}`);
        }
      };
      const insertNext = async (): Promise<void> => {
        await insert(count);
        count += 3;
      };
      const told = async () => ({
        readings: await engine.rows('SELECT toInt32(count()) AS n, sum(value) AS total FROM readings'),
        ...Object.fromEntries(
          await Promise.all(
            [0, 60, 3_600].map(async (width) => [
              `of ${width} s`,
              await engine.rows(
                `SELECT toInt32(sum(count)) AS n, sum(sum) AS total FROM rollups WHERE width = ${width}`,
              ),
            ]),
          ),
        ),
        latest: await engine.rows('SELECT value FROM latest'),
      });
      const expected = () => {
        const all = [{ n: count * 2, total: count * count }];
        return {
          readings: all,
          'of 0 s': all,
          'of 60 s': all,
          'of 3600 s': all,
          latest: [{ value: count - 0.5 }],
        };
      };
      for (let each = 0; each < 5; each++) await insertNext();
      expect(await told()).toEqual(expected());

      await migrate(engine);
      await insertNext();
      for (const first of [0, count - 3]) await insert(first);
      if (kind === 'embedded') {
        await engine.close();
        engine = await openEngine(place.config, place.directory, shards);
        await engine.createDatabase();
        for (const first of [0, count - 3]) await insert(first);
      }
      await rewritten(engine);
      expect(await told()).toEqual(expected());
      const heavy = await engine.rows(
        `SELECT DISTINCT width FROM rollups WHERE toUnixTimestamp64Milli(last_time) != 0 OR finalizeAggregation(last) != 0
           OR finalizeAggregation(first) != 0 OR toUnixTimestamp(last_received) % 3600 != 0`,
      );
      expect(heavy).toEqual([{ width: 0 }]);
      // Never before it came, or retention would take it too early.
      expect(
        await engine.rows(
          `SELECT toUInt8(min(last_received) >= fromUnixTimestamp64Micro(toInt64(${T0}), 'UTC')) AS kept,
             toUInt8(max(last_received) >= (SELECT max(received) FROM readings)) AS whole FROM rollups WHERE width > 0`,
        ),
      ).toEqual([{ kept: 1, whole: 1 }]);
      await engine.close();
    } finally {
      await place.close();
    }
  },
);
