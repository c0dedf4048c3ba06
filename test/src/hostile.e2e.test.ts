import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LONG, SEED, seeded } from './crash.ts';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from './millrace.ts';
import { publish, readiness } from './publishing.ts';
import { expectStoredOnce } from './stored.ts';

const REQUESTS = LONG ? 100_000 : 5_000;
const LANES = 16;
/** A server that has not answered and not closed by then hangs. */
const ANSWER_MS_MAX = 20_000;
const RSS_GROWTH_BYTES_MAX = 400 * 1_048_576;

describe('against hostile clients', () => {
  const millrace = new Millrace({
    MILLRACE_HTTP_HEAD_MS_MAX: '1000',
    MILLRACE_HTTP_REQUEST_MS_MAX: '1000',
    MILLRACE_LOG_RETENTION_BYTES: String(16 * 1_048_576),
  });
  let admin: Rest;
  let publisher: Publisher;

  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    publisher = await newPublisher(admin, 'well-behaved');
  }, 120_000);
  afterAll(() => millrace.dispose(), 120_000);

  test(`${REQUESTS} mutated requests: no crash, no hang, no fault, and others are served all the time (seed ${SEED})`, {
    timeout: LONG ? 1_800_000 : 240_000,
  }, async () => {
    const { pid } = millrace;
    const victim = await newPublisher(admin, 'victim');
    const seeds = seedRequests(victim, admin);
    const faultsBefore = await faults(admin);
    let left = REQUESTS;
    let over = false;
    let rssWarm = 0;
    const strange = new Map<string, string>();

    const lane = async (index: number): Promise<void> => {
      const next = below(seeded(SEED + index * 7_919));
      while (left-- > 0) {
        if (left === Math.floor(REQUESTS * 0.6)) rssWarm = rssOf(pid);
        const bytes = mutated(seeds, next);
        const answer = await send(millrace.url, bytes, next);
        const status = /^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1];
        if (answer !== '' && (status === undefined || status.startsWith('5')) && !/^50[135]$/.test(status ?? ''))
          strange.set(answer.slice(0, 80), bytes.toString('latin1').slice(0, 300));
      }
    };
    const wellBehaved = async (): Promise<string[]> => {
      const acknowledged: string[] = [];
      for (let index = 0; !over; index++) {
        const answer = await publish(publisher, `n${index}`);
        expect(answer.status, `seed ${SEED}`).toBe(202);
        acknowledged.push(`n${index}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      return acknowledged;
    };

    const served = wellBehaved();
    served.catch(() => {});
    await Promise.all(Array.from({ length: LANES }, (_, index) => lane(index)));
    over = true;
    const acknowledged = await served;
    expect([...strange], `seed ${SEED}`).toEqual([]);
    expect(millrace.pid).toBe(pid);
    expect(await faults(admin), `seed ${SEED}`).toEqual(faultsBefore);
    expect(acknowledged.length).toBeGreaterThan(20);
    await expectStoredOnce(publisher.rest, publisher.channel, acknowledged);
    await eventually('everything to be ready', 30_000, async () => (await readiness(admin)).status === 200);
    const grown = rssOf(pid) - rssWarm;
    console.log(
      `${REQUESTS} requests; ${acknowledged.length} of the well-behaved client served; memory grew by ${(grown / 1_048_576).toFixed(0)} MiB`,
    );
    expect(grown).toBeLessThan(RSS_GROWTH_BYTES_MAX);
    expect(millrace.stderr).not.toMatch(/a fault that nobody caught|a request of the control plane failed/);
  });
});

type Next = (below: number) => number;
const below =
  (random: () => number): Next =>
  (limit) =>
    Math.floor(random() * limit);

/** Every part of the program is asked something that it would answer. */
function seedRequests({ channel, thing, key }: Publisher, admin: Rest): readonly Buffer[] {
  const asThing = { Authorization: `Thing ${key}`, 'Content-Type': 'application/senml+json' };
  const asUser = { Authorization: admin.authorization, 'Content-Type': 'application/json' };
  const basic = Buffer.from(`${thing}:${key}`).toString('base64');
  const path = `/channels/${channel}/messages`;
  return [
    request('POST', path, asThing, '[{"bn":"a","bt":1.7e9,"n":"t","u":"Cel","v":1},{"n":"s","vs":"x"}]'),
    request('POST', `${path}/a/b`, { ...asThing, 'Content-Type': 'application/json' }, '{"a":{"b":[1,true,"x"]}}'),
    request('POST', path, { ...asThing, 'Content-Type': 'application/senml+cbor' }, '\x81\xa2\x00\x61a\x02\x01'),
    request(
      'POST',
      `${path}/batch`,
      { ...asThing, 'Content-Type': 'application/x-ndjson' },
      '{"a":1}\n[{"n":"b","v":2}]\n',
    ),
    request('POST', path, { ...asThing, 'Content-Encoding': 'gzip' }, gzipSync('[{"n":"z","v":1}]').toString('latin1')),
    request('POST', `/http${path}`, { Authorization: `Basic ${basic}` }, 'blob'),
    request('POST', path, { ...asThing, 'Idempotency-Key': 'once' }, '[{"n":"t","v":1}]'),
    Buffer.from(
      `POST ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: Thing ${key}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n`,
    ),
    request('GET', `${path}?name=t&limit=10&order=name&dir=asc&time=rfc3339&from=1&to=2e9&v=1&comparator=gt`, asThing),
    request('GET', `${path}?aggregation=mean&interval=60&cursor=abc&total=exact&subtopic=a`, asThing),
    request('GET', `/channels/${channel}/payloads?limit=5`, asThing),
    request('GET', '/messages/0190b1c2-0000-7000-8000-000000000000', asUser),
    request('GET', '/dead-letters?limit=5', asUser),
    request('GET', '/things?limit=10&offset=1&name=a&metadata=%7B%22a%22%3A1%7D', asUser),
    request('POST', '/things', asUser, '{"name":"t","metadata":{"a":[1,{"b":null}]}}'),
    request('POST', '/things/bulk', asUser, '[{"name":"a"},{"name":"b","external_id":"x"}]'),
    request('POST', '/channels', asUser, '{"name":"c","alias":"al","metadata":{}}'),
    request('PATCH', `/things/${thing}`, asUser, '{"name":"other","metadata":{"x":1}}'),
    request('POST', '/connect', asUser, `{"channel_ids":["${channel}"],"thing_ids":["${thing}"],"types":["publish"]}`),
    request(
      'POST',
      '/tokens',
      { 'Content-Type': 'application/json' },
      '{"email":"a@example.org","password":"wrong-wrong"}',
    ),
    request('POST', '/tokens/refresh', { 'Content-Type': 'application/json' }, '{"refresh_token":"none"}'),
    request('GET', '/metrics', {}),
    request('GET', '/openapi.json', {}),
    request('OPTIONS', '*', { Origin: 'https://a', 'Access-Control-Request-Method': 'POST' }),
  ];
}

function request(method: string, path: string, headers: Readonly<Record<string, string>>, body?: string): Buffer {
  const bytes = Buffer.from(body ?? '', 'latin1');
  const lines = Object.entries({
    Host: 'a',
    ...headers,
    ...(body === undefined ? {} : { 'Content-Length': String(bytes.length) }),
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1'), bytes]);
}

const TOKENS = [
  '\r\n',
  '\r\n\r\n',
  ':',
  ' ',
  '\0',
  '%',
  '%00',
  '%ff',
  '/',
  '/../',
  '?',
  '&limit=',
  '0',
  '-1',
  '1e999',
  '9999999999999999999',
  'chunked',
  'HTTP/1.0',
  '{',
  '[[[[[[[[',
  '"__proto__":',
  'null',
  '"',
  '\\u0000',
  "'",
  ';--',
  '\xff',
  '\xed\xa0\x80',
];

/** One of the seeds with a few bytes changed, cut, doubled or put in; now and then mere noise. */
function mutated(seeds: readonly Buffer[], next: Next): Buffer {
  const pick = (): Buffer => seeds[next(seeds.length)] as Buffer;
  let bytes = Buffer.from(pick());
  const kind = next(12);
  if (kind === 0) return Buffer.from(Array.from({ length: next(400) }, () => next(256)));
  if (kind === 1) return Buffer.concat([bytes, pick()]);
  if (kind === 2) return Buffer.concat([bytes, pick().subarray(0, next(200))]);
  for (let count = next(4); count >= 0 && bytes.length > 0; count--) {
    const at = next(bytes.length);
    const how = next(5);
    if (how === 0) bytes[at] = next(256);
    else if (how === 1) bytes = bytes.subarray(0, at);
    else if (how === 2) {
      const end = Math.min(bytes.length, at + next(60));
      bytes = Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]);
    } else {
      const token = Buffer.from(TOKENS[next(TOKENS.length)] as string, 'latin1');
      const rest = bytes.subarray(how === 3 ? at : Math.min(bytes.length, at + next(20)));
      bytes = Buffer.concat([bytes.subarray(0, at), token, rest]);
    }
  }
  return bytes;
}

/** Sends bytes on a connection of their own.  @returns what came back until the server or the client ended it */
function send(url: string, bytes: Buffer, next: Next): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(Number(port), hostname);
    let answer = '';
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no answer and no end (seed ${SEED}): ${bytes.toString('latin1').slice(0, 500)}`));
    }, ANSWER_MS_MAX);
    socket.setEncoding('latin1').on('data', (text: string) => {
      answer = (answer + text).slice(0, 4_096);
    });
    socket.on('error', () => {});
    socket.once('close', () => {
      clearTimeout(timer);
      resolve(answer);
    });
    const cut = next(3) === 0 ? next(bytes.length + 1) : bytes.length;
    socket.write(bytes.subarray(0, cut));
    if (cut < bytes.length) socket.write(bytes.subarray(cut));
    if (next(10) === 0) setImmediate(() => socket.destroy());
    else socket.end();
  });
}

async function faults(rest: Rest): Promise<string[]> {
  const text = await (await rest.raw('GET', '/metrics')).text();
  const found = text.split('\n').filter((line) => /^millrace_\w*faults_total/.test(line));
  expect(found.length).toBeGreaterThan(0);
  return found;
}

/** Resident memory. @units bytes */
function rssOf(pid: number): number {
  if (process.platform !== 'linux') return 0;
  return 1_024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
}
