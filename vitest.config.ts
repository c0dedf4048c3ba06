import { defineConfig } from 'vitest/config';
import LongestFirst from './test/sequencer.ts';

// As the program itself has it: questions of the embedded engine, inserts and files wait for each other otherwise.
process.env.UV_THREADPOOL_SIZE ??= '16';
// Brokers live for seconds here: code that is compiled well costs them more than it brings.
process.env.JAVA_TOOL_OPTIONS ??= '-XX:TieredStopAtLevel=1 -XX:+UseSerialGC';

const ALL = ['*/src/**/*.test.ts', 'sdk/*/src/**/*.test.ts'];
/** Each in a process of its own: what is measured, runs beside other people's programs, or has modules replaced. The others
 *  share one after the other, which spares each the second that it takes to load the rooms. */
const ALONE = ['bench/src/**/*.test.ts', '**/*.live.test.ts', 'log/src/embedded/{failing-disk,reading-back}.test.ts'];

// Workers do not pass the TypeScript transform on to threads and processes that tests start: tsx does.
export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'], externalConditions: ['source'] } },
  test: {
    pool: 'forks',
    execArgv: ['--import', 'tsx', '--conditions=source'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    reporters: ['default', './test/reporter.ts'],
    projects: [
      {
        extends: true,
        test: { name: 'shared', isolate: false, include: ALL, exclude: ['**/node_modules/**', ...ALONE] },
      },
      { extends: true, test: { name: 'alone', include: ALONE } },
    ],
  },
});
