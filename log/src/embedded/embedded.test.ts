import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, createMetrics, type LogEngine, type Started } from '@millrace/core';
import { afterAll } from 'vitest';
import { describeLog } from '../conformance.ts';
import { type EmbeddedLogOptions, embeddedLog } from './engine.ts';

const directories: string[] = [];
afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

function options(durability: 'fsync' | 'commit'): EmbeddedLogOptions {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-log-'));
  directories.push(directory);
  return {
    directory,
    durability,
    bytesMax: 1024 * 1024 * 1024,
    pendingBytesMax: 64 * 1024 * 1024,
    recordBytesMax: 4 * 1024 * 1024,
    metrics: createMetrics(),
    logger: createLogger({ level: 'silent' }),
  };
}

for (const durability of ['fsync', 'commit'] as const) {
  describeLog(`embedded, acknowledged after ${durability}`, async () => {
    const given = options(durability);
    let started: Started<LogEngine> = await embeddedLog(given).start();
    return {
      engine: started.value,
      async reopen() {
        await started.drain(1_000);
        await started.stop();
        started = await embeddedLog({ ...given, metrics: createMetrics() }).start();
        return started.value;
      },
      async close() {
        await started.stop();
      },
    };
  });
}
