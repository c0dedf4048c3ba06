import { afterAll, beforeAll, expect, test } from 'vitest';
import { Millrace, eventually as within } from '../millrace.ts';
import { isGenuine, Receiver } from './receiver.ts';

const ADMIN = { email: 'admin@example.org', password: 'correct horse battery' };
const node = new Millrace({
  MILLRACE_ADMIN_EMAIL: ADMIN.email,
  MILLRACE_ADMIN_PASSWORD: ADMIN.password,
  MILLRACE_WEBHOOKS_PRIVATE: 'on',
  MILLRACE_WEBHOOKS_RETRY_MS_MAX: '200',
  // Two seconds.
  MILLRACE_WEBHOOKS_RETRY_HOURS: String(2 / 3_600),
  MILLRACE_COAP_PORT: 'off',
  MILLRACE_MQTT_PORT: 'off',
});
const receiver = new Receiver();
let target = '';
let token = '';
let names = 0;
const eventually = (probe: () => Promise<boolean>): Promise<boolean> =>
  within('what the test waits for', 30_000, probe);

beforeAll(async () => {
  target = await receiver.start();
  await node.start();
  token = (await call('POST', '/tokens', ADMIN)).body.token;
}, 120_000);
afterAll(async () => {
  await node.dispose();
  await receiver.stop();
}, 90_000);

