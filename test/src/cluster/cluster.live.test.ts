import { kafkaAvailable } from '@millrace/log/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LONG, SEED, seeded } from '../crash.ts';
import { expectAllStored } from './accounts.ts';
import { type Fault, suffer } from './fault.ts';
import { NETWORK_FAULTS } from './network-faults.ts';
import { PROCESS_FAULTS } from './process-faults.ts';
import { storm } from './storm.ts';
import { ClusterWorld } from './world.ts';

const missing = kafkaAvailable();
/** The short form meets each kind of process once. */
const PROCESS_ROUNDS = LONG ? PROCESS_FAULTS.length : 6;
const PROCESS_LAPS = LONG ? 3 : 1;
const NETWORK_LAPS = LONG ? 4 : 1;
const STORM_MS = LONG ? 120_000 : 30_000;
const TEST_MS_MAX = LONG ? 2_700_000 : 1_200_000;
const STORED_MS_MAX = 240_000;

describe.skipIf(missing !== null)(
  `a cluster under load (seed ${SEED})${missing === null ? '' : ` (${missing})`}`,
  () => {
    const world = new ClusterWorld();
    const random = seeded(SEED);

    beforeAll(async () => {
      await world.start();
    }, 400_000);
    afterAll(() => world.dispose(), 180_000);

    beforeEach(async () => {
      await world.publish();
    }, 120_000);

    async function expectNothingLost(): Promise<void> {
      await world.quiet();
      await world.processed();
      await expectAllStored(world.clickhouse, world.publishers, `seed ${SEED}`, STORED_MS_MAX);
      console.log(world.told());
    }

    /** @param make the faults, one after the other */
    async function lap(make: readonly ((index: number) => Fault)[], lastsMs: () => number): Promise<void> {
      const shift = Math.floor(random() * 6);
      for (const [round, one] of make.entries())
        console.log(`${round + 1}. ${await suffer(world, one(shift + round), lastsMs())}`);
      await expectNothingLost();
    }

    test.each(laps(PROCESS_LAPS))(
      `loses and doubles nothing when ${PROCESS_ROUNDS} times a process is killed or hangs (lap %i)`,
      { timeout: TEST_MS_MAX },
      async () => {
        const faults = PROCESS_FAULTS.slice(0, PROCESS_ROUNDS).map((make) => (index: number) => make(world, index));
        await lap(faults, () => 5_000 + random() * (LONG ? 10_000 : 3_000));
      },
    );

    test.each(laps(NETWORK_LAPS))(
      `nor when ${NETWORK_FAULTS.length} times the network fails (lap %i)`,
      { timeout: TEST_MS_MAX },
      async () => {
        const faults = NETWORK_FAULTS.map((make) => () => make(world, random));
        await lap(faults, () => 5_000 + random() * (LONG ? 25_000 : 2_000));
      },
    );

    test(`nor when processors come and go for ${STORM_MS / 1_000} s, and goes on storing meanwhile`, {
      timeout: TEST_MS_MAX,
    }, async () => {
      const { joined, left, killed, stalledMsMax, halves } = await storm(world, STORM_MS, random);
      console.log(
        `${joined} joined, ${left} left, ${killed} were killed; ${halves.join(' and ')} readings stored in the halves, nothing new for ${(stalledMsMax / 1_000).toFixed(1)} s at most`,
      );
      for (const half of halves) expect(half, 'readings stored in half of the storm').toBeGreaterThan(0);
      await expectNothingLost();
    });
  },
);

function laps(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}
