import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../millrace.ts';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';
import { OwnRedis } from './redis.ts';

const LONG = { timeout: 240_000 };

describe.skipIf(OwnRedis.isMissing())('jobs that Redis tells of', () => {
  let plane: ControlPlane;
  let redis: OwnRedis;
  let node: Node;
  let admin: Asker;
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    redis = await OwnRedis.start();
    plane = await startControlPlane();
    node = await plane.node({ MILLRACE_REDIS_URL: redis.url });
    admin = await node.stranger.asUser(ADMIN.email, ADMIN.password);
  }, 120_000);
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    await plane?.dispose();
    await redis?.end();
  }, 60_000);

  const finished = (asker: Asker, id: string) =>
    eventually('the job ends', 180_000, async () => {
      const { body } = await asker.call('GET', `/jobs/${id}`);
      return body.finished_at === null ? false : body;
    });
  const query = async (sql: string, values: unknown[] = []): Promise<Record<string, number>> => {
    const client = new pg.Client(plane.url);
    await client.connect();
    try {
      return (await client.query(sql, values)).rows[0];
    } finally {
      await client.end();
    }
  };

  test('are done, and leave nothing in PostgreSQL but what they made', LONG, async () => {
    await eventually('Redis answers', 60_000, async () => {
      const { body } = await node.stranger.call('GET', '/health/ready');
      return body.checks.redis === 'pass';
    });
    const { body: job } = await admin.call('POST', '/channels/bulk', Array(2_500).fill({ tags: ['redis'] }));
    expect(await finished(admin, job.id)).toMatchObject({ status: 'done', done: 2_500, failed: 0 });
    const schemas = `SELECT count(*)::integer AS count FROM information_schema.schemata WHERE schema_name = 'jobs'`;
    expect(await query(schemas)).toEqual({ count: 0 });
  });

  test('wait while Redis is away, which is told and stops nothing else; afterwards they are done', LONG, async () => {
    await redis.end();
    const told = await eventually('it is told', 30_000, async () => {
      const { status, body } = await node.stranger.call('GET', '/health/ready');
      return body.checks.redis === 'pass' ? false : { status, text: JSON.stringify(body) };
    });
    expect(told.status).toBe(200);
    expect(told.text).toContain('Redis does not answer');
    expect(told.text).not.toContain(redis.password);
    expect((await admin.call('POST', '/things', { name: 'meanwhile' })).status).toBe(201);
    const accepted = await admin.call('POST', '/channels/bulk', Array(1_500).fill({ tags: ['away'] }));
    expect(accepted.status).toBe(202);
    await redis.again();
    expect(await finished(admin, accepted.body.id)).toMatchObject({ status: 'done', done: 1_500 });
  });

  test('go on once Redis lets in who it refused when they began', LONG, async () => {
    const other = await plane.node({ MILLRACE_REDIS_URL: redis.url.replace(redis.password, 'not-yet') });
    const asker = await other.stranger.asUser(ADMIN.email, ADMIN.password);
    const redisSays = async (): Promise<string> =>
      (await other.stranger.call('GET', '/health/ready')).body.checks.redis as string;
    expect(await redisSays()).toContain('Redis does not answer');
    await node.stop();
    const { body: job } = await asker.call('POST', '/channels/bulk', Array(1_200).fill({ tags: ['later'] }));
    redis.changePassword('not-yet');
    await eventually('it is let in', 60_000, async () => (await redisSays()) === 'pass');
    expect(await finished(asker, job.id)).toMatchObject({ status: 'done', done: 1_200, failed: 0 });
    redis.changePassword(redis.password);
    await other.stop();
    node = await plane.node({ MILLRACE_REDIS_URL: redis.url });
  });

  test('go to another node when theirs is killed, and each line is made once', LONG, async () => {
    // The node of the test must not take it first.
    await node.stop();
    const script = fileURLToPath(new URL('./jobs-node.ts', import.meta.url));
    const words = ['--import', 'tsx', '--conditions=source', script, plane.url, redis.url];
    const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    let said = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const { job } = await eventually('a job has begun', 120_000, async () => JSON.parse(said) as { job: string });
    const done = () => query('SELECT done FROM registry.jobs WHERE id = $1', [job]);
    await eventually('some of it is done', 120_000, async () => Number((await done())?.done) > 0);
    child.kill('SIGKILL');
    expect(Number((await done())?.done)).toBeLessThan(30_000);
    const other = await plane.node({ MILLRACE_REDIS_URL: redis.url });
    const boss = await other.stranger.asUser(ADMIN.email, ADMIN.password);
    expect(await finished(boss, job)).toMatchObject({ status: 'done', done: 30_000, failed: 0 });
    const made = `SELECT count(*)::integer AS count, count(DISTINCT name)::integer AS names FROM registry.channels
      WHERE 'killed' = ANY (tags)`;
    expect(await query(made)).toEqual({ count: 30_000, names: 30_000 });
  });

  test('do not keep a node from starting or stopping where Redis can not be reached', LONG, async () => {
    await redis.end();
    const alone = await plane.node({ MILLRACE_REDIS_URL: redis.url });
    expect((await alone.stranger.call('GET', '/health/ready')).body.checks.redis).toContain('MILLRACE_REDIS_URL');
    await alone.stop();
    await redis.again();
  });
});
