import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { eventually, freePort, Millrace, newPublisher, Rest } from './millrace.ts';
import { ask, publish, readiness } from './publishing.ts';
import { mountSmallDisk, unmountSmallDisk, whyNoSmallDisk } from './small-disk.ts';
import { expectStoredOnce, storedNames } from './stored.ts';

const MiB = 1_048_576;
const MESSAGE_BYTES = 50_000;

const reason = whyNoSmallDisk();

describe.skipIf(reason !== null)(`the log on a full disk${reason === null ? '' : ` (${reason})`}`, () => {
  let millrace: Millrace | undefined;
  let disk: string | undefined;
  afterAll(async () => {
    await millrace?.end('SIGKILL');
    if (disk !== undefined) unmountSmallDisk(disk);
    await millrace?.dispose();
  }, 120_000);

  test('is told to publishers, loses nothing that was acknowledged, and goes on without a restart', {
    timeout: 240_000,
  }, async () => {
    // No store: what is published stays on the log.
    const storeless = new Millrace({
      MILLRACE_HTTP_PORT: String(await freePort()),
      MILLRACE_CLICKHOUSE_URL: `http://127.0.0.1:${await freePort()}`,
      MILLRACE_DRAIN_MS_MAX: '1000',
    });
    millrace = storeless;
    disk = join(storeless.directory, 'log');
    mkdirSync(disk);
    mountSmallDisk(disk, 32 * 1_024);
    const other = join(disk, 'something-else');
    writeFileSync(other, Buffer.alloc(12 * MiB));
    await storeless.start();
    const { pid } = storeless;
    const publisher = await newPublisher(await Rest.asAdmin(storeless), 'full');
    const acknowledged: string[] = [];
    const fill = async (tag: string) => {
      for (let count = 0; count < 2_000; count++) {
        const name = `${tag}-${count}`;
        const answer = await publish(publisher, name, MESSAGE_BYTES);
        if (answer.status !== 202) return answer;
        acknowledged.push(name);
      }
      throw new Error('the disk is never full');
    };

    const refusal = await fill('first');
    expect(refusal).toMatchObject({ status: 503, contentType: 'application/problem+json' });
    expect(refusal.detail).toMatch(/full|not.*stored/i);
    expect(refusal.retryAfter).toBeGreaterThan(0);
    const ready = await readiness(publisher.rest);
    expect(ready.status).toBe(503);
    expect(ready.checks.log).toMatch(/disk is full/);
    expect((await ask(publisher.rest, 'GET', '/health/live')).status).toBe(200);

    rmSync(other);
    await eventually('a message to be taken again', 30_000, async () => {
      const { status } = await publish(publisher, 'room', MESSAGE_BYTES);
      if (status === 202) acknowledged.push('room');
      return status === 202;
    });
    expect(storeless.pid).toBe(pid);
    expect((await readiness(publisher.rest)).checks.log).toBe('pass');

    // Full again, and killed: the next start finds everything.
    expect((await fill('second')).status).toBe(503);
    await storeless.end('SIGKILL');
    const { MILLRACE_HTTP_PORT = '' } = storeless.environment;
    millrace = await new Millrace({ MILLRACE_HTTP_PORT }, storeless.directory).start();
    await expectStoredOnce(publisher.rest, publisher.channel, acknowledged);
    expect(new Set(await storedNames(publisher.rest, publisher.channel)).size).toBe(acknowledged.length);
    await eventually('a message to be taken again', 30_000, async () => {
      return (await publish(publisher, 'room again')).status === 202;
    });
  });
});
