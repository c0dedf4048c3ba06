import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { SetupError } from './config.ts';

/** The directory that everything embedded lives in, held by one process at a time. */
export interface DataDirectory {
  readonly path: string;
  /** 32 bytes. */
  readonly secret: Uint8Array;
  file(...names: string[]): string;
  release(): Promise<void>;
}

/** As root, PostgreSQL's process is another user, who must be able to walk through to its own files. */
const ROOT = process.getuid?.() === 0;
const PRIVATE = ['run', 'log', 'clickhouse'];

/** Takes the data directory: makes it (0700, or 0711 as root) and its secret when they are missing, and holds it until released.
 *  @throws SetupError when another process holds it, or it can't be written */
export async function takeDataDirectory(path: string, configuredSecret?: string): Promise<DataDirectory> {
  let real: string;
  try {
    mkdirSync(path, { recursive: true, mode: ROOT ? 0o711 : 0o700 });
    real = realpathSync(path);
    for (const part of PRIVATE) mkdirSync(join(real, part), { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new SetupError(
      'SETUP_INVALID',
      'never',
      { problem: `data directory ${path}: ${(cause as Error).message}` },
      { cause },
    );
  }
  const pidFile = join(real, 'run', 'millrace.pid');
  const lock = await hold(real, pidFile);
  writeFileSync(pidFile, `${process.pid}\n`);
  rmSync(join(real, 'run', 'ready.json'), { force: true });
  return {
    path: real,
    secret: configuredSecret === undefined ? ownSecret(join(real, 'secret')) : Buffer.from(configuredSecret, 'hex'),
    file: (...names) => join(real, ...names),
    async release() {
      rmSync(join(real, 'run', 'ready.json'), { force: true });
      rmSync(pidFile, { force: true });
      await new Promise<void>((resolve) => (lock === null ? resolve() : lock.close(() => resolve())));
    },
  };
}

/** Holds the directory. On Linux by a socket in the abstract namespace: the kernel frees it with the process, however
 *  that ends, and two starts at once can't both have it. Elsewhere by the process that the pid file names. */
async function hold(real: string, pidFile: string): Promise<Server | null> {
  const refuse = (): SetupError => {
    const pid = readPid(pidFile);
    return new SetupError('SETUP_INVALID', 'never', {
      problem: `${real} is in use by ${pid === null ? 'another process' : `process ${pid}`}. Stop it first, or set MILLRACE_DATA_DIR to another directory`,
    });
  };
  if (process.platform !== 'linux') {
    const pid = readPid(pidFile);
    if (pid !== null && pid !== process.pid && isAlive(pid)) throw refuse();
    return null;
  }
  const server = createServer((socket) => socket.destroy());
  const name = `\0millrace-${createHash('sha256').update(real).digest('hex').slice(0, 40)}`;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(error.code === 'EADDRINUSE' ? refuse() : error));
    server.listen(name, resolve);
  });
  server.unref();
  return server;
}

function readPid(file: string): number | null {
  try {
    return Number.parseInt(readFileSync(file, 'utf8'), 10) || null;
  } catch {
    return null;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function ownSecret(file: string): Uint8Array {
  if (!existsSync(file)) writeWhole(file, `${randomBytes(32).toString('hex')}\n`);
  const text = readFileSync(file, 'utf8').trim();
  if (!/^[0-9a-f]{64}$/.test(text)) {
    throw new SetupError('SETUP_INVALID', 'never', {
      problem: `${file} is damaged: it must hold 64 hex digits. Restore it from the backup; without it, keys and sessions can't be read`,
    });
  }
  return Buffer.from(text, 'hex');
}

/** Writes a 0600 file that is there as a whole or not at all, also after a crash. */
export function writeWhole(file: string, text: string): void {
  const draft = `${file}.new`;
  writeFileSync(draft, text, { mode: 0o600 });
  chmodSync(draft, 0o600);
  renameSync(draft, file);
}

export const adminPasswordFile = (directory: DataDirectory): string => directory.file('admin-password');

/** The first administrator's password: from configuration, or generated once into a 0600 file, before it is used:
 *  a crash in between loses neither. */
export function adminPassword(directory: DataDirectory, configured?: string): string {
  if (configured !== undefined) return configured;
  const file = adminPasswordFile(directory);
  if (!existsSync(file)) writeWhole(file, `${randomBytes(18).toString('base64url')}\n`);
  return readFileSync(file, 'utf8').trim();
}
