import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
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
  let way: Way;

  beforeAll(async () => {
    const port = await freePort();
    endpoint = `http://127.0.0.1:${port}`;
    server = spawn(MOTO, ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
    await eventually('the server of S3 answers', 60_000, async () => (await fetch(endpoint)).ok);
    expect((await fetch(`${endpoint}/data`, { method: 'PUT' })).ok).toBe(true);
    way = await wayTo(endpoint);
    world = await startExportWorld({
      MILLRACE_EXPORTS_FILE_ROWS: 100_000,
      MILLRACE_EXPORTS_FREE_BYTES_MIN: 0,
      MILLRACE_EXPORTS_S3_ENDPOINT: way.url,
      MILLRACE_EXPORTS_S3_BUCKET: 'data',
      MILLRACE_EXPORTS_S3_PREFIX: 'from-millrace/',
      MILLRACE_EXPORTS_S3_ACCESS_KEY: 'somebody',
      MILLRACE_EXPORTS_S3_SECRET_KEY: 'something-secret',
    });
    await world.fill(160_000);
  }, 180_000);
  afterAll(async () => {
    way?.letGo();
    await world?.stop();
    way?.close();
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

  test('that are cancelled while they are sent leave neither an object nor a part of one', SLOW, async () => {
    const listed = async (query: string): Promise<string> => {
      const answer = await fetch(`${endpoint}/data?${query}`, { headers: { authorization: 'AWS somebody:signature' } });
      return answer.text();
    };
    way.hold();
    const accepted = await world.owner.call('POST', '/exports', {
      query: { channels: [world.channel] },
      format: 'csv',
      destination: { s3: { prefix: 'cancelled' } },
    });
    await eventually('parts are on their way', 60_000, async () => way.held > 0);
    expect(await listed('uploads')).toContain(accepted.body.id);
    await world.owner.call('POST', `/exports/${accepted.body.id}/cancel`);
    // A part on its way comes to its end first, whenever that is.
    way.letGo();
    await eventually('nothing is left', 30_000, async () => {
      const left = (await listed('uploads')) + (await listed('list-type=2&prefix=from-millrace'));
      return !left.includes(accepted.body.id);
    });
    await eventually('nor on the disk', 30_000, async () => {
      return !(await readdir(join(world.plane.directory, 'exports'))).includes(accepted.body.id);
    });
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

/** A way to the server on which parts of uploads can be held up. */
interface Way {
  readonly url: string;
  /** Parts that wait. */
  readonly held: number;
  hold(): void;
  letGo(): void;
  close(): void;
}

async function wayTo(endpoint: string): Promise<Way> {
  const waiting: (() => void)[] = [];
  let holds = false;
  const relay = createServer((incoming, outgoing) => {
    const pass = (): void => {
      const { method, headers } = incoming;
      const asked = request(`${endpoint}${incoming.url}`, { method: method ?? 'GET', headers }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      });
      asked.on('error', () => outgoing.destroy());
      incoming.on('error', () => asked.destroy());
      incoming.pipe(asked);
    };
    if (holds && incoming.url?.includes('partNumber=')) waiting.push(pass);
    else pass();
  });
  await once(relay.listen(0, '127.0.0.1'), 'listening');
  return {
    url: `http://127.0.0.1:${(relay.address() as AddressInfo).port}`,
    get held() {
      return waiting.length;
    },
    hold() {
      holds = true;
    },
    letGo() {
      holds = false;
      for (const pass of waiting.splice(0)) pass();
    },
    close() {
      relay.close();
      relay.closeAllConnections();
    },
  };
}
