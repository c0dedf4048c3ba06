import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, type Started } from '@millrace/core';
import { type EmbeddedPostgres, embeddedPostgres } from '@millrace/registry';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, freePort, Millrace, newPublisher, type Publisher, Rest } from './millrace.ts';
import { ask, publish, readiness } from './publishing.ts';
import { expectStoredOnce } from './stored.ts';

describe('with a PostgreSQL of its own process', () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-postgres-'));
  // mkdtemp makes 0700, which PostgreSQL's own user could not pass.
  chmodSync(directory, 0o755);
  let postgres: Started<EmbeddedPostgres> | undefined;
  let millrace: Millrace;
  let admin: Rest;
  let publisher: Publisher;
  const acknowledged: string[] = [];

  const startPostgres = async (): Promise<string> => {
    const logger = createLogger({ level: 'silent' });
    postgres = await embeddedPostgres({ directory: join(directory, 'postgres'), logger }).start();
    return postgres.value.url;
  };
  const take = async (name: string): Promise<void> => {
    expect((await publish(publisher, name)).status).toBe(202);
    acknowledged.push(name);
  };

  beforeAll(async () => {
    const url = await startPostgres();
    millrace = new Millrace({ MILLRACE_HTTP_PORT: String(await freePort()), MILLRACE_POSTGRES_URL: url });
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    publisher = await newPublisher(admin, 'known');
  }, 120_000);
  afterAll(async () => {
    await millrace.dispose();
    await postgres?.stop();
    rmSync(directory, { recursive: true, force: true });
  }, 120_000);

  test('who is known goes on publishing while it is away; who is not is asked to come back', {
    timeout: 180_000,
  }, async () => {
    await take('before');
    await expectStoredOnce(publisher.rest, publisher.channel, acknowledged);
    const { pid } = millrace;
    await postgres?.stop();

    for (let index = 0; index < 20; index++) await take(`away-${index}`);
    const stranger = { ...publisher, rest: admin.as('Thing a-key-that-nobody-has-seen-before') };
    const refusal = await publish(stranger, 'stranger');
    expect(refusal).toMatchObject({ status: 503, contentType: 'application/problem+json' });
    expect(refusal.retryAfter).toBeGreaterThan(0);
    const write = await ask(admin, 'POST', '/things', '{"name":"later"}');
    expect(write).toMatchObject({ status: 503, contentType: 'application/problem+json' });
    expect(write.detail).toMatch(/registry/i);
    expect(write.retryAfter).toBeGreaterThan(0);
    const ready = await readiness(admin);
    expect(ready.status).toBe(503);
    expect(ready.checks.registry).toMatch(/PostgreSQL does not answer/);
    expect((await ask(admin, 'GET', '/health/live')).status).toBe(200);
    // What is acknowledged reaches the store without it, too.
    await expectStoredOnce(publisher.rest, publisher.channel, acknowledged);
    // Longer than any poll of the registry's changes.
    for (const end = Date.now() + 4_000; Date.now() < end; ) await take(`later-${acknowledged.length}`);

    await startPostgres();
    await eventually('the node to be ready', 60_000, async () => (await readiness(admin)).status === 200);
    expect(millrace.pid).toBe(pid);
    expect((await publish(stranger, 'stranger')).status).toBe(401);
    const another = await newPublisher(admin, 'new');
    expect((await publish(another, 'first')).status).toBe(202);
    expect((await ask(admin, 'POST', `/things/${publisher.thing}/disable`)).status).toBe(200);
    expect([401, 403]).toContain((await publish(publisher, 'disabled')).status);
    expect((await ask(admin, 'POST', `/things/${publisher.thing}/enable`)).status).toBe(200);
    await take('enabled');
    await expectStoredOnce(publisher.rest, publisher.channel, acknowledged);
  });

  test('a node that starts without it answers what it waits for, can be stopped, and starts when it is there', {
    timeout: 180_000,
  }, async () => {
    expect(await millrace.end('SIGTERM')).toBe(0);
    await postgres?.stop();
    const waits = async (): Promise<void> => {
      millrace.launch();
      const answer = await eventually('an answer', 60_000, () => ask(admin, 'GET', '/health/ready'));
      expect(answer).toMatchObject({ status: 503, contentType: 'application/problem+json' });
      expect(answer.detail).toMatch(/starting and waits for registry/);
      expect(answer.retryAfter).toBeGreaterThan(0);
    };
    await waits();
    expect((await ask(admin, 'GET', '/health/live')).status).toBe(200);
    const refusal = await publish(publisher, 'waiting');
    expect(refusal).toMatchObject({ status: 503, contentType: 'application/problem+json' });
    expect(refusal.retryAfter).toBeGreaterThan(0);
    expect(millrace.stderr).not.toContain(new URL(millrace.environment.MILLRACE_POSTGRES_URL ?? '').password);
    expect(await millrace.end('SIGTERM')).toBe(0);

    await waits();
    await startPostgres();
    await millrace.ready();
    await take('after');
    await expectStoredOnce(publisher.rest, publisher.channel, acknowledged);
    expect((await readiness(admin)).status).toBe(200);
  });
});
