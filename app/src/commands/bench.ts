import { spawn } from 'node:child_process';
import { SetupError } from '../config.ts';
import type { Flags } from './flags.ts';

const BENCHMARKS: readonly string[] = ['road', 'bridge', 'gate', 'kafka', 'soak', 'small'];

/** Runs a benchmark in a process of its own. */
export async function bench(what: string, flags: Flags): Promise<void> {
  if (!BENCHMARKS.includes(what)) {
    const problem = `there is no benchmark "${what}"; there are: ${BENCHMARKS.join(', ')}`;
    throw new SetupError('SETUP_INVALID', 'never', { problem });
  }
  const main = new URL('../../../bench/dist/main.js', import.meta.url);
  const given = Object.entries({
    quick: flags.quick,
    coap: flags.coap,
    lora: flags.lora,
    soak: flags.soak,
    minutes: flags.minutes,
    json: flags.json,
  }).flatMap(([name, value]) =>
    value === undefined ? [] : typeof value === 'boolean' ? [`--${name}`] : [`--${name}`, value],
  );
  const child = spawn(process.execPath, [main.pathname, what, ...given], { stdio: 'inherit' });
  process.exitCode = await new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
}
