import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ClickHouseShell, startClickHouseShell } from '@millrace/storage/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, freePort, Millrace, newPublisher, type Publisher, Rest } from './millrace.ts';
import { ask, publish, readiness } from './publishing.ts';
import { Relay } from './relay.ts';
import { expectStoredOnce, storedNames } from './stored.ts';

const MESSAGE_BYTES = 20_000;
const DRAIN_MS_MAX = 2_000;

describe('with a ClickHouse of its own process', () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-clickhouse-'));
  let shell: ClickHouseShell;
  let relay: Relay;
  let millrace: Millrace;
  let environment: Record<string, string>;
  let publisher: Publisher;
  const acknowledged: string[] = [];

  beforeAll(async () => {
    shell = await startClickHouseShell(directory);
    relay = await Relay.to(shell.port);
    environment = {
      MILLRACE_HTTP_PORT: String(await freePort()),
      MILLRACE_CLICKHOUSE_URL: `http://127.0.0.1:${relay.port}`,
      MILLRACE_LOG_BYTES_MAX: String(1_048_576),
      MILLRACE_DRAIN_MS_MAX: String(DRAIN_MS_MAX),
    };
    millrace = await new Millrace(environment).start();
    publisher = await newPublisher(await Rest.asAdmin(millrace), 'patient');
  }, 120_000);
  afterAll(async () => {
    await millrace.dispose();
    await relay.close();
    await shell.stop('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  }, 120_000);

  const take = async (name: string, bytes = 0): Promise<void> => {
    expect((await publish(publisher, name, bytes)).status).toBe(202);
    acknowledged.push(name);
  };
  const expectExactlyTheAcknowledged = async (): Promise<void> => {
    await expectStoredOnce(publisher.rest, publisher.channel, acknowledged);
    expect((await storedNames(publisher.rest, publisher.channel)).toSorted()).toEqual(acknowledged.toSorted());
  };

  test('a log that is full while the store is away refuses what it cannot keep, and goes on by itself', {
    timeout: 180_000,
  }, async () => {
    const { pid } = millrace;
    await take('before');
    await expectExactlyTheAcknowledged();
    await shell.stop('SIGKILL');

    let refusal = await publish(publisher, 'full-0', MESSAGE_BYTES);
    for (let count = 1; refusal.status === 202; count++) {
      acknowledged.push(`full-${count - 1}`);
      expect(count).toBeLessThan(500);
      refusal = await publish(publisher, `full-${count}`, MESSAGE_BYTES);
    }
    expect(refusal).toMatchObject({
      status: 503,
      contentType: 'application/problem+json',
      detail: expect.stringMatching(/log is full.*try again/i),
    });
    expect(refusal.retryAfter).toBeGreaterThan(0);
    expect(acknowledged.length).toBeGreaterThan(20);
    const ready = await readiness(publisher.rest);
    expect(ready.status).toBe(503);
    expect(ready.checks.store).toMatch(/ClickHouse does not answer/);
    expect((await ask(publisher.rest, 'GET', '/health/live')).status).toBe(200);
    const read = await ask(publisher.rest, 'GET', `/channels/${publisher.channel}/messages`);
    expect(read).toMatchObject({ status: 503, contentType: 'application/problem+json' });
    expect(read.retryAfter).toBeGreaterThan(0);

    shell = await startClickHouseShell(directory, shell.port);
    await eventually('a message to be taken again', 60_000, async () => {
      const { status } = await publish(publisher, 'again', MESSAGE_BYTES);
      if (status === 202) acknowledged.push('again');
      return status === 202;
    });
    await expectExactlyTheAcknowledged();
    expect(millrace.pid).toBe(pid);
    await eventually('the node to be ready', 30_000, async () => (await readiness(publisher.rest)).status === 200);
  });

  test('a node that starts without its store takes messages, says what is missing, and stores the backlog', {
    timeout: 180_000,
  }, async () => {
    expect(await millrace.end('SIGTERM')).toBe(0);
    await shell.stop();
    await millrace.start();
    expect((await ask(publisher.rest, 'GET', '/health/live')).status).toBe(200);
    const ready = await readiness(publisher.rest);
    expect(ready.status).toBe(503);
    expect(ready.checks.store).toMatch(/ClickHouse does not answer/);
    for (let index = 0; index < 30; index++) await take(`backlog-${index}`);
    shell = await startClickHouseShell(directory, shell.port);
    await expectExactlyTheAcknowledged();
    await eventually('the node to be ready', 30_000, async () => (await readiness(publisher.rest)).status === 200);
  });

  test('SIGTERM ends within its deadline though the store hangs, and nothing acknowledged is lost', {
    timeout: 180_000,
  }, async () => {
    relay.hold();
    for (let index = 0; index < 30; index++) await take(`hanging-${index}`);
    await eventually('an insert to hang', 20_000, async () => relay.keptCount > 0);
    const begun = performance.now();
    const code = await millrace.end('SIGTERM');
    const tookMs = performance.now() - begun;
    console.log(`ended after ${tookMs.toFixed(0)} ms with a drain of at most ${DRAIN_MS_MAX} ms`);
    expect(code).toBe(0);
    expect(tookMs).toBeGreaterThan(DRAIN_MS_MAX / 2);
    expect(tookMs).toBeLessThan(DRAIN_MS_MAX + 20_000);
    relay.release();
    await millrace.start();
    await expectExactlyTheAcknowledged();
  });

  test('a second SIGTERM stops at once, and nothing acknowledged is lost', { timeout: 180_000 }, async () => {
    await millrace.end('SIGTERM');
    const patient = new Millrace({ ...environment, MILLRACE_DRAIN_MS_MAX: '600000' }, millrace.directory);
    await patient.start();
    relay.hold();
    for (let index = 0; index < 30; index++) await take(`second-${index}`);
    await eventually('an insert to hang', 20_000, async () => relay.keptCount > 0);
    patient.signal('SIGTERM');
    await eventually('the first signal to be heard', 20_000, async () => patient.stderr.includes('draining'));
    expect(await patient.end('SIGTERM')).toBe(130);
    relay.release();
    await millrace.start();
    await expectExactlyTheAcknowledged();
  });
});
