import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from './millrace.ts';
import { ask } from './publishing.ts';
import { expectStoredOnce } from './stored.ts';

const BACKLOG = 20_000;
const BATCH = 2_000;

describe('a backlog', () => {
  const ingress = new Millrace({ MILLRACE_ROLES: 'ingest,registry' });
  const whole = new Millrace({}, ingress.directory);
  afterAll(async () => {
    await ingress.end('SIGKILL');
    await whole.dispose();
  }, 120_000);

  test(`of ${BACKLOG} messages is stored once each after kill -9, soon after the next start`, {
    timeout: 240_000,
  }, async () => {
    await ingress.start();
    const publisher = await newPublisher(await Rest.asAdmin(ingress), 'backlog');
    const acknowledged = await publishBatches(publisher);
    expect(await ingress.end('SIGKILL')).toBe('SIGKILL');

    // Killed once more while it is at it.
    await whole.start();
    await sleep(Math.random() * 300);
    await whole.end('SIGKILL');
    await whole.start();
    const begun = performance.now();
    const reader = new Rest(whole.url, `Thing ${publisher.key}`);
    await eventually('the backlog', 60_000, async () => {
      const { total } = await reader.json<{ total: number }>(
        'GET',
        `/channels/${publisher.channel}/messages?limit=1&total=exact`,
      );
      return total >= BACKLOG;
    });
    const tookMs = performance.now() - begun;
    console.log(`${BACKLOG} messages stored ${tookMs.toFixed(0)} ms after the node was ready`);
    expect(tookMs).toBeLessThan(30_000);
    await expectStoredOnce(reader, publisher.channel, acknowledged);
  });
});

async function publishBatches({ rest, channel }: Publisher): Promise<string[]> {
  const acknowledged: string[] = [];
  for (let first = 0; first < BACKLOG; first += BATCH) {
    const names = Array.from({ length: BATCH }, (_, index) => `b${first + index}`);
    const body = names.map((name) => `[{"n":"${name}","v":1}]`).join('\n');
    const answer = await ask(rest, 'POST', `/channels/${channel}/messages/batch`, body, 'application/x-ndjson');
    expect(answer.status).toBe(202);
    acknowledged.push(...names);
  }
  return acknowledged;
}
