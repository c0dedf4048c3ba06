import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { siblingUrl } from '@millrace/core';

/** A ClickHouse that speaks HTTP, in a process of its own. */
export interface ClickHouseShell {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Ends it; `SIGKILL` as a crash would. Starting again on the directory gives the rows back. */
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

/** ClickHouse's own engine (chdb) behind a small shell that speaks ClickHouse's HTTP protocol: what the server mode is
 *  tested against where no server can be installed. It is the real parser, the real MergeTree and the real errors;
 *  it is not the real HTTP server: no users, no sessions, no replication, settings only in the statement itself.
 *  The process ends with the one that started it. */
export async function startClickHouseShell(directory: string, port = 0): Promise<ClickHouseShell> {
  const program = fileURLToPath(siblingUrl(import.meta.url, './clickhouse-shell-process'));
  const child = spawn(process.execPath, [...process.execArgv, program, directory, String(port)], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const bound = await firstLine(child);
  return {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    pid: child.pid ?? 0,
    stop: async (signal = 'SIGTERM') => {
      child.kill(signal);
      await ended;
    },
  };
}

function firstLine(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the shell ended with ${code}`)));
    child.stdout?.once('data', (text: Buffer) => resolve(Number(text.toString())));
  });
}
