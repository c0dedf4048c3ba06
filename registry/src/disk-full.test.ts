import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { sleep } from './postgres/process.ts';
import { embeddedPostgres } from './postgres/server.ts';
import { ADMIN, Client, logger, startRegistry } from './testing/fixture.ts';

/** Takes all room that is left. */
function fill(path: string): void {
  const file = openSync(path, 'w');
  const zeros = Buffer.alloc(64 * 1024);
  try {
    for (;;) writeSync(file, zeros);
  } catch {
    // Full, as wanted.
  } finally {
    closeSync(file);
  }
}

test('a full disk is a 503, and when there is room again all works without a restart', async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-full-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=120m', 'tmpfs', directory]);
  if (mounted.status !== 0) {
    rmSync(directory, { recursive: true });
    context.skip('a small file system can not be mounted here');
  }
  try {
    chmodSync(directory, 0o755);
    const postgres = await embeddedPostgres({ directory: join(directory, 'postgres'), logger }).start();
    const registry = await startRegistry(postgres.value.url);
    const admin = await Client.over(registry.value).asUser(ADMIN.email, ADMIN.password);
    fill(join(directory, 'filler'));
    const statuses = new Set<number>();
    // What PostgreSQL has allocated already must be used up first.
    const thing = () => ({ metadata: { noise: randomBytes(20_000).toString('base64') } });
    for (let index = 0; index < 60 && !statuses.has(503); index++)
      statuses.add((await admin.call('POST', '/things/bulk', Array.from({ length: 50 }, thing))).status);
    expect([...statuses].filter((status) => status !== 201)).toEqual([503]);
    rmSync(join(directory, 'filler'));
    let status = 0;
    for (let tries = 0; tries < 200 && status !== 201; tries++) {
      status = (await admin.call('POST', '/things', { name: 'after' })).status;
      if (status !== 201) await sleep(100);
    }
    expect(status).toBe(201);
    expect((await admin.call('GET', '/things?name=after')).body.total).toBe(1);
    await registry.stop();
    await postgres.stop();
  } finally {
    spawnSync('umount', ['-l', directory]);
    rmSync(directory, { recursive: true, force: true });
  }
});
