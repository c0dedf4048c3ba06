import { setTimeout as sleep } from 'node:timers/promises';
import { kafkaAvailable } from '@millrace/log/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LONG, SEED, seeded } from '../crash.ts';
import { expectAllStored } from './accounts.ts';
import { ClusterWorld } from './world.ts';

const missing = kafkaAvailable();
const ROUNDS = LONG ? 30 : 6;
const RECOVERY_MS_MAX = 180_000;
const STORED_MS_MAX = 240_000;

/** @units s */
const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;

interface Fault {
  readonly name: string;
  begin(): Promise<void> | void;
  end(): Promise<void> | void;
}

/** kill -9 and SIGSTOP of each kind of process; which one of several, `index` says. The short form ends with the
 *  first six. */
const FAULTS: readonly ((world: ClusterWorld, index: number) => Fault)[] = [
  ({ kafka }, index) => {
    const broker = kafka.nodes[index % 3];
    return {
      name: `broker ${index % 3} killed`,
      begin: () => broker?.kill(),
      end: async () => {
        await broker?.restart();
        await kafka.inSync();
      },
    };
  },
  ({ processors }, index) => {
    const node = processors[index % 2];
    return {
      name: `processor ${index % 2} hangs`,
      begin: () => node?.signal('SIGSTOP'),
      end: () => node?.signal('SIGCONT'),
    };
  },
  ({ ingress }, index) => {
    const node = ingress[index % 2];
    return {
      name: `ingress ${index % 2} killed`,
      begin: async () => {
        expect(await node?.end('SIGKILL')).toBe('SIGKILL');
      },
      end: async () => {
        await node?.start();
      },
    };
  },
  ({ clickhouse }) => ({
    name: 'ClickHouse killed',
    begin: () => clickhouse.kill(),
    end: () => clickhouse.start(),
  }),
  ({ postgres }) => ({
    name: 'PostgreSQL hangs',
    begin: () => postgres.signal('SIGSTOP'),
    end: () => postgres.signal('SIGCONT'),
  }),
  ({ kafka }, index) => {
    const broker = kafka.nodes[index % 3];
    return {
      name: `broker ${index % 3} hangs`,
      begin: () => broker?.pause(),
      end: async () => {
        broker?.resume();
        await kafka.inSync();
      },
    };
  },
  ({ processors }, index) => {
    const node = processors[index % 2];
    return {
      name: `processor ${index % 2} killed`,
      begin: async () => {
        expect(await node?.end('SIGKILL')).toBe('SIGKILL');
      },
      end: async () => {
        await node?.start();
      },
    };
  },
  ({ ingress }, index) => {
    const node = ingress[index % 2];
    return {
      name: `ingress ${index % 2} hangs`,
      begin: () => node?.signal('SIGSTOP'),
      end: () => node?.signal('SIGCONT'),
    };
  },
  ({ clickhouse }) => ({
    name: 'ClickHouse hangs',
    begin: () => clickhouse.signal('SIGSTOP'),
    end: () => clickhouse.signal('SIGCONT'),
  }),
  ({ postgres }) => ({
    name: 'PostgreSQL killed',
    begin: () => postgres.signal('SIGKILL'),
    end: () => postgres.restart(),
  }),
];

describe.skipIf(missing !== null)(`a cluster under load${missing === null ? '' : ` (${missing})`}`, () => {
  const world = new ClusterWorld();
  beforeAll(async () => {
    await world.start();
  }, 400_000);
  afterAll(() => world.dispose(), 180_000);

  test(`loses and doubles nothing when ${ROUNDS} times a process is killed or hangs (seed ${SEED})`, {
    timeout: LONG ? 5_400_000 : 1_200_000,
  }, async () => {
    const random = seeded(SEED);
    const shift = Math.floor(random() * 6);
    world.publish();
    await world.recovery(performance.now(), RECOVERY_MS_MAX);
    for (let round = 0; round < ROUNDS; round++) {
      const make = FAULTS[round % FAULTS.length] as (typeof FAULTS)[number];
      const fault = make(world, shift + Math.floor(round / FAULTS.length) + round);
      const lastsMs = 5_000 + random() * (LONG ? 10_000 : 3_000);
      const began = performance.now();
      await fault.begin();
      const recovery = world.recovery(began, RECOVERY_MS_MAX);
      await sleep(lastsMs);
      await fault.end();
      const { accepted, stored } = await recovery;
      await world.recovery(performance.now(), RECOVERY_MS_MAX);
      console.log(
        `${round + 1}. ${fault.name} for ${seconds(lastsMs)}: accepted again after ${seconds(accepted)}, stored again after ${seconds(stored)}`,
      );
    }
    await world.quiet();
    await world.processed();
    await expectAllStored(world.clickhouse, world.publishers, `seed ${SEED}`, STORED_MS_MAX);
    console.log(world.told());
  });
});
