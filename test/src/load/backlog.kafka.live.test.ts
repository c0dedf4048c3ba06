import { kafkaAvailable } from '@millrace/log/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ADMIN, logIn } from '../control/two-nodes.ts';
import { LONG } from '../crash.ts';
import { eventually, type Millrace, newPublisher, type Publisher } from '../millrace.ts';
import { median, quantile, residentMiB, Watch } from './measures.ts';
import { Probe } from './probe.ts';
import { LoadWorld } from './world.ts';

const missing = kafkaAvailable();
const BACKLOG = LONG ? 5_000_000 : 150_000;
const PUBLISHERS = 8;
const BATCH = 10_000;
const RSS_EVERY_MS = 100;
/** A node that has just begun still compiles and fills its buffers: the short form is over before it is through with
 *  that, and holds it to the bound only. */
const RSS_RATIO_MAX = LONG ? 1.1 : Number.POSITIVE_INFINITY;
/** Kafka gives packed batches: what is read ahead of four partitions weighs ten times as much unpacked. */
const RSS_MIB_MAX = 1_500;
/** On a machine that all engines, nodes and tests share. */
const ACK_P99_MS_MAX = LONG ? 1_000 : 2_500;
const STORED_MS_MAX = LONG ? 2_700_000 : 240_000;
const AFTER_MS_MAX = 60_000;

