import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { siblingUrl } from '@millrace/core';
import pg from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import { logger } from '../testing/fixture.ts';
import { processIdentity, signalProcess, sleep } from './process.ts';
import { embeddedPostgres } from './server.ts';

const root = process.getuid?.() === 0;
const trash: string[] = [];
const children: ChildProcess[] = [];

function temporary(mode = 0o755): string {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-postgres-'));
  chmodSync(directory, mode);
  trash.push(directory);
  return directory;
}

async function ask(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

/** A process of its own that starts a server and tells its URL. */
async function startElsewhere(
  directory: string,
  as?: { uid: number; gid: number },
): Promise<{ child: ChildProcess; told: string }> {
  const runner = fileURLToPath(siblingUrl(import.meta.url, '../testing/postgres-process'));
  const child = spawn(process.execPath, [...process.execArgv, runner, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
    ...as,
  });
  children.push(child);
  let told = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    told += text;
  });
  while (!told.includes('\n') && child.exitCode === null) await sleep(20);
  return { child, told: told.trim() };
}

const postmaster = (directory: string): number =>
  Number(readFileSync(join(directory, 'cluster', 'postmaster.pid'), 'utf8').split('\n')[0]);

async function gone(pid: number): Promise<void> {
  for (let tries = 0; tries < 500 && processIdentity(pid) !== null; tries++) await sleep(20);
  expect(processIdentity(pid)).toBeNull();
}

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const directory of trash.splice(0)) rmSync(directory, { recursive: true, force: true });
});

