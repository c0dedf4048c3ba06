import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Millrace } from '../millrace.ts';

const MAIN = new URL('../../../app/bin/millrace.cjs', import.meta.url).pathname;

/** Begins a restore and kills it as soon as it says that it writes: an engine takes longer to make its tables. */
export async function killedRestore(place: Millrace, backup: string): Promise<void> {
  const child = spawn(process.execPath, [MAIN, 'restore', backup], {
    env: { ...process.env, MILLRACE_DATA_DIR: place.directory, ...place.environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let told = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    told += text;
    if (told.includes('Restoring.')) child.kill('SIGKILL');
  });
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
  if (signal !== 'SIGKILL') throw new Error(`the restore was not killed in time:\n${told}`);
}
