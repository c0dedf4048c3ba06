import { spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { stopProcess, tailOf } from './child.ts';
import { workDirectory } from './directory.ts';
import { BenchError } from './errors.ts';
import { TREE_MARK, type TreeMemory, treeMemory, treeOf } from './memory.ts';
import type { Target } from './pack.ts';
import { onCore } from './pinning.ts';

/** What the load is aimed at: the product or the bare road. Both answer `GET /metrics`. */
export interface Road {
  readonly name: string;
  readonly url: string;
  readonly targets: readonly Target[];
  memory(): TreeMemory | null;
  /** The last that it wrote there. */
  stderr(): string;
  stop(): Promise<void>;
}

/** With who publishes there. */
export interface ProvisionedTarget extends Target {
  readonly thing: string;
}

export interface ProductRoad extends Road {
  /** From the start of the process to `ready.json`. @units ms */
  readonly readyMs: number;
}

const ADMIN_EMAIL = 'bench@millrace.local';
const READY_MS_MAX = 90_000;

/** Built code, beside this package in the workspace. */
export const PRODUCT_MAIN = fileURLToPath(new URL('../../app/bin/millrace.cjs', import.meta.url));

/** A running node of the built product. */
export interface ProductNode {
  readonly url: string;
  /** What ready.json says: the address of every listener. */
  readonly addresses: Readonly<Record<string, unknown>>;
  /** From the start of the process to `ready.json`. @units ms */
  readonly readyMs: number;
  /** Logs the administrator in. */
  plane(): Promise<ControlPlane>;
  memory(): TreeMemory | null;
  /** Of the node and all that it started. */
  pids(): number[];
  stderr(): string;
  stop(): Promise<void>;
}

/** REST as the administrator.
 *  @throws BenchError SETUP_FAILED for every answer that is no success */
export type ControlPlane = <T>(method: string, path: string, body?: unknown) => Promise<T>;

export interface NodeOptions {
  readonly roles?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** The whole tree on one core; null: wherever the system puts it. */
  readonly core?: number | null;
  /** A data directory that stays, with the password of its administrator; a fresh one, removed at the end, if absent. */
  readonly data?: { readonly directory: string; readonly password: string };
}

/** Starts the built product on free ports.
 *  Settings of the environment (MILLRACE_…) reach it, except those that the benchmark sets itself. */
export async function startNode({
  roles,
  environment = {},
  core = null,
  data,
}: NodeOptions = {}): Promise<ProductNode> {
  if (!existsSync(PRODUCT_MAIN)) {
    throw new BenchError('SETUP_FAILED', 'never', { problem: 'the product is not built: run tsc -b first' });
  }
  const work = data === undefined ? await workDirectory() : { path: data.directory, remove: async () => {} };
  const directory = work.path;
  const mark = randomUUID();
  const password = data?.password ?? randomBytes(18).toString('base64url');
  const start = performance.now();
  const [command, given] = onCore(core, process.execPath, [
    PRODUCT_MAIN,
    'start',
    ...(roles === undefined ? [] : ['--roles', roles]),
  ]);
  const child = spawn(command, given, {
    cwd: directory,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      MILLRACE_LOG_LEVEL: 'warn',
      MILLRACE_MQTT_PORT: '0',
      MILLRACE_COAP_PORT: '0',
      ...process.env,
      ...environment,
      NODE_ENV: 'production',
      MILLRACE_DATA_DIR: directory,
      MILLRACE_HOST: '127.0.0.1',
      MILLRACE_HTTP_PORT: '0',
      MILLRACE_ADMIN_EMAIL: ADMIN_EMAIL,
      MILLRACE_ADMIN_PASSWORD: password,
      [TREE_MARK]: mark,
    },
  });
  const stderr = tailOf(child);
  const stop = async (): Promise<void> => {
    await stopProcess(child, 20_000);
    await work.remove();
  };
  try {
    const readyFile = join(directory, 'run', 'ready.json');
    while (!existsSync(readyFile)) {
      if (child.exitCode !== null || child.signalCode !== null || performance.now() - start > READY_MS_MAX) {
        const problem = child.exitCode === null ? 'not ready in time' : `ended with ${child.exitCode}`;
        throw new BenchError('CHILD_FAILED', 'never', { child: 'millrace start', problem, stderr: stderr() });
      }
      await sleep(20);
    }
    const readyMs = performance.now() - start;
    const addresses = JSON.parse(readFileSync(readyFile, 'utf8')) as Record<string, unknown>;
    const url = String(addresses.http);
    return {
      url,
      addresses,
      readyMs,
      plane: () => logIn(url, password),
      memory: () => treeMemory(child.pid ?? 0, mark),
      pids: () => [...treeOf(child.pid ?? 0, mark)],
      stderr,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The product, with so many things and channels made through REST. */
export async function startProduct(targetCount: number): Promise<ProductRoad> {
  const node = await startNode();
  try {
    const targets = await provision(await node.plane(), targetCount);
    return { ...node, name: 'Millrace', targets };
  } catch (error) {
    await node.stop();
    throw error;
  }
}

async function logIn(url: string, password: string): Promise<ControlPlane> {
  let token = '';
  const call = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    const response = await fetch(url + path, {
      method,
      headers: { 'content-type': 'application/json', ...(token === '' ? {} : { authorization: `Bearer ${token}` }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) {
      throw new BenchError('SETUP_FAILED', 'never', { problem: `${method} ${path}`, status: response.status, text });
    }
    return (text === '' ? {} : JSON.parse(text)) as T;
  };
  ({ token } = await call<{ token: string }>('POST', '/tokens', { email: ADMIN_EMAIL, password }));
  return call;
}

/** One thing and one channel each, connected. */
export async function provision(call: ControlPlane, count: number): Promise<ProvisionedTarget[]> {
  const targets: ProvisionedTarget[] = [];
  for (let index = 0; index < count; index++) {
    const thing = await call<{ id: string }>('POST', '/things', { name: `bench-${index}` });
    const channel = await call<{ id: string }>('POST', '/channels', { name: `bench-${index}` });
    await call('POST', '/connect', { channel_ids: [channel.id], thing_ids: [thing.id] });
    const { key } = await call<{ key: string }>('GET', `/things/${thing.id}`);
    targets.push({ channel: channel.id, key, thing: thing.id });
  }
  return targets;
}