describe('the embedded PostgreSQL', () => {
  test('keeps what was written over a stop and a start, and listens on no port where a socket will do', async () => {
    const directory = join(temporary(), 'postgres');
    const first = await embeddedPostgres({ directory, logger }).start();
    await ask(first.value.url, 'CREATE TABLE kept AS SELECT 7 AS n');
    const [settings] = await ask(
      first.value.url,
      `SELECT current_setting('fsync') AS fsync, current_setting('listen_addresses') AS addresses`,
    );
    expect(settings).toEqual({ fsync: 'on', addresses: '' });
    await first.stop();
    await first.stop();
    expect(existsSync(join(directory, 'cluster', 'postmaster.pid'))).toBe(false);
    const second = await embeddedPostgres({ directory, logger }).start();
    expect(await ask(second.value.url, 'SELECT n FROM kept')).toEqual([{ n: 7 }]);
    await second.stop();
  });

  test('asks for the password, on the socket too', async () => {
    const started = await embeddedPostgres({ directory: join(temporary(), 'postgres'), logger }).start();
    await expect(ask(started.value.url.replace(/:[^:@]+@/, ':wrong@'), 'SELECT 1')).rejects.toThrow(
      /password authentication failed/,
    );
    await started.stop();
  });

  test('takes a port of the loopback where the path is too long for a socket', async () => {
    const directory = join(temporary(), 'long'.repeat(25), 'postgres');
    mkdirSync(directory, { recursive: true });
    const started = await embeddedPostgres({ directory, logger }).start();
    expect(started.value.url).toContain('@127.0.0.1:');
    expect(await ask(started.value.url, 'SELECT 1 AS n')).toEqual([{ n: 1 }]);
    await expect(ask(started.value.url.replace(/:[^:@]+@/, ':wrong@'), 'SELECT 1')).rejects.toThrow(
      /password authentication failed/,
    );
    await started.stop();
  });

  test('two starts on one directory: the second is told who has it, and does no harm', async () => {
    const directory = join(temporary(), 'postgres');
    const first = await embeddedPostgres({ directory, logger }).start();
    await expect(embeddedPostgres({ directory, logger }).start()).rejects.toMatchObject({
      code: 'POSTGRES_IN_USE',
      facts: { pid: process.pid },
    });
    expect(await ask(first.value.url, 'SELECT 1 AS n')).toEqual([{ n: 1 }]);
    await first.stop();
  });

  test('of many that start at once on the place of a dead owner, one gets it', async () => {
    const directory = join(temporary(), 'postgres');
    await (await embeddedPostgres({ directory, logger }).start()).stop();
    writeFileSync(join(directory, 'owner.json'), JSON.stringify({ pid: 2 ** 22 + 1, started: '1', token: 'dead' }));
    const results = await Promise.allSettled(
      Array.from({ length: 4 }, () => embeddedPostgres({ directory, logger }).start()),
    );
    const started = results.filter((result) => result.status === 'fulfilled');
    expect(started).toHaveLength(1);
    for (const { value } of started) await value.stop();
  });

  test('after kill -9 of the parent, the next start stops what was left behind and has all that was committed', async () => {
    const directory = join(temporary(), 'postgres');
    const { child, told } = await startElsewhere(directory);
    await ask(told, 'CREATE TABLE kept AS SELECT 7 AS n');
    const left = postmaster(directory);
    child.kill('SIGKILL');
    await gone(child.pid ?? 0);
    expect(processIdentity(left)).not.toBeNull();
    const next = await embeddedPostgres({ directory, logger }).start();
    expect(processIdentity(left)).toBeNull();
    expect(await ask(next.value.url, 'SELECT n FROM kept')).toEqual([{ n: 7 }]);
    await next.stop();
  });

  test('ends with its parent, when that forgets to stop it', async () => {
    const directory = join(temporary(), 'postgres');
    const { child } = await startElsewhere(directory);
    const pid = postmaster(directory);
    child.kill('SIGTERM');
    await gone(pid);
  });

  test('starts over a stale postmaster.pid whose process id belongs to another program now', async () => {
    const directory = join(temporary(), 'postgres');
    await (await embeddedPostgres({ directory, logger }).start()).stop();
    writeFileSync(join(directory, 'cluster', 'postmaster.pid'), `${process.pid}\n${directory}\n0\n5432\n\n\n\nready\n`);
    const started = await embeddedPostgres({ directory, logger }).start();
    expect(await ask(started.value.url, 'SELECT 1 AS n')).toEqual([{ n: 1 }]);
    await started.stop();
  });

  test('is started again when it dies', async () => {
    const directory = join(temporary(), 'postgres');
    const started = await embeddedPostgres({ directory, logger }).start();
    await ask(started.value.url, 'CREATE TABLE kept AS SELECT 7 AS n');
    signalProcess(postmaster(directory), 'SIGKILL');
    let rows: unknown = null;
    for (let tries = 0; tries < 200 && rows === null; tries++) {
      await sleep(50);
      rows = await ask(started.value.url, 'SELECT n FROM kept').catch(() => null);
    }
    expect(rows).toEqual([{ n: 7 }]);
    expect(started.value.health()).toBeNull();
    await started.stop();
  });

  test('stays stopped when that is asked while it is being started again', async () => {
    const directory = join(temporary(), 'postgres');
    const started = await embeddedPostgres({ directory, logger }).start();
    const file = join(directory, 'cluster', 'postmaster.pid');
    const pidIn = (): number => (existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : 0);
    const first = pidIn();
    signalProcess(first, 'SIGKILL');
    for (let waited = 0; waited < 20_000 && [0, first].includes(pidIn()); waited += 2) await sleep(2);
    expect([0, first]).not.toContain(pidIn());
    await started.stop();
    // Longer than the first pauses before another try.
    await sleep(1_000);
    expect(pidIn()).toBe(0);
    // Whoever starts it next has it to himself.
    const again = await embeddedPostgres({ directory, logger }).start();
    await sleep(500);
    expect(await ask(again.value.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await again.stop();
  });

  test('a first start that was killed half-way is begun anew', async () => {
    const directory = join(temporary(), 'postgres');
    mkdirSync(join(directory, 'cluster.new'), { recursive: true });
    writeFileSync(join(directory, 'cluster.new', 'PG_VERSION'), '18\n');
    const started = await embeddedPostgres({ directory, logger }).start();
    expect(await ask(started.value.url, 'SELECT 1 AS n')).toEqual([{ n: 1 }]);
    await started.stop();
  });

  test.skipIf(!root)(
    'as root, runs as a system user, and keeps its data elsewhere when that user can not reach it',
    async () => {
      const directory = join(temporary(0o700), 'postgres');
      const started = await embeddedPostgres({ directory, logger }).start();
      const place = readFileSync(join(directory, 'location'), 'utf8');
      trash.push(place);
      expect(statSync(`/proc/${postmaster(place)}`).uid).not.toBe(0);
      await ask(started.value.url, 'CREATE TABLE kept AS SELECT 7 AS n');
      await started.stop();
      const again = await embeddedPostgres({ directory, logger }).start();
      expect(await ask(again.value.url, 'SELECT n FROM kept')).toEqual([{ n: 7 }]);
      await again.stop();
    },
  );

  test.skipIf(!root)('as an ordinary user it just works', async (context) => {
    const nobody = { uid: 65_534, gid: 65_534 };
    const canRead = spawnSync(process.execPath, [...process.execArgv, '-e', `import('@millrace/core')`], {
      cwd: dirname(fileURLToPath(import.meta.url)),
      ...nobody,
    });
    if (canRead.status !== 0) context.skip('an ordinary user can not read this checkout');
    const parent = temporary();
    chownSync(parent, nobody.uid, nobody.gid);
    const { child, told } = await startElsewhere(join(parent, 'postgres'), nobody);
    expect(await ask(told, 'SELECT 1 AS n')).toEqual([{ n: 1 }]);
    const pid = postmaster(join(parent, 'postgres'));
    expect(statSync(`/proc/${pid}`).uid).toBe(nobody.uid);
    child.kill('SIGTERM');
    await gone(pid);
  });
});
