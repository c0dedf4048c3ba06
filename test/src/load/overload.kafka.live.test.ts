import { kafkaAvailable } from '@millrace/log/testing';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { ADMIN, logIn } from '../control/two-nodes.ts';
import { LONG } from '../crash.ts';
import type { Millrace } from '../millrace.ts';
import { overload } from './overload.ts';
import { LoadWorld } from './world.ts';

const missing = kafkaAvailable();
const LASTS_MS = LONG ? 120_000 : 15_000;

describe.skipIf(missing !== null)(
  `far more messages than Kafka can take${missing === null ? '' : ` (${missing})`}`,
  () => {
    const world = new LoadWorld('kafka');
    let node: Millrace;

    beforeAll(async () => {
      await world.start();
      node = await world.node({ MILLRACE_LOG_PENDING_BYTES_MAX: '1048576', MILLRACE_LOG_RECORD_BYTES_MAX: '262144' });
    }, 300_000);
    afterAll(() => world.dispose(), 120_000);

    test(`are refused for ${LASTS_MS / 1_000} s in the words of each protocol; those that were acknowledged are stored, and soon it is as before`, {
      timeout: LASTS_MS + 420_000,
    }, async () => {
      const [broker] = world.kafka.nodes;
      if (broker === undefined) throw new Error('there is no broker');
      await overload({
        node,
        clickhouse: world.clickhouse,
        admin: await logIn(node, ADMIN),
        engine: broker,
        runMs: 100,
        stopMs: 900,
        lastsMs: LASTS_MS,
      });
    });
  },
);
