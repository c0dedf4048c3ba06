import { defineConfig } from 'vitest/config';
import LongestFirst from './test/sequencer.ts';

// Workers do not pass the TypeScript transform on to threads and processes that tests start: tsx does.
export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'], externalConditions: ['source'] } },
  test: {
    include: ['*/src/**/*.test.ts', 'sdk/*/src/**/*.test.ts'],
    pool: 'forks',
    execArgv: ['--import', 'tsx', '--conditions=source'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    reporters: ['default', './test/reporter.ts'],
  },
});
