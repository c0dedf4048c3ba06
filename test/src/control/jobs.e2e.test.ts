import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';

const LONG = { timeout: 240_000 };
let plane: ControlPlane;
let node: Node;
let admin: Asker;

beforeAll(async () => {
  plane = await startControlPlane();
  node = await plane.node();
  admin = await node.stranger.asUser(ADMIN.email, ADMIN.password);
}, 60_000);
afterAll(() => plane?.dispose());

async function until<T>(ask: () => Promise<T>, holds: (value: T) => boolean, ms = 180_000): Promise<T> {
  const end = Date.now() + ms;
  for (;;) {
    const value = await ask();
    if (holds(value)) return value;
    if (Date.now() > end) throw new Error(`it did not come to pass: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
const finished = (asker: Asker, id: string) =>
  until(
    () => asker.call('GET', `/jobs/${id}`),
    ({ body }) => !['waiting', 'running'].includes(body.status),
  );

describe('bulk requests', () => {
  test('of up to 1000 are answered at once, all or none', async () => {
    const made = await admin.call('POST', '/things/bulk', [{ name: 'a' }, { name: 'b' }]);
    expect(made.status).toBe(201);
    expect(made.body.things.map(({ name }: { name: string }) => name)).toEqual(['a', 'b']);
    const id = made.body.things[0].id;
    expect((await admin.call('POST', '/things/bulk', [{ name: 'never' }, { id }])).status).toBe(409);
    expect((await admin.call('GET', '/things?name=never')).body.total).toBe(0);
  });

  test('may come as NDJSON', async () => {
    const response = await admin.raw('POST', '/channels/bulk', '{"name":"n1"}\n\n{"name":"n2"}\n', {
      'content-type': 'application/x-ndjson',
    });
    expect(response.status).toBe(201);
    const { channels } = (await response.json()) as { channels: { name: string }[] };
    expect(channels.map(({ name }) => name)).toEqual(['n1', 'n2']);
    const broken = await admin.raw('POST', '/channels/bulk', '{"name":"n1"}\n{"name"', {
      'content-type': 'application/x-ndjson',
    });
    expect(broken.status).toBe(400);
    expect(((await broken.json()) as { detail: string }).detail).toContain('Line 2');
  });

  test('of more become a job that tells its progress and what became of each line', LONG, async () => {
    const taken = (await admin.call('POST', '/things', { name: 'taken' })).body.id;
    const items: object[] = Array.from({ length: 2_500 }, (_, index) => ({ name: `bulk ${index}`, tags: ['bulk'] }));
    items[3] = { name: 'wrong', nmae: 1 };
    items[1_500] = { id: taken };
    items[2_400] = { key: 'a-key-of-my-own', name: 'with a key' };
    items[2_401] = { key: 'a-key-of-my-own', name: 'with the same' };
    const accepted = await admin.call('POST', '/things/bulk', items);
    expect(accepted.status).toBe(202);
    expect(accepted.headers.get('location')).toBe(`/jobs/${accepted.body.id}`);
    expect(accepted.body).toMatchObject({ kind: 'things.create', total: 2_500 });
    const { id } = accepted.body;
    const { body: job } = await finished(admin, id);
    expect(job).toMatchObject({ status: 'done', total: 2_500, done: 2_500, failed: 3, reason: null });
    const errors = await admin.call('GET', `/jobs/${id}/results?errors=true`);
    expect(errors.body.total).toBe(3);
    expect(errors.body.results.map(({ line }: { line: number }) => line)).toEqual([4, 1_501, 2_402]);
    expect(errors.body.results[0].error).toBe('nmae: unknown field');
    const results = await admin.call('GET', `/jobs/${id}/results?offset=2399&limit=3`);
    expect(results.body.results).toMatchObject([
      { line: 2_400, id: expect.any(String), key: expect.stringMatching(/^[\w-]{43}$/) },
      { line: 2_401, key: 'a-key-of-my-own' },
      { line: 2_402, error: expect.any(String) },
    ]);
    // Another line of the same chunk was refused, and a gate knows each that was made.
    expect((await admin.call('GET', '/things?tag=bulk')).body.total).toBe(2_496);
    const known = await node.gate.identify({ kind: 'key', key: results.body.results[0].key });
    expect(known.kind).toBe('known');
    expect((await admin.call('GET', '/jobs?status=done')).body.jobs.map((each: { id: string }) => each.id)).toContain(
      id,
    );
  });

  test('are hidden from strangers, and their keys from who may not see them', LONG, async () => {
    const { body: job } = await admin.call('POST', '/things/bulk', Array(1_001).fill({ tags: ['hidden'] }));
    await finished(admin, job.id);
    const stranger = await node.stranger.newUser('stranger@example.org');
    expect((await stranger.call('GET', `/jobs/${job.id}`)).status).toBe(404);
    expect((await stranger.call('GET', `/jobs/${job.id}/results`)).status).toBe(404);
    expect((await stranger.call('POST', `/jobs/${job.id}/cancel`)).status).toBe(404);
    expect((await stranger.call('POST', `/things/bulk?org=${job.org}`, Array(1_001).fill({}))).status).toBe(404);
    expect((await admin.call('GET', '/jobs/nothing')).status).toBe(404);
  });

  test('keep no key in the open while they wait, nor in the audit', LONG, async () => {
    const secret = 'in-the-open-1234567890';
    const items: object[] = Array(1_001).fill({ tags: ['sealed'] });
    const { body: job } = await admin.call('POST', '/things/bulk', [{ key: secret }, ...items.slice(1)]);
    const client = new pg.Client(plane.url);
    await client.connect();
    try {
      const seen = async () =>
        (
          await client.query(
            `SELECT 1 FROM registry.job_chunks WHERE input LIKE $1 OR results LIKE $1 OR errors::text LIKE $1
             UNION ALL SELECT 1 FROM registry.audit WHERE detail::text LIKE $1`,
            [`%${secret}%`],
          )
        ).rowCount;
      expect(await seen()).toBe(0);
      await finished(admin, job.id);
      expect(await seen()).toBe(0);
    } finally {
      await client.end();
    }
  });

  test('can be cancelled: what was made stays, no more is', LONG, async () => {
    const { body: job } = await admin.call('POST', '/channels/bulk', Array(20_000).fill({ tags: ['cancelled'] }));
    const cancelled = await admin.call('POST', `/jobs/${job.id}/cancel`);
    expect(cancelled.status).toBe(200);
    expect(cancelled.body.status).toBe('cancelled');
    expect(cancelled.body.done).toBeLessThan(20_000);
    const again = await admin.call('POST', `/jobs/${job.id}/cancel`);
    expect(again.body).toMatchObject({ status: 'cancelled', done: cancelled.body.done });
    expect((await admin.call('GET', '/channels?tag=cancelled')).body.total).toBe(cancelled.body.done);
  });

  test('are refused as a whole when they are too many, or name a group that is not there', async () => {
    expect((await admin.call('POST', '/things/bulk', Array(100_001).fill({}))).status).toBe(422);
    const group_id = '00000000-0000-4000-8000-000000000000';
    expect((await admin.call('POST', '/things/bulk', Array(1_001).fill({ group_id }))).status).toBe(404);
    expect((await admin.call('POST', '/things/bulk', { things: [] })).status).toBe(422);
  });
});

describe('a job acts with the rights of who asked for it, as long as they have them', () => {
  const grants = [{ actions: ['things.create', 'jobs.read'], resources: ['*'] }];

  /** A member of the administrator's organisation, and a job of theirs that waits since the organisation is frozen. */
  async function waitingJob(email: string, submit: (user: Asker, org: string) => Promise<Asker>) {
    const { body: org } = await admin.call('POST', '/orgs', { name: email });
    const user = await node.stranger.newUser(email);
    const { id } = (await user.call('GET', '/users/me')).body;
    expect((await admin.call('PUT', `/orgs/${org.id}/members/${id}`, { role: 'editor' })).status).toBeLessThan(300);
    const asker = await submit(user, org.id);
    const accepted = await asker.call('POST', `/things/bulk?org=${org.id}`, Array(20_000).fill({ tags: ['lawful'] }));
    expect(accepted.status).toBe(202);
    expect((await admin.call('POST', `/orgs/${org.id}/freeze`)).status).toBeLessThan(300);
    return { org: org.id as string, id, job: accepted.body.id as string };
  }
  const unfreeze = (org: string) => admin.call('POST', `/orgs/${org}/unfreeze`);

  test('it waits while the organisation is frozen, and goes on afterwards', LONG, async () => {
    const { org, job } = await waitingJob('frozen@example.org', async (user) => user);
    const before = (await admin.call('GET', `/jobs/${job}`)).body;
    expect(before.status).not.toBe('done');
    await unfreeze(org);
    expect((await finished(admin, job)).body).toMatchObject({ status: 'done', done: 20_000, failed: 0 });
  });

  test('it stops when they are no member any more, and says so', LONG, async () => {
    const { org, id, job } = await waitingJob('removed@example.org', async (user) => user);
    expect((await admin.call('DELETE', `/orgs/${org}/members/${id}`)).status).toBeLessThan(300);
    await unfreeze(org);
    const { body } = await finished(admin, job);
    expect(body).toMatchObject({ status: 'failed', reason: 'Who asked for it may not do this any more.' });
    expect((await admin.call('GET', `/things?org=${org}&limit=1`)).body.total).toBe(body.done);
    expect((await admin.call('GET', `/audit?org=${org}&action=jobs.stop`)).body.total).toBe(1);
  });

  test('it stops when the key that it was asked with is revoked', LONG, async () => {
    let revoke = async (): Promise<unknown> => undefined;
    const { org, job } = await waitingJob('revoked@example.org', async (user, of) => {
      const { body: key } = await user.call('POST', `/keys?org=${of}`, { name: 'bulk', grants });
      revoke = () => user.call('DELETE', `/keys/${key.id}`);
      return node.stranger.as(`Bearer ${key.secret}`);
    });
    await revoke();
    await unfreeze(org);
    expect((await finished(admin, job)).body.status).toBe('failed');
  });

  test('its keys are told to no other key or application of the same user', LONG, async () => {
    const user = await node.stranger.newUser('narrow@example.org');
    const { body: job } = await user.call('POST', '/things/bulk', Array(1_001).fill({}));
    await finished(user, job.id);
    const { body: key } = await user.call('POST', '/keys', {
      name: 'narrow',
      grants: [{ actions: ['things.list'], resources: ['*'] }],
    });
    const narrow = node.stranger.as(`Bearer ${key.secret}`);
    expect((await narrow.call('GET', `/jobs/${job.id}/results`)).status).toBe(403);
    expect((await narrow.call('POST', `/jobs/${job.id}/cancel`)).status).toBe(403);
    expect((await user.call('GET', `/jobs/${job.id}/results`)).body.results[0].key).toMatch(/^[\w-]{43}$/);
  });
});

describe('when the node that works on a job is killed', () => {
  const children: ChildProcess[] = [];
  afterAll(() => {
    for (const child of children) child.kill('SIGKILL');
  });

  test('another takes over, and each line is made once', LONG, async () => {
    const own = await startControlPlane();
    try {
      // A process of its own, so that it can be killed: it takes the job, and the test's node what is left of it.
      const child = spawn(
        process.execPath,
        ['--import', 'tsx', '--conditions=source', fileURLToPath(new URL('./jobs-node.ts', import.meta.url)), own.url],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      children.push(child);
      const said = await new Promise<{ job: string }>((resolve, reject) => {
        let text = '';
        child.stdout?.on('data', (data: Buffer) => {
          text += data.toString();
          const line = text.split('\n').find((each) => each.startsWith('{'));
          if (line !== undefined && text.includes('\n')) resolve(JSON.parse(line));
        });
        child.once('exit', (code) => reject(new Error(`it ended with ${code}`)));
      });
      const client = new pg.Client(own.url);
      await client.connect();
      try {
        const done = async () =>
          Number((await client.query('SELECT done FROM registry.jobs WHERE id = $1', [said.job])).rows[0].done);
        await until(done, (count) => count > 0);
        child.kill('SIGKILL');
        await new Promise((resolve) => child.once('exit', resolve));
        const atDeath = await done();
        expect(atDeath).toBeLessThan(30_000);
        const other = await own.node();
        const boss = await other.stranger.asUser(ADMIN.email, ADMIN.password);
        const { body: job } = await finished(boss, said.job);
        expect(job).toMatchObject({ status: 'done', done: 30_000, failed: 0 });
        const { rows } = await client.query(
          `SELECT count(*)::integer AS count, count(DISTINCT name)::integer AS names FROM registry.channels WHERE 'killed' = ANY (tags)`,
        );
        expect(rows[0]).toEqual({ count: 30_000, names: 30_000 });
      } finally {
        await client.end();
      }
    } finally {
      await own.dispose();
    }
  });
});
