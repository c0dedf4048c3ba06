import { expect } from 'vitest';
import { eventually } from '../millrace.ts';
import type { ClickHouseServer } from './clickhouse.ts';
import type { NumberedPublisher } from './publisher.ts';

export type Row = readonly [value: number, partition: number, offset: number];

/** Holds the table against what was acknowledged, once nothing is under way any more: each number is there, once,
 *  and they lie on the log as they were sent. Over MQTT a message that got no answer is published again by its client,
 *  so it may be there again, and only such a one.
 *  @param told what to repeat a failure with */
export async function expectAllStored(
  clickhouse: ClickHouseServer,
  publishers: readonly NumberedPublisher[],
  told: string,
  msMax: number,
): Promise<void> {
  for (const publisher of publishers) {
    await eventually(`${publisher.name} is stored up to ${publisher.acknowledged}, ${told}`, msMax, async () => {
      const have = new Set((await stored(clickhouse, publisher)).map(([value]) => value));
      for (let number = 1; number <= publisher.acknowledged; number++)
        if (!have.has(number)) throw new Error(`${number} is missing`);
      return true;
    });
  }
  for (const publisher of publishers) {
    expect(problemsOf(publisher, await stored(clickhouse, publisher)), `${publisher.name}, ${told}`).toEqual([]);
    expect(publisher.surprises, 'answers that no client should get').toEqual([]);
  }
  await expectRollups(clickhouse, told);
  await expectFates(clickhouse, told);
}

/** In order of the log. */
function stored(clickhouse: ClickHouseServer, publisher: NumberedPublisher): Promise<Row[]> {
  return clickhouse.rows<Row>(
    'SELECT value, log_partition, toFloat64(log_offset) FROM readings WHERE channel = {channel:String} ORDER BY log_partition, log_offset, `index`',
    { channel: publisher.to.channel },
  );
}

/** What is wrong with the rows of a publisher's channel.  @param rows in order of the log */
export function problemsOf(
  { acknowledged, keyed, repeated }: Pick<NumberedPublisher, 'acknowledged' | 'keyed' | 'repeated'>,
  rows: readonly Row[],
): string[] {
  const problems: string[] = [];
  const partitions = new Set(rows.map(([, partition]) => partition));
  if (partitions.size > 1) problems.push(`lies in partitions ${[...partitions].join(', ')}`);
  const seen = new Set<number>();
  for (const [number] of rows) {
    if (seen.has(number)) {
      if (keyed || !repeated.has(number)) problems.push(`${number} is stored again`);
    } else if (number === seen.size + 1) seen.add(number);
    else {
      problems.push(`${number} follows ${seen.size}`);
      break;
    }
  }
  // The one after the last acknowledged may have been under way when its publisher stopped.
  if (seen.size < acknowledged || seen.size > acknowledged + 1)
    problems.push(`ends with ${seen.size}, not ${acknowledged}`);
  return problems;
}

/** Each width of the rollups counts every reading once. */
async function expectRollups(clickhouse: ClickHouseServer, told: string): Promise<void> {
  const readings = await clickhouse.rows(
    'SELECT channel, toFloat64(count()), sum(value), min(value), max(value) FROM readings GROUP BY channel ORDER BY channel',
  );
  const widths = await clickhouse.rows<[number]>('SELECT DISTINCT width FROM rollups ORDER BY width');
  expect(widths.flat(), told).toEqual([0, 60, 3_600]);
  for (const [width] of widths) {
    const rolled = await clickhouse.rows(
      'SELECT channel, toFloat64(sum(count)), sum(sum), min(minimum), max(maximum) FROM rollups WHERE width = {width:UInt32} GROUP BY channel ORDER BY channel',
      { width: String(width) },
    );
    expect(rolled, `rollups of ${width} s, ${told}`).toEqual(readings);
  }
}

/** Every record of the log has one fate, and no reading comes from a record without one. */
async function expectFates(clickhouse: ClickHouseServer, told: string): Promise<void> {
  const [[rows, positions] = []] = await clickhouse.rows<[number, number]>(
    'SELECT toFloat64(count()), toFloat64(uniqExact(log_partition, log_offset)) FROM message_log',
  );
  expect(rows, `fates and positions of the log, ${told}`).toBe(positions);
  const [[readings, fated] = []] = await clickhouse.rows<[number, number]>(
    'SELECT (SELECT toFloat64(count()) FROM readings), (SELECT toFloat64(sum(readings)) FROM message_log)',
  );
  expect(fated, `readings by their messages' fates, ${told}`).toBe(readings);
  const dead = await clickhouse.rows('SELECT reason, detail FROM dead_letters LIMIT 3');
  expect(dead, `dead letters, ${told}`).toEqual([]);
}
