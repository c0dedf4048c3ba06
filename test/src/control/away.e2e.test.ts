import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectMqttJs } from '../bridge/clients/mqtt-js.ts';
import { placeOf } from '../bridge/rights.ts';
import { eventually, freePort, Millrace, newPublisher, type Publisher, type Rest } from '../millrace.ts';
import { type Answered, ask, publish, readiness } from '../publishing.ts';
import { ADMIN, logIn, OwnPostgres } from './two-nodes.ts';

const SOON_MS = 60_000;
/** A question to a database that hangs is given up after so long, and some have to wait for another's connection. */
const GIVEN_UP_MS = 60_000;
const GRANTS = [{ actions: ['publish'], resources: ['channels/*'] }];

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  /** null: of nobody. */
  readonly as?: null;
  readonly contentType?: string;
}
const post = (path: string, body: unknown): Asked => ({ method: 'POST', path, body });
const anonymous = (path: string, body: unknown): Asked => ({ ...post(path, body), as: null });

describe('while PostgreSQL does not answer', { timeout: 240_000 }, () => {
  const postgres = new OwnPostgres();
  let millrace: Millrace;
  let admin: Rest;
  let publisher: Publisher;
  let org: string;
  let refresh: string;
  let machine: { readonly id: string; readonly client_secret: string };
  /** Of an API key and of an application: known here. */
  const bearers: Publisher[] = [];

  beforeAll(async () => {
    millrace = new Millrace({
      MILLRACE_HTTP_PORT: String(await freePort()),
      MILLRACE_POSTGRES_URL: await postgres.start(),
      MILLRACE_ADMIN_EMAIL: ADMIN.email,
      MILLRACE_ADMIN_PASSWORD: ADMIN.password,
      MILLRACE_ROLES: 'ingest,registry',
    });
    await millrace.start();
    admin = await logIn(millrace, ADMIN);
    publisher = await newPublisher(admin, 'known');
    org = (await admin.json<{ org: string }>('GET', `/things/${publisher.thing}`)).org;
    refresh = (await admin.as('').json<{ refresh_token: string }>('POST', '/tokens', ADMIN)).refresh_token;
    const { secret } = await admin.json<{ secret: string }>('POST', '/keys', { name: 'known', grants: GRANTS });
    machine = await admin.json('POST', '/apps', { name: 'machine', kind: 'machine' });
    await admin.json('POST', '/connect', { channel_ids: [publisher.channel], thing_ids: [machine.id] });
    const { access_token } = (await tokens()) as { access_token: string };
    for (const bearer of [secret, access_token]) bearers.push({ ...publisher, rest: admin.as(`Bearer ${bearer}`) });
    for (const each of [publisher, ...bearers]) expect((await publish(each, 'before')).status).toBe(202);
  }, 180_000);
  afterAll(async () => {
    await millrace?.dispose();
    await postgres.dispose();
  }, 120_000);

  const FORM = 'application/x-www-form-urlencoded';
  const tokenForm = (): string =>
    new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: machine.id,
      client_secret: machine.client_secret,
    }).toString();
  const tokens = async (): Promise<unknown> =>
    (await admin.as('').raw('POST', '/oauth/token', tokenForm(), { 'content-type': FORM })).json();

  const questions = (): readonly Asked[] => [
    post('/orgs', { name: 'later' }),
    post('/things', { name: 'later' }),
    { method: 'PATCH', path: `/things/${publisher.thing}`, body: { name: 'later' } },
    post('/channels', { name: 'later' }),
    post('/connect', { channel_ids: [publisher.channel], thing_ids: [publisher.thing] }),
    post('/groups', { name: 'later' }),
    post('/roles', { name: 'later', actions: ['things.list'] }),
    post('/policies', { name: 'later', statements: [{ effect: 'allow', actions: ['publish'], resources: ['*'] }] }),
    post('/keys', { name: 'later', grants: GRANTS }),
    post('/apps', { name: 'later', kind: 'machine' }),
    post('/certs', { thing_id: publisher.thing }),
    post(`/orgs/${org}/invitations`, { email: 'later@example.org', role: 'viewer' }),
    post('/tickets', undefined),
    { method: 'GET', path: '/things' },
    { method: 'GET', path: `/things/${publisher.thing}/access` },
    { method: 'GET', path: '/audit' },
    anonymous('/users', { email: `${randomUUID()}@example.org`, password: 'a good password' }),
    anonymous('/tokens', ADMIN),
    anonymous('/tokens/refresh', { refresh_token: refresh }),
    { method: 'POST', path: '/oauth/token', body: tokenForm(), as: null, contentType: FORM },
  ];
  async function put({ method, path, body, as, contentType }: Asked): Promise<Answered> {
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
    return ask(as === null ? admin.as('') : admin, method, path, text, contentType);
  }

  /** As who is told to come again does: a connection of the node's may still be to the server that went away. */
  const patiently = (once: () => Promise<Answered>): Promise<Answered> =>
    eventually('an answer other than 503', SOON_MS, async () => {
      const answer = await once();
      return answer.status !== 503 && answer;
    });

  test.each([
    ['is shut down', () => postgres.stop(), () => postgres.start()],
    ['hangs', async () => postgres.signal('SIGSTOP'), async () => postgres.signal('SIGCONT')],
    ['is killed', async () => postgres.signal('SIGKILL'), () => postgres.restart()],
  ] as const)(
    'because it %s, what is known goes on, the rest says when to come again, and all mends itself',
    async (_how, end, begin) => {
      const { pid } = millrace;
      await end();
      try {
        const asking = Promise.all(
          questions().map(async (question) => {
            const begunMs = performance.now();
            const answer = await put(question);
            return { question, answer, ms: performance.now() - begunMs };
          }),
        );
        for (let index = 0; index < 10; index++) {
          for (const each of [publisher, ...bearers]) expect((await publish(each, `away-${index}`)).status).toBe(202);
        }
        const client = await connectMqttJs(placeOf(millrace), { thing: publisher.thing, key: publisher.key });
        client.on('error', () => undefined);
        await client.publishAsync(`channels/${publisher.channel}/messages`, '{}', { qos: 1 });
        await client.endAsync(true);
        for (const { question, answer, ms } of await asking) {
          const told = `${question.method} ${question.path}: ${answer.detail}`;
          expect(answer.status, told).toBe(503);
          expect(answer.retryAfter, told).toBeGreaterThan(0);
          expect(answer.detail, told).not.toMatch(/ECONN|127\.0\.0\.1|select |socket:|relation/i);
          expect(ms, told).toBeLessThan(GIVEN_UP_MS);
        }
        // Backends whose postmaster was killed may answer one question more each.
        await eventually('nobody can say whose a key is', SOON_MS, async () => {
          const unknown = { ...publisher, rest: admin.as(`Thing ${randomUUID()}`) };
          return (await publish(unknown, 'unknown')).status === 503;
        });
        const ready = await eventually('the node is not ready', SOON_MS, async () => {
          const answer = await readiness(admin);
          return answer.status === 503 && answer;
        });
        expect(ready.checks.registry).toMatch(/not answer/);
        expect((await ask(admin, 'GET', '/health/live')).status).toBe(200);
        expect((await ask(admin, 'GET', '/metrics')).status).toBe(200);
      } finally {
        await begin();
      }
      await eventually('the node is ready', SOON_MS, async () => (await readiness(admin)).status === 200);
      expect(millrace.pid).toBe(pid);
      const another = await eventually('somebody new is made', SOON_MS, () => newPublisher(admin, 'new'));
      expect((await patiently(() => publish(another, 'first'))).status).toBe(202);
      for (const verb of ['disable', 'enable'] as const) {
        expect((await patiently(() => ask(admin, 'POST', `/things/${publisher.thing}/${verb}`))).status).toBe(200);
        expect((await patiently(() => publish(publisher, verb))).status).toBe(verb === 'enable' ? 202 : 403);
      }
      const token: Asked = { method: 'POST', path: '/oauth/token', body: tokenForm(), as: null, contentType: FORM };
      expect((await patiently(() => put(token))).status).toBe(200);
    },
  );
});
