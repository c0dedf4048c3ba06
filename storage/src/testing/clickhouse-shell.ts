import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { siblingUrl } from '@millrace/core';
import type { PlayedCluster } from './played-cluster.ts';

/** A ClickHouse that speaks HTTP, in a process of its own. */
export interface ClickHouseShell {
  readonly url: string;
  readonly port: number;
  /** One for each shard that it plays. */
  readonly ports: readonly number[];
  readonly pid: number;
  /** Ends it; `SIGKILL` as a crash would. Starting again on the directory gives the rows back. */
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

/** ClickHouse's own engine (chdb) behind a small shell that speaks ClickHouse's HTTP protocol: what the server mode is
 *  tested against where no server can be installed. It is the real parser, the real MergeTree and the real errors;
 *  it is not the real HTTP server: no users, no sessions, no replication, settings only in the statement itself.
 *  The process ends with the one that started it.
 *  @param played a cluster whose shards it plays, each on a port of its own */
export async function startClickHouseShell(
  directory: string,
  port: number | readonly number[] = 0,
  played: PlayedCluster | null = null,
): Promise<ClickHouseShell> {
  const program = fileURLToPath(siblingUrl(import.meta.url, './clickhouse-shell-process'));
  const argv = [program, directory, String(port), JSON.stringify(played)];
  const child = spawn(process.execPath, [...process.execArgv, ...argv], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const ports = await firstLine(child);
  return {
    url: `http://127.0.0.1:${ports[0]}`,
    port: ports[0] ?? 0,
    ports,
    pid: child.pid ?? 0,
    stop: async (signal = 'SIGTERM') => {
      child.kill(signal);
      await ended;
    },
  };
}

function firstLine(child: ChildProcess): Promise<number[]> {
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the shell ended with ${code}`)));
    child.stdout?.once('data', (text: Buffer) => resolve(text.toString().trim().split(' ').map(Number)));
  });
}
