import { parseArgs } from 'node:util';
import { MillraceError } from '@millrace/core';
import { BenchError } from './errors.ts';
import { defaultResultFile, writeReport } from './report.ts';
import { FULL, QUICK, type RoadOptions, runRoad } from './road.ts';
import { formatReport } from './table.ts';

const HELP = `Measures the main road (HTTP in, readings stored) beside its floors, in the same run.

  node bench/dist/main.js road [options]

  --quick            one short round, about 90 s (default: 3 rounds, under 8 min)
  --rounds N         interleaved rounds
  --seconds N        length of the main closed loop
  --connections N    connections of the load generator (256)
  --channels N       channels, each with a thing of its own (32)
  --soak MINUTES     afterwards, load for so long and watch the memory
  --floors-only      leave the product out
  --json FILE        where the figures go (bench/results/<date>.json)

The table goes to standard output, progress to standard error. MILLRACE_… settings reach the product:
  MILLRACE_LOG_DURABILITY=commit node bench/dist/main.js road --quick
`;

function readOptions(args: readonly string[]): { options: RoadOptions; json: string | undefined } | null {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      connections: { type: 'string' },
      channels: { type: 'string' },
      soak: { type: 'string' },
      'floors-only': { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return null;
  if (positionals.length !== 1 || positionals[0] !== 'road') {
    throw new BenchError('USAGE', 'never', {
      problem: `there is one benchmark, "road"; got "${positionals.join(' ')}"`,
    });
  }
  const base = values.quick ? QUICK : FULL;
  const number = (name: 'rounds' | 'seconds' | 'connections' | 'channels' | 'soak', otherwise: number, max: number) => {
    const text = values[name];
    if (text === undefined) return otherwise;
    const value = Number(text);
    if (!(value > 0 && value <= max) || (name !== 'soak' && !Number.isInteger(value))) {
      throw new BenchError('USAGE', 'never', { problem: `--${name} must be a number from 1 to ${max}; got "${text}"` });
    }
    return value;
  };
  return {
    json: values.json,
    options: {
      ...base,
      rounds: number('rounds', base.rounds, 100),
      seconds: number('seconds', base.seconds, 600),
      connections: number('connections', base.connections, 10_000),
      channels: number('channels', base.channels, 10_000),
      soakMinutes: number('soak', 0, 10_080),
      product: !values['floors-only'],
    },
  };
}

async function main(): Promise<void> {
  const read = readOptions(process.argv.slice(2));
  if (read === null) {
    process.stdout.write(HELP);
    return;
  }
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => stop.abort(new BenchError('INTERRUPTED', 'now', { signal })));
  }
  const start = performance.now();
  const report = await runRoad({ ...read.options, signal: stop.signal }, (line) => {
    process.stderr.write(`[${((performance.now() - start) / 1_000).toFixed(0).padStart(4)} s] ${line}\n`);
  });
  const file = read.json ?? defaultResultFile(report.date);
  await writeReport(report, file);
  process.stdout.write(`${formatReport(report)}\n`);
  process.stderr.write(`figures written to ${file}\n`);
}

try {
  await main();
} catch (error) {
  const told = error instanceof MillraceError ? error.message : error instanceof Error ? error.stack : String(error);
  const usage = error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
  process.stderr.write(`millrace bench: ${usage ? (error as Error).message : told}\n`);
  if (usage || (error instanceof BenchError && error.code === 'USAGE')) process.stderr.write(`\n${HELP}`);
  process.exitCode = 1;
}
