import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { siblingUrl } from '@millrace/core';
import { type ClickHouseShell, startClickHouseShell } from './clickhouse-shell.ts';
import type { PlayedCluster } from './played-cluster.ts';

const PORT_TRIES = 20;

/** One replica: a process at an address of its own. */
export interface PlayedReplica {
  readonly host: string;
  readonly pid: number;
  /** As a crash would. */
  kill(): Promise<void>;
  restart(): Promise<void>;
}

export interface ShellCluster {
  readonly name: string;
  /** Of each replica, shard by shard. */
  readonly urls: readonly string[];
  /** By shard, from 0. */
  readonly shards: readonly (readonly PlayedReplica[])[];
  /** Asks a shard past its replicas. */
  readonly shardUrls: readonly string[];
  /** kill -9 of what all replicas keep their rows in, and a new start on the same directory. */
  crash(): Promise<void>;
  stop(): Promise<void>;
}

/** A cluster of shards and replicas: processes on 127.0.0.1, 127.0.0.2, … with the same port, as servers have it. The
 *  addresses need Linux, where all of 127/8 is this machine.  @see PlayedCluster for what is played */
export async function startShellCluster(
  directory: string,
  shardCount: number,
  replicaCount: number,
): Promise<ShellCluster> {
  const played: PlayedCluster = {
    name: 'fleet',
    database: 'millrace',
    shards: Array.from({ length: shardCount }, (_, shard) =>
      Array.from({ length: replicaCount }, (_, replica) => `127.0.0.${shard * replicaCount + replica + 1}`),
    ),
  };
  let shell: ClickHouseShell = await startClickHouseShell(directory, 0, played);
  const { ports } = shell;
  const shards = await openDoors(played.shards, ports);
  return {
    name: played.name,
    urls: shards.flat().map(({ host, port }) => `http://${host}:${port}`),
    shards,
    shardUrls: ports.map((port) => `http://127.0.0.1:${port}`),
    async crash() {
      await shell.stop('SIGKILL');
      shell = await startClickHouseShell(directory, ports, played);
    },
    async stop() {
      for (const door of shards.flat()) await door.kill();
      await shell.stop();
    },
  };
}

/** All on one port, which has to be free on each address. */
async function openDoors(hosts: PlayedCluster['shards'], ports: readonly number[]): Promise<Door[][]> {
  for (let tries = 1; ; tries++) {
    const doors: Door[][] = [];
    let port = 0;
    try {
      for (const [shard, replicas] of hosts.entries()) {
        const row: Door[] = [];
        doors.push(row);
        for (const host of replicas) {
          const door = new Door(host, port, ports[shard] ?? 0);
          await door.restart();
          port = door.port;
          row.push(door);
        }
      }
      return doors;
    } catch (error) {
      for (const door of doors.flat()) await door.kill();
      if (tries >= PORT_TRIES) throw error;
    }
  }
}

class Door implements PlayedReplica {
  readonly host: string;
  port: number;
  readonly #shardPort: number;
  #child: ChildProcess | null = null;

  constructor(host: string, port: number, shardPort: number) {
    this.host = host;
    this.port = port;
    this.#shardPort = shardPort;
  }
  get pid(): number {
    return this.#child?.pid ?? 0;
  }
  async restart(): Promise<void> {
    const program = fileURLToPath(siblingUrl(import.meta.url, './replica-process'));
    const argv = [program, this.host, String(this.port), String(this.#shardPort)];
    const child = spawn(process.execPath, [...process.execArgv, ...argv], {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    this.#child = child;
    this.port = await new Promise<number>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the replica ended with ${code}`)));
      child.stdout?.once('data', (text: Buffer) => resolve(Number(text.toString())));
    });
  }
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise((resolve) => child.once('exit', resolve).kill('SIGKILL'));
  }
}
