import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';
import { LiveStream } from './stream.ts';

const WAIT_MS = 30_000;

describe('a live question of a node with workers', { timeout: 120_000 }, () => {
  const millrace = new Millrace({ MILLRACE_WORKERS: '2', MILLRACE_LIVE_QUESTIONS_PER_SUBJECT_MAX: '6' });
  let admin: Rest;
  let sensor: Publisher;
  const open: LiveStream[] = [];

  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    sensor = await newPublisher(admin, 'sensor');
  }, 180_000);
  afterAll(async () => {
    for (const stream of open) stream.close();
    await millrace.dispose();
  }, 120_000);

  const query = () => `channels=${sensor.channel}`;
  const publish = async (value: number): Promise<void> => {
    const pack = JSON.stringify([{ n: 't', v: value }]);
    const headers = { 'content-type': 'application/senml+json' };
    const { status } = await sensor.rest.raw('POST', `/channels/${sensor.channel}/messages`, pack, headers);
    expect(status).toBe(202);
  };

  test('gives the same by every road, whichever worker has the client', async () => {
    for (let index = 0; index < 3; index++) {
      open.push(await LiveStream.sse(sensor.rest, query()));
      open.push(await LiveStream.socket(sensor.rest, query()));
    }
    await publish(1);
    await publish(2);
    for (const stream of open) {
      await eventually('the rows', WAIT_MS, async () => stream.rows.length === 2);
      expect(stream.rows.map(({ value }) => value)).toEqual([1, 2]);
    }
  });

  test('has places for so many of one subject, and a place again when its client has gone', async () => {
    await expect(LiveStream.sse(sensor.rest, query())).rejects.toThrow('429');
    await expect(LiveStream.socket(sensor.rest, query())).rejects.toThrow('429');
    for (const stream of open.splice(0, 2)) stream.close();
    for (const connect of [LiveStream.sse, LiveStream.socket]) {
      const again = () => connect(sensor.rest, query());
      open.push(await eventually('a place', WAIT_MS, again));
    }
    await expect(LiveStream.sse(sensor.rest, query())).rejects.toThrow('429');
    const metrics = await (await sensor.rest.raw('GET', '/metrics')).text();
    expect(metrics).toMatch(/^millrace_live_questions(?:\{[^}]*\})? 6$/m);
  });

  test('ends with its organisation’s freezing', async () => {
    const { id: org } = await admin.json<{ id: string }>('POST', '/orgs', { name: 'cold' });
    const of = (path: string) => `${path}?org=${org}`;
    const { id: channel } = await admin.json<{ id: string }>('POST', of('/channels'), { name: 'cold' });
    const stream = await LiveStream.sse(admin, `channels=${channel}`);
    open.push(stream);
    await eventually('opened', WAIT_MS, async () => stream.frames.length > 0);
    await admin.json('POST', `/orgs/${org}/freeze`);
    await eventually('the end', WAIT_MS, async () => stream.closed);
    expect(stream.reason).toBe('forbidden');
    await expect(LiveStream.sse(admin, `channels=${channel}`)).rejects.toThrow('403');
  });

  test('is drained by each worker, and the node ends', async () => {
    const stream = await LiveStream.socket(admin, query());
    millrace.signal('SIGTERM');
    await eventually('the end', WAIT_MS, async () => stream.closed);
    expect(await millrace.ended()).toBe(0);
  });
});
