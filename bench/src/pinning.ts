import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

let pins: boolean | undefined;

/** Whether programs can be held on a core here: Linux with taskset, and a core for each side. */
export function canPin(): boolean {
  pins ??= availableParallelism() >= 2 && spawnSync('taskset', ['-c', '0,1', 'true'], { stdio: 'ignore' }).status === 0;
  return pins;
}

/** The command line that runs a program on one core; null leaves it to the system. The process id stays the same,
 *  since taskset becomes the program. */
export function onCore(core: number | null, command: string, given: readonly string[]): [string, string[]] {
  return core === null || !canPin() ? [command, [...given]] : ['taskset', ['-c', String(core), command, ...given]];
}
