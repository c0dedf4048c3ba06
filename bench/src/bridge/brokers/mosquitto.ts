import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stopProcess, tailOf } from '../../child.ts';
import { workDirectory } from '../../directory.ts';
import { BenchError } from '../../errors.ts';
import { treeMemory } from '../../memory.ts';
import { onCore } from '../../pinning.ts';
import { ANY_SUBSCRIBER, anyPublishers, type Broker, type BrokerOptions } from './broker.ts';

const READY_MS_MAX = 10_000;
const TRIES = 3;
// Debian keeps servers out of the users' PATH.
const PLACES = ['mosquitto', '/usr/sbin/mosquitto', '/usr/local/sbin/mosquitto'];

let found: { readonly path: string; readonly version: string } | null | undefined;

/** The installed program; null: there is none. */
export function installedMosquitto(): { readonly path: string; readonly version: string } | null {
  if (found !== undefined) return found;
  for (const path of PLACES) {
    if (path.startsWith('/') && !existsSync(path)) continue;
    const told = spawnSync(path, ['-h'], { encoding: 'utf8' });
    const version = /mosquitto version (\S+)/.exec(`${told.stdout}${told.stderr}`)?.[1];
    if (version !== undefined) {
      found = { path, version };
      return found;
    }
  }
  found = null;
  return null;
}

/** Starts mosquitto on free loopback ports: no persistence, no authentication, no limit on its queues. */
export async function startMosquitto(options: BrokerOptions): Promise<Broker> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(options);
    } catch (error) {
      // Another program may have taken the port between the look and the start.
      if (attempt === TRIES) throw error;
    }
  }
}

async function start({ publishers, core, certificate }: BrokerOptions): Promise<Broker> {
  const program = installedMosquitto();
  if (program === null) throw new BenchError('SETUP_FAILED', 'never', { problem: 'mosquitto is not installed' });
  const work = await workDirectory();
  const [port, tlsPort] = await freePorts();
  const file = join(work.path, 'mosquitto.conf');
  const tls =
    certificate === null
      ? []
      : [
          `listener ${tlsPort} 127.0.0.1`,
          `certfile ${certificate.certificate}`,
          `keyfile ${certificate.key}`,
          'tls_version tlsv1.3',
        ];
  await writeFile(
    file,
    `${[
      `user ${userInfo().username}`,
      'persistence false',
      'allow_anonymous true',
      'set_tcp_nodelay true',
      'max_queued_messages 0',
      'max_inflight_messages 100',
      'log_dest stderr',
      'log_type error',
      `listener ${port} 127.0.0.1`,
      ...tls,
    ].join('\n')}\n`,
  );
  const [command, given] = onCore(core, program.path, ['-c', file]);
  const child = spawn(command, given, { stdio: ['ignore', 'ignore', 'pipe'] });
  const stderr = tailOf(child);
  let problem: string | null = null;
  child.once('error', (error) => {
    problem = error.message;
  });
  const stop = async (): Promise<void> => {
    await stopProcess(child, 5_000);
    await work.remove();
  };
  const end = performance.now() + READY_MS_MAX;
  while (!(await answers(port))) {
    if (problem === null && child.exitCode === null && child.signalCode === null && performance.now() < end) {
      await sleep(20);
      continue;
    }
    if (problem === null) await stop();
    else await work.remove();
    throw new BenchError('CHILD_FAILED', 'never', {
      child: 'mosquitto',
      problem: problem ?? 'not ready',
      stderr: stderr(),
    });
  }
  return {
    endpoint: { host: '127.0.0.1', port, tls: false },
    tls: certificate === null ? null : { host: '127.0.0.1', port: tlsPort, tls: true },
    publishers: anyPublishers(publishers),
    subscriber: ANY_SUBSCRIBER,
    memory: () => treeMemory(child.pid ?? 0, 'none'),
    stderr,
    stop,
  };
}

/** Two ports that nothing listened on a moment ago. */
async function freePorts(): Promise<[number, number]> {
  const servers = [createServer(), createServer()];
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject);
          server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports as [number, number];
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
