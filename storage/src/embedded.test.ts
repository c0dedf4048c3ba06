import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, createMetrics, readConfig } from '@millrace/core';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { StorageConfig } from './config.ts';
import { describeStore } from './conformance.ts';
import { openStore } from './store.ts';
import { rowsOf } from './testing/rows.ts';

const logger = createLogger({ level: 'silent' });

describeStore({ describe, test, beforeAll, afterAll }, 'embedded', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-store-'));
  const started = await openStore(readConfig(StorageConfig, {}), {
    directory,
    metrics: createMetrics(),
    logger,
  }).start();
  return {
    store: started.value,
    rows: rowsOf(directory, 'millrace'),
    async close() {
      await started.stop();
      await rm(directory, { recursive: true });
    },
  };
});
