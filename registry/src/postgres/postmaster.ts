import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '@millrace/core';
import type { Place } from './place.ts';
import { processCommand, processIdentity, signalProcess, sleep } from './process.ts';

/** A fast shutdown that takes longer is made an immediate one. */
export const FAST_STOP_MS_MAX = 5_000;

/** @shape line 1: process id, 2: data directory, 8: status, padded */
export function readPostmasterFile(cluster: string): { pid: number; status: string } {
  try {
    const lines = readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n');
    return { pid: Math.abs(Number(lines[0])), status: lines[7]?.trim() ?? '' };
  } catch {
    return { pid: 0, status: '' };
  }
}

/** Ends a server whose parent was killed. Removes a stale `postmaster.pid` whose process id is now some other
 *  program's, since PostgreSQL would refuse to start over it.
 *  @holds we own the directory */
export async function stopLeftBehind(place: Place, logger: Logger): Promise<void> {
  const { pid } = readPostmasterFile(place.cluster);
  if (pid === 0) return;
  const identity = processIdentity(pid);
  if (identity === null) return;
  const command = processCommand(pid) ?? '';
  if (!command.includes('postgres') || !command.includes(place.cluster)) {
    rmSync(join(place.cluster, 'postmaster.pid'), { force: true });
    return;
  }
  logger.info({ pid }, 'stops the postgres that a killed process left behind');
  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    signalProcess(pid, signal);
    const end = performance.now() + FAST_STOP_MS_MAX;
    while (performance.now() < end) {
      if (processIdentity(pid) !== identity) return;
      await sleep(10);
    }
  }
}
