import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { KEY } from '../testing/gate.ts';
import { openServer } from '../testing/open-server.ts';
import { publishRequest, RawClient } from '../testing/raw-client.ts';

const REQUESTS = process.env.MILLRACE_TEST_LONG === '1' ? 100_000 : 6_000;
const LANES = 32;

/** A small generator of its own, so that a failing run can be repeated by its seed. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * below);
  };
}

const AUTH = { Authorization: `Thing ${KEY}`, 'Content-Type': 'application/senml+json' };
const SEEDS: readonly Buffer[] = [
  publishRequest('/channels/room/messages/a/b', '[{"n":"t","v":1}]', AUTH),
  publishRequest('/channels/room/messages/batch', '{"a":1}\n{"b":2}\n', {
    ...AUTH,
    'Content-Type': 'application/x-ndjson',
  }),
  publishRequest('/channels/room/messages', gzipSync('{"a":1}'), { ...AUTH, 'Content-Encoding': 'gzip' }),
  publishRequest('/channels/room/messages', '(\ufffd/\ufffd', { ...AUTH, 'Content-Encoding': 'zstd' }),
  publishRequest('/m/org/c/room', 'x', { Authorization: 'Basic Og==' }),
  Buffer.from(
    `POST /channels/room/msg HTTP/1.1\r\nHost: a\r\nAuthorization: Thing ${KEY}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n`,
  ),
  Buffer.from('GET /things?limit=10 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n'),
  Buffer.from('OPTIONS * HTTP/1.1\r\nHost: a\r\nOrigin: https://a\r\nAccess-Control-Request-Method: POST\r\n\r\n'),
];
const TOKENS = [
  '\r\n',
  '\r\n\r\n',
  ':',
  ' ',
  '\0',
  '%',
  '%00',
  '/',
  '0',
  '-1',
  '9999999999',
  'chunked',
  'HTTP/1.0',
  '{',
  '\xff',
];

function mutated(next: (below: number) => number): Buffer {
  let bytes = Buffer.from(SEEDS[next(SEEDS.length)] as Buffer);
  const kind = next(8);
  if (kind === 0) return Buffer.from(Array.from({ length: next(400) }, () => next(256)));
  if (kind === 1) return Buffer.concat([bytes, SEEDS[next(SEEDS.length)] as Buffer]);
  for (let count = next(4); count >= 0; count--) {
    const at = next(bytes.length);
    const how = next(4);
    if (how === 0) bytes[at] = next(256);
    else if (how === 1) bytes = bytes.subarray(0, at);
    else {
      const token = Buffer.from(TOKENS[next(TOKENS.length)] as string, 'latin1');
      bytes = Buffer.concat([
        bytes.subarray(0, at),
        token,
        bytes.subarray(how === 2 ? at : Math.min(bytes.length, at + next(20))),
      ]);
    }
    if (bytes.length === 0) break;
  }
  return bytes;
}

test(
  `survives ${REQUESTS} random and mutated requests, and others notice nothing`,
  async () => {
    await using server = await openServer(
      { MILLRACE_HTTP_HEAD_MS_MAX: '500', MILLRACE_HTTP_REQUEST_MS_MAX: '500', MILLRACE_HTTP_CORS_ORIGINS: '*' },
      { fallback: async (request) => new Response(await request.text()) },
    );
    server.log.records = null;
    const seed = Number(process.env.MILLRACE_TEST_SEED ?? Date.now() % 1_000_000);
    let over = false;
    const healthy = (async () => {
      const client = new RawClient(server.port);
      const request = publishRequest('/channels/room/messages', '{}', AUTH);
      let answered = 0;
      while (!over) {
        client.write(request);
        if ((await client.answer()).status !== 202) throw new Error('a healthy client was refused');
        answered++;
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      client.destroy();
      return answered;
    })();
    let left = REQUESTS;
    let rssAtFifth = 0;
    const lane = async (index: number): Promise<void> => {
      const next = random(seed + index * 7_919);
      while (left-- > 0) {
        if (left === Math.floor(REQUESTS * 0.8)) rssAtFifth = process.memoryUsage().rss;
        const client = new RawClient(server.port);
        const bytes = mutated(next);
        const cut = next(3) === 0 ? next(bytes.length + 1) : bytes.length;
        client.write(bytes.subarray(0, cut));
        if (cut < bytes.length) client.write(bytes.subarray(cut));
        if (next(10) === 0) client.destroy();
        else client.socket.end();
        await client.end();
        if (client.received !== '') expect(client.received, `seed ${seed}`).toMatch(/^HTTP\/1\.1 [1-5]\d\d /);
        client.destroy();
      }
    };
    await Promise.all(Array.from({ length: LANES }, (_, index) => lane(index)));
    over = true;
    expect(await healthy).toBeGreaterThan(10);
    await expect
      .poll(() => server.metrics.registry.metrics(), { timeout: 10_000 })
      .toMatch(/ingest_connections\{protocol="http"\} 0/);
    const metrics = await server.metrics.registry.metrics();
    expect(metrics).toMatch(/in_flight_messages\{protocol="http"\} 0/);
    expect(metrics).toMatch(/in_flight_bytes\{protocol="http"\} 0/);
    expect(metrics, `seed ${seed}`).toMatch(/http_faults_total 0/);
    expect(process.memoryUsage().rss - rssAtFifth).toBeLessThan(256 * 1_048_576);
  },
  REQUESTS > 10_000 ? 900_000 : 60_000,
);
