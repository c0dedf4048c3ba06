import { kafkaAvailable } from '@millrace/log/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LONG, SEED, seeded } from '../crash.ts';
import { expectAllStored } from './accounts.ts';
import { suffer } from './fault.ts';
import { NETWORK_FAULTS } from './network-faults.ts';
import { PROCESS_FAULTS } from './process-faults.ts';
import { storm } from './storm.ts';
import { ClusterWorld } from './world.ts';

const missing = kafkaAvailable();
const PROCESS_ROUNDS = LONG ? 30 : 6;
const NETWORK_ROUNDS = LONG ? 28 : 7;
const STORM_MS = LONG ? 120_000 : 30_000;
const TEST_MS_MAX = LONG ? 5_400_000 : 1_200_000;
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

    test(`loses and doubles nothing when ${PROCESS_ROUNDS} times a process is killed or hangs`, {
      timeout: TEST_MS_MAX,
    }, async () => {
      const shift = Math.floor(random() * 6);
      for (let round = 0; round < PROCESS_ROUNDS; round++) {
        const make = PROCESS_FAULTS[round % PROCESS_FAULTS.length] as (typeof PROCESS_FAULTS)[number];
        const fault = make(world, shift + round + Math.floor(round / PROCESS_FAULTS.length));
        console.log(`${round + 1}. ${await suffer(world, fault, 5_000 + random() * (LONG ? 10_000 : 3_000))}`);
      }
      await expectNothingLost();
    });

    test(`nor when ${NETWORK_ROUNDS} times the network fails`, { timeout: TEST_MS_MAX }, async () => {
      for (let round = 0; round < NETWORK_ROUNDS; round++) {
        const make = NETWORK_FAULTS[round % NETWORK_FAULTS.length] as (typeof NETWORK_FAULTS)[number];
        console.log(
          `${round + 1}. ${await suffer(world, make(world, random), 5_000 + random() * (LONG ? 25_000 : 2_000))}`,
        );
      }
      await expectNothingLost();
    });

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
