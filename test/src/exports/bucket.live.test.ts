import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, freePort } from '../millrace.ts';
import { type ExportWorld, startExportWorld } from './world.ts';

/** Moto: an independent server of S3. */
const MOTO = fileURLToPath(new URL('../../../.ci/moto/bin/moto_server', import.meta.url));
const isMissing = (): boolean => {
  if (process.env.MILLRACE_TEST_NO_SKIP === '1') return false;
  try {
    execFileSync(MOTO, ['--help'], { stdio: 'ignore' });
    return false;
  } catch {
    return true;
  }
};
const SLOW = { timeout: 120_000 };

describe.skipIf(isMissing())('exports into a bucket', () => {
  let server: ChildProcess;
  let endpoint: string;
  let world: ExportWorld;

  beforeAll(async () => {
    const port = await freePort();
    endpoint = `http://127.0.0.1:${port}`;
    server = spawn(MOTO, ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
    await eventually('the server of S3 answers', 60_000, async () => (await fetch(endpoint)).ok);
    expect((await fetch(`${endpoint}/data`, { method: 'PUT' })).ok).toBe(true);
    world = await startExportWorld({
      MILLRACE_EXPORTS_FILE_ROWS: 100_000,
      MILLRACE_EXPORTS_FREE_BYTES_MIN: 0,
      MILLRACE_EXPORTS_S3_ENDPOINT: endpoint,
      MILLRACE_EXPORTS_S3_BUCKET: 'data',
      MILLRACE_EXPORTS_S3_PREFIX: 'from-millrace/',
      MILLRACE_EXPORTS_S3_ACCESS_KEY: 'somebody',
      MILLRACE_EXPORTS_S3_SECRET_KEY: 'something-secret',
    });
    await world.fill(160_000);
  }, 180_000);
  afterAll(async () => {
    await world?.stop();
    server?.kill('SIGKILL');
  }, 60_000);

  test('come below the prefix of the organisation, whole, and stay on no disk of the node', SLOW, async () => {
    const accepted = await world.owner.call('POST', '/exports', {
      query: { channels: [world.channel] },
      format: 'csv',
      destination: { s3: { prefix: 'weekly' } },
    });
    expect(accepted.status).toBe(202);
    const made = (await world.over(world.owner, accepted.body.id)) as unknown as {
      status: string;
      reason: string | null;
      files: { name: string; url: string; bytes: number; sha256: string; here: boolean }[];
    };
    expect(made).toMatchObject({ status: 'done', reason: null });
    expect(made.files.length).toBe(2);
    for (const file of made.files) {
      expect(file.here).toBe(false);
      expect(file.url).toBe(`s3://data/from-millrace/${world.org}/weekly/${accepted.body.id}/${file.name}`);
      // What is signed is not checked; who says nothing is refused.
      const object = await fetch(`${endpoint}/${file.url.slice('s3://'.length)}`, {
        headers: { authorization: 'AWS somebody:signature' },
      });
      const bytes = Buffer.from(await object.arrayBuffer());
      expect([bytes.length, createHash('sha256').update(bytes).digest('hex')]).toEqual([file.bytes, file.sha256]);
      expect(object.headers.get('x-amz-meta-sha256')).toBe(file.sha256);
      const taken = await world.owner.call('GET', `/exports/${accepted.body.id}/files/${file.name}`);
      expect([taken.status, taken.body.detail]).toEqual([409, `It lies in the bucket: ${file.url}.`]);
    }
    // Larger than one part of an upload.
    expect(made.files[0]?.bytes).toBeGreaterThan(8 * 1024 * 1024);
    expect(await readdir(join(world.plane.directory, 'exports', accepted.body.id))).toEqual([]);
  });

  test('say what the bucket says while it refuses, and come to their end when it takes them again', SLOW, async () => {
    expect((await fetch(`${endpoint}/moto-api/reset`, { method: 'POST' })).ok).toBe(true);
    const accepted = await world.owner.call('POST', '/exports', {
      query: { channels: [world.channel], limit: 10 },
      format: 'ndjson',
      destination: { s3: {} },
    });
    await eventually('it was tried', 30_000, async () => {
      const { body } = await world.owner.call('GET', `/exports/${accepted.body.id}`);
      return body.status === 'running';
    });
    expect((await fetch(`${endpoint}/data`, { method: 'PUT' })).ok).toBe(true);
    expect(await world.over(world.owner, accepted.body.id)).toMatchObject({ status: 'done', rows: 10 });
  });
});