// biome-ignore lint/suspicious/noExplicitAny: answers of any shape
async function call(method: string, path: string, body?: unknown): Promise<{ status: number; body: any }> {
  const response = await fetch(`${node.url}${path}`, {
    method,
    headers: {
      ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? null : JSON.parse(text) };
}

/** A channel with a thing that publishes numbers there. */
async function source(): Promise<{ channel: string; publish(value: number, subtopic?: string): Promise<void> }> {
  const name = `source ${names++}`;
  const channel = (await call('POST', '/channels', { name })).body.id;
  const thing = (await call('POST', '/things', { name })).body;
  await call('POST', '/connect', { channel_ids: [channel], thing_ids: [thing.id] });
  return {
    channel,
    async publish(value, subtopic = '') {
      const path = `/channels/${channel}/messages${subtopic === '' ? '' : `/${subtopic}`}`;
      const { status } = await fetch(node.url + path, {
        method: 'POST',
        headers: { authorization: `Thing ${thing.key}`, 'content-type': 'application/senml+json' },
        body: JSON.stringify([{ n: 't', v: value }]),
      });
      expect(status).toBe(202);
    },
  };
}

async function hook(channel: string, path: string, more: object = {}): Promise<{ id: string; secret: string }> {
  const made = await call('POST', '/webhooks', {
    channel,
    name: `hook ${names++}`,
    url: target + path,
    batch_ms: 50,
    ...more,
  });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body;
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

test('what is published comes in its order, filtered, signed, with its heads, from the moment it was made', async () => {
  const { channel, publish } = await source();
  await publish(-1, 'a/t');
  const made = await hook(channel, '/plain', { subtopic: '+/t', headers: { authorization: 'Bearer of mine' } });
  expect(made.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  for (const value of upTo(30)) await publish(value, value % 3 === 0 ? 'elsewhere' : 'a/t');
  const wanted = upTo(30).filter((value) => value % 3 !== 0);
  await eventually(async () => receiver.values('/plain').length >= wanted.length);
  expect(receiver.values('/plain')).toEqual(wanted);
  for (const request of receiver.at('/plain')) {
    expect(isGenuine(request, made.secret)).toBe(true);
    expect(isGenuine({ ...request, body: Buffer.from(`${request.body} `) }, made.secret)).toBe(false);
    expect(request.headers.authorization).toBe('Bearer of mine');
  }
  // Neither is ever told again.
  const shown = JSON.stringify((await call('GET', `/webhooks/${made.id}`)).body);
  expect(shown).not.toContain('of mine');
  expect(shown).not.toContain(made.secret);
  await eventually(async () => (await call('GET', `/webhooks/${made.id}/status`)).body.delivered === wanted.length);
  const { deliveries } = (await call('GET', `/webhooks/${made.id}/deliveries`)).body;
  expect(deliveries[0]).toMatchObject({ status: 204, error: null });
}, 60_000);

test('a request that fails is made again with the same id, and one that is dead delays no other', async () => {
  const { channel, publish } = await source();
  let failures = 3;
  receiver.answers.set('/shaky', () =>
    failures-- > 0 ? { status: 503, headers: { 'retry-after': '0' } } : { status: 200 },
  );
  receiver.answers.set('/dead', () => ({ status: 500 }));
  await hook(channel, '/shaky');
  const dead = await hook(channel, '/dead');
  await hook(channel, '/sound');
  await publish(1);
  await eventually(async () => receiver.values('/shaky').length === 1 && receiver.values('/sound').length === 1);
  const ids = new Set(receiver.at('/shaky').map(({ headers }) => headers['webhook-id']));
  expect(receiver.at('/shaky')).toHaveLength(4);
  expect(ids.size).toBe(1);

  // After its time it is given up, kept, and can be replayed once the other side is well.
  await eventually(async () => (await call('GET', `/webhooks/${dead.id}/letters`)).body.letters.length === 1);
  receiver.answers.delete('/dead');
  const [letter] = (await call('GET', `/webhooks/${dead.id}/letters`)).body.letters;
  expect(letter).toMatchObject({ messages: 1, reason: 'as told' });
  expect((await call('POST', `/webhooks/${dead.id}/replay`, {})).body).toEqual({ replaying: 1 });
  await eventually(async () => receiver.values('/dead').length === 1);
  const last = receiver.at('/dead').at(-1);
  expect(last?.headers['webhook-id']).toBe(letter.webhook_id);
  expect(last !== undefined && isGenuine(last, dead.secret)).toBe(true);
  await eventually(async () => (await call('GET', `/webhooks/${dead.id}/letters`)).body.letters.length === 0);
}, 60_000);

test('410 turns it off; who turns it on again misses nothing', async () => {
  const { channel, publish } = await source();
  receiver.answers.set('/gone', () => ({ status: 410 }));
  const { id } = await hook(channel, '/gone');
  await publish(1);
  await eventually(async () => (await call('GET', `/webhooks/${id}`)).body.enabled === false);
  await publish(2);
  receiver.answers.delete('/gone');
  expect((await call('POST', `/webhooks/${id}/enable`)).status).toBe(200);
  await eventually(async () => receiver.values('/gone').length === 2);
  expect(receiver.values('/gone')).toEqual([1, 2]);
}, 60_000);

test('a new secret signs beside the old one', async () => {
  const { channel, publish } = await source();
  const before = await hook(channel, '/rotated');
  const after = (await call('POST', `/webhooks/${before.id}/secret`, {})).body;
  expect(after.secret).not.toBe(before.secret);
  expect((await call('POST', `/webhooks/${before.id}/test`)).body).toMatchObject({ status: 204, error: null });
  await publish(1);
  await eventually(async () => receiver.at('/rotated').length >= 2);
  for (const request of receiver.at('/rotated')) {
    expect(isGenuine(request, before.secret)).toBe(true);
    expect(isGenuine(request, after.secret)).toBe(true);
  }
}, 60_000);

test('one message a request, its payload as it came', async () => {
  const { channel, publish } = await source();
  const { secret } = await hook(channel, '/raw', { format: 'raw' });
  for (const value of [1, 2, 3]) await publish(value, 'r/ö');
  await eventually(async () => receiver.at('/raw').length >= 3);
  expect(receiver.at('/raw').map(({ body }) => body.toString())).toEqual([1, 2, 3].map((v) => `[{"n":"t","v":${v}}]`));
  for (const request of receiver.at('/raw')) {
    expect(isGenuine(request, secret)).toBe(true);
    expect(request.headers).toMatchObject({
      'content-type': 'application/senml+json',
      'millrace-channel': channel,
      'millrace-subtopic': 'r/%C3%B6',
    });
  }
}, 60_000);

test('nothing is lost when the node that delivers is killed', async () => {
  const { channel, publish } = await source();
  let isDown = false;
  receiver.answers.set('/killed', () =>
    isDown ? { status: 503, headers: { 'retry-after': '3600' } } : { status: 200 },
  );
  await hook(channel, '/killed', { batch_messages: 5 });
  for (const value of upTo(20)) await publish(value);
  await eventually(async () => receiver.values('/killed').length >= 5);
  isDown = true;
  for (const value of upTo(20)) await publish(20 + value);
  await node.end('SIGKILL');
  isDown = false;
  await node.start();
  await eventually(async () => new Set(receiver.values('/killed')).size === 40);
  // At least once; what comes again comes with what followed it.
  expect([...new Set(receiver.values('/killed'))]).toEqual(upTo(40));
}, 120_000);