describe.skipIf(missing !== null)(
  `a backlog of ${BACKLOG} messages in Kafka${missing === null ? '' : ` (${missing})`}`,
  () => {
    const world = new LoadWorld('kafka');
    let ingress: Millrace;
    /** Messages that were sent again although they may be in the log. */
    let repeated = 0;

    beforeAll(async () => {
      await world.start();
      ingress = await world.node({ MILLRACE_ROLES: 'ingest,registry', MILLRACE_COAP_PORT: 'off' });
    }, 300_000);
    afterAll(() => world.dispose(), 120_000);

    test('is stored once each while others publish, who wait no longer, in as much memory at the end as at the beginning', {
      timeout: STORED_MS_MAX + 600_000,
    }, async () => {
      const admin = await logIn(ingress, ADMIN);
      const publishers: Publisher[] = [];
      for (let index = 0; index < PUBLISHERS; index++) publishers.push(await newPublisher(admin, `backlog-${index}`));
      const live = await newPublisher(admin, 'live');

      const filling = performance.now();
      await Promise.all(publishers.map((publisher, index) => fill(publisher, index)));
      const filledMs = performance.now() - filling;
      const alone = new Probe(live);
      await eventually('what publishing takes meanwhile', 60_000, async () => alone.probed.length >= 50);
      await alone.stop();

      const processors = await world.node({ MILLRACE_ROLES: 'processors', MILLRACE_MQTT_PORT: 'off' });
      const draining = performance.now();
      const memory = new Watch(() => residentMiB(processors.pid), RSS_EVERY_MS);
      const probe = new Probe(live);
      await eventually('the backlog is stored', STORED_MS_MAX, async () => (await backlogStored()) >= BACKLOG);
      const drainedMs = performance.now() - draining;
      const resident = memory.stop();
      const beside = await probe.stop();
      const sent = alone.taken + probe.taken;
      await eventually('what came meanwhile is stored', AFTER_MS_MAX, async () => (await stored(live.channel)) >= sent);

      const third = Math.floor(resident.length / 3);
      const [first, last] = [median(resident.slice(0, third)), median(resident.slice(-third))];
      const acks = beside.map(({ ms }) => ms);
      const p99 = quantile(acks, 0.99);
      console.log(
        [
          `${BACKLOG} messages appended in ${(filledMs / 1_000).toFixed(1)} s, drained in ${(drainedMs / 1_000).toFixed(1)} s (${Math.round((BACKLOG / drainedMs) * 1_000)}/s)`,
          `${acks.length} acknowledged beside it, p50 ${quantile(acks, 0.5).toFixed(1)} ms, p99 ${p99.toFixed(1)} ms (before: p99 ${quantile(
            alone.probed.map(({ ms }) => ms),
            0.99,
          ).toFixed(1)} ms)`,
          `memory of the processors ${first.toFixed(0)} MiB in the first third, ${last.toFixed(0)} in the last (${(last / first).toFixed(2)}×), ${Math.max(...resident).toFixed(0)} at most`,
        ].join('\n'),
      );

      expect(beside.filter(({ status }) => status !== 202)).toEqual([]);
      expect(p99, 'ms to an acknowledgement, p99').toBeLessThan(ACK_P99_MS_MAX);
      expect(last / first, 'memory, last third to the first').toBeLessThan(RSS_RATIO_MAX);
      expect(Math.max(...resident), 'MiB').toBeLessThan(RSS_MIB_MAX);
      await expectOnce(sent);
    });

    /** @returns once all its share is acknowledged */
    async function fill({ rest, channel, key }: Publisher, index: number): Promise<void> {
      for (let number = index * BATCH; number < BACKLOG; number += PUBLISHERS * BATCH) {
        const count = Math.min(BATCH, BACKLOG - number);
        const body = Array.from({ length: count }, (_, each) => `[{"n":"t","v":${number + each}}]`).join('\n');
        await eventually('a batch is taken', 120_000, async () => {
          const response = await fetch(`${rest.url}/channels/${channel}/messages/batch`, {
            method: 'POST',
            headers: {
              authorization: `Thing ${key}`,
              'content-type': 'application/x-ndjson',
              // Each message has a key then, and who takes a partition over reads back what came before.
              'idempotency-key': `batch-${number}`,
            },
            body,
          });
          // A refusal is one of all of them, unless Kafka did not answer.
          if ((await response.text()).includes('may not be stored')) repeated += count;
          if (response.status !== 202 && response.status !== 503) throw new Error(`status ${response.status}`);
          return response.status === 202;
        });
      }
    }

    async function backlogStored(): Promise<number> {
      const [[count] = [0]] = await world.clickhouse.rows<[number]>(
        "SELECT toFloat64(count()) FROM readings WHERE name = 't'",
      );
      return count;
    }

    async function stored(channel: string): Promise<number> {
      const [[count] = [0]] = await world.clickhouse.rows<[number]>(
        'SELECT toFloat64(count()) FROM readings WHERE channel = {channel:String}',
        { channel },
      );
      return count;
    }

    async function expectOnce(sent: number): Promise<void> {
      const [[rows, positions, values, sum] = []] = await world.clickhouse.rows<[number, number, number, number]>(
        "SELECT toFloat64(count()), toFloat64(uniqExact(log_partition, log_offset)), toFloat64(uniqExact(value)), sum(value) FROM readings WHERE name = 't'",
      );
      expect(values, 'messages of the backlog that are stored').toBe(BACKLOG);
      expect(positions, 'their places in the log').toBe(rows);
      if (repeated === 0) expect({ rows, sum }).toEqual({ rows: BACKLOG, sum: (BACKLOG * (BACKLOG - 1)) / 2 });
      else expect(rows, 'and those sent again').toBeLessThanOrEqual(BACKLOG + repeated);
      const beside = await world.clickhouse.rows<[number, number]>(
        "SELECT toFloat64(count()), toFloat64(uniqExact(log_partition, log_offset)) FROM readings WHERE name = 'live'",
      );
      expect(beside).toEqual([[sent, sent]]);
      const fates = await world.clickhouse.rows<[number, number]>(
        'SELECT toFloat64(count()), toFloat64(uniqExact(log_partition, log_offset)) FROM message_log',
      );
      const [[told, places] = []] = fates;
      expect(told, 'a fate for each position of the log').toBe(places);
      // Who came twice has a fate of its own, and no readings.
      if (repeated === 0) expect(told).toBe((rows ?? 0) + sent);
    }
  },
);
