import { afterAll, beforeAll, describe, test } from 'vitest';
import { ADMIN, logIn } from '../control/two-nodes.ts';
import { LONG } from '../crash.ts';
import type { Millrace } from '../millrace.ts';
import { overload } from './overload.ts';
import { LoadWorld } from './world.ts';

const LASTS_MS = LONG ? 120_000 : 15_000;

describe('far more messages than ClickHouse can store, before an embedded log that is full', () => {
  const world = new LoadWorld('embedded');
  let node: Millrace;

  beforeAll(async () => {
    await world.start();
    node = await world.node({
      MILLRACE_LOG_BYTES_MAX: '8388608',
      MILLRACE_LOG_RECORD_BYTES_MAX: '262144',
      MILLRACE_BATCH_BYTES_MAX: '1048576',
    });
  }, 180_000);
  afterAll(() => world.dispose(), 120_000);

  test(`are refused for ${LASTS_MS / 1_000} s in the words of each protocol; those that were acknowledged are stored, and soon it is as before`, {
    timeout: LASTS_MS + 420_000,
  }, async () => {
    await overload({
      node,
      clickhouse: world.clickhouse,
      admin: await logIn(node, ADMIN),
      engine: {
        pause: () => world.clickhouse.signal('SIGSTOP'),
        resume: () => world.clickhouse.signal('SIGCONT'),
      },
      runMs: 500,
      stopMs: 1_000,
      lastsMs: LASTS_MS,
    });
  });
});
