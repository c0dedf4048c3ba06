import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { EnvelopeReader } from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { KEY } from '../testing/gate.ts';
import { type OpenServer, openServer } from '../testing/open-server.ts';
import { publishRequest, RawClient } from '../testing/raw-client.ts';

const AUTH = { authorization: `Thing ${KEY}` };
const PATH = '/channels/room/messages';
const publish = (
  server: OpenServer,
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Promise<Response> => fetch(server.url + PATH, { method: 'POST', body, headers: { ...AUTH, ...headers } });
const payloads = (server: OpenServer): string[] =>
  (server.log.records ?? []).map((record) => {
    const reader = new EnvelopeReader();
    reader.open(record);
    return reader.payload.toString();
  });
const ZSTD_TEXT = '{"hello":"zstd"}'.repeat(64);
/** What `zstd -19` makes of it. */
const ZSTD_BYTES = Buffer.from('KLUv/QRovQAAgHsiaGVsbG8iOiJ6c3RkIn0BANpPNZdxChZq', 'base64');
/** One frame of one raw block, its content size in four bytes. */
const zstdRaw = (content: Buffer): Buffer => {
  const head = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32LE(content.length, 5);
  head.writeUIntLE((content.length << 3) | 1, 9, 3);
  return Buffer.concat([head, content]);
};
/** RLE blocks: four bytes each for 128 KiB. */
const zstdBomb = (blocks: number): Buffer => {
  const head = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50]);
  const block = (last: number): Buffer => {
    const bytes = Buffer.alloc(4, 0x41);
    bytes.writeUIntLE((131_072 << 3) | 2 | last, 0, 3);
    return bytes;
  };
  return Buffer.concat([head, ...Array.from({ length: blocks }, (_, index) => block(index === blocks - 1 ? 1 : 0))]);
};

describe('compressed bodies', () => {
  test('are stored as what they decompress to', async () => {
    await using server = await openServer();
    const text = '[{"n":"a","v":1}]'.repeat(4_000);
    const encoded: [string, Buffer][] = [
      ['gzip', gzipSync(text)],
      ['deflate', deflateSync(text)],
      ['br', brotliCompressSync(text)],
      ['zstd', zstdRaw(Buffer.from(text))],
      ['zstd', ZSTD_BYTES],
      ['GZIP', gzipSync(ZSTD_TEXT, { level: 0 })],
      ['identity', Buffer.from(text)],
    ];
    for (const [encoding, body] of encoded) {
      const response = await publish(server, new Uint8Array(body), { 'content-encoding': encoding });
      expect([encoding, response.status]).toEqual([encoding, 202]);
    }
    expect(payloads(server)).toEqual([text, text, text, text, ZSTD_TEXT, ZSTD_TEXT, text]);
  });

  test('are refused when they are bombs, also nested sizes beyond what is decoded in place', async () => {
    await using server = await openServer();
    const bombs: [string, Buffer][] = [
      ['gzip', gzipSync(Buffer.alloc(3_000_000))],
      ['gzip', gzipSync(Buffer.alloc(100_000_000))],
      ['br', brotliCompressSync(Buffer.alloc(3_000_000))],
      ['zstd', zstdBomb(100_000)],
    ];
    for (const [encoding, body] of bombs) {
      const response = await publish(server, new Uint8Array(body), { 'content-encoding': encoding });
      expect([encoding, response.status]).toEqual([encoding, 413]);
    }
    expect((await publish(server, '{}')).status).toBe(202);
  });

  test('are 400 when they are not what they say, 415 when nobody knows what they are', async () => {
    await using server = await openServer();
    for (const encoding of ['gzip', 'deflate', 'br', 'zstd']) {
      expect((await publish(server, 'not compressed', { 'content-encoding': encoding })).status).toBe(400);
    }
    // A window of 2 GiB, which a decoder must not reserve.
    const greedy = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00]);
    expect((await publish(server, new Uint8Array(greedy), { 'content-encoding': 'zstd' })).status).toBe(400);
    const unknown = await publish(server, 'x', { 'content-encoding': 'compress' });
    expect([unknown.status, unknown.headers.get('accept-encoding')]).toEqual([415, 'gzip, deflate, br, zstd']);
    expect((await publish(server, 'x', { 'content-encoding': 'gzip, gzip' })).status).toBe(415);
  });
});

describe('limits', () => {
  test('refuses with 503 what is beyond the messages in flight, and recovers', async () => {
    await using server = await openServer({ MILLRACE_HTTP_IN_FLIGHT_MESSAGES_MAX: '2' });
    server.log.stalled = true;
    const waiting = [publish(server, '{"a":1}'), publish(server, '{"a":2}')];
    await expect.poll(() => server.log.count).toBe(2);
    const refused = await publish(server, '{"a":3}');
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    server.log.stalled = false;
    server.log.commit();
    expect((await Promise.all(waiting)).map((response) => response.status)).toEqual([202, 202]);
    expect((await publish(server, '{"a":4}')).status).toBe(202);
  });

  test('refuses with 503 what is beyond the bytes in flight', async () => {
    await using server = await openServer({ MILLRACE_HTTP_IN_FLIGHT_BYTES_MAX: '65536' });
    server.log.stalled = true;
    const waiting = publish(server, 'x'.repeat(40_000));
    await expect.poll(() => server.log.count).toBe(1);
    expect((await publish(server, 'y'.repeat(40_000))).status).toBe(503);
    server.log.stalled = false;
    server.log.commit();
    expect((await waiting).status).toBe(202);
  });

  test('limits the rate of each client by itself', async () => {
    await using server = await openServer({ MILLRACE_HTTP_RATE_PER_SECOND: '0.01', MILLRACE_HTTP_RATE_BURST: '3' });
    const statuses: number[] = [];
    for (let index = 0; index < 4; index++) statuses.push((await publish(server, '{}')).status);
    expect(statuses).toEqual([202, 202, 202, 429]);
    const limited = await publish(server, '{}');
    expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(50);
    const other = await publish(server, '{}', { authorization: 'Thing many-other' });
    expect(other.status).toBe(202);
  });

  test('refuses connections beyond the limit with 503', async () => {
    await using server = await openServer({ MILLRACE_HTTP_CONNECTIONS_MAX: '2' });
    const clients = [new RawClient(server.port), new RawClient(server.port)];
    for (const client of clients) {
      client.write(publishRequest(PATH, '{}', { Authorization: `Thing ${KEY}` }));
      expect((await client.answer()).status).toBe(202);
    }
    const third = new RawClient(server.port);
    expect((await third.answer()).status).toBe(503);
    for (const client of [...clients, third]) client.destroy();
  });

  test('serves a thousand connections at once', async () => {
    await using server = await openServer();
    const clients = Array.from({ length: 1_000 }, () => new RawClient(server.port));
    const request = publishRequest(PATH, '{}', { Authorization: `Thing ${KEY}` });
    for (const client of clients) client.write(request);
    const answers = await Promise.all(clients.map((client) => client.answer()));
    expect(answers.filter((answer) => answer.status === 202).length).toBe(1_000);
    for (const client of clients) client.destroy();
  });
});

describe('other origins', () => {
  const preflight = (server: OpenServer, origin: string): Promise<Response> =>
    fetch(server.url + PATH, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST' } });

  test('may not call unless configured', async () => {
    await using server = await openServer();
    expect((await preflight(server, 'https://a.example')).headers.get('access-control-allow-origin')).toBe(null);
  });

  test('may call when they are listed', async () => {
    await using server = await openServer({ MILLRACE_HTTP_CORS_ORIGINS: 'https://a.example, https://b.example' });
    const allowed = await preflight(server, 'https://b.example');
    expect(allowed.status).toBe(204);
    expect(allowed.headers.get('access-control-allow-origin')).toBe('https://b.example');
    expect(allowed.headers.get('access-control-allow-headers')).toContain('Authorization');
    expect((await preflight(server, 'https://c.example')).headers.get('access-control-allow-origin')).toBe(null);
    const response = await publish(server, '{}', { origin: 'https://a.example' });
    expect(response.headers.get('access-control-allow-origin')).toBe('https://a.example');
    expect(response.headers.get('vary')).toBe('Origin');
  });
});

describe('ending', () => {
  test('drains: answers what is under way, refuses what is new, and closes', async () => {
    const server = await openServer();
    server.log.stalled = true;
    const idle = new RawClient(server.port);
    idle.write(publishRequest('/channels/nowhere/messages', '{}', { Authorization: `Thing ${KEY}` }));
    await idle.answer();
    const busy = new RawClient(server.port);
    const request = publishRequest(PATH, '{}', { Authorization: `Thing ${KEY}` });
    busy.write(request);
    await expect.poll(() => server.log.count).toBe(1);
    const drained = server.drain(5_000);
    await idle.end();
    busy.write(request);
    await new Promise((resolve) => setTimeout(resolve, 30));
    server.log.stalled = false;
    server.log.commit();
    const [first, second] = await busy.answers(2);
    expect([first?.status, second?.status, second?.headers.connection]).toEqual([202, 503, 'close']);
    await busy.end();
    await drained;
    await expect(fetch(server.url)).rejects.toThrow();
    await server.stop();
    await server.stop();
  });

  test('drains no longer than its deadline', async () => {
    const server = await openServer();
    server.log.stalled = true;
    const lost = publish(server, '{}').catch(() => 'lost');
    await expect.poll(() => server.log.count).toBe(1);
    await server.drain(50);
    await server.stop();
    expect(await lost).toBe('lost');
  });

  test('does not share a port with another program', async () => {
    await using server = await openServer();
    await expect(openServer({}, { port: server.port })).rejects.toMatchObject({ code: 'HTTP_PORT_IN_USE' });
  });
});

test('counts together what two listeners of one program take', async () => {
  await using first = await openServer();
  await using second = await openServer({}, { metrics: first.metrics });
  await publish(first, '{}');
  await publish(second, '{}');
  expect(await first.metrics.registry.metrics()).toMatch(/outcome="accepted",reason=""\} 2/);
});

describe('HTTPS', () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-tls-'));
  const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
  const pair = { MILLRACE_HTTP_TLS_CERT: cert, MILLRACE_HTTP_TLS_KEY: key };
  beforeAll(() => {
    const subject = ['-subj', '/CN=localhost', '-days', '2'];
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    execFileSync('openssl', ['req', '-x509', ...kind, '-keyout', key, '-out', cert, ...subject], { stdio: 'ignore' });
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  test('is served with a certificate, and a bad one is refused at start', async () => {
    await using server = await openServer(pair);
    expect(server.url).toMatch(/^https:/);
    const status = await new Promise((resolve, reject) => {
      const options = { method: 'POST', rejectUnauthorized: false, headers: AUTH };
      request(server.url + PATH, options, (response) => resolve(response.resume().statusCode))
        .on('error', reject)
        .end('{"tls":true}');
    });
    expect(status).toBe(202);
    const wrong = { MILLRACE_HTTP_TLS_CERT: key, MILLRACE_HTTP_TLS_KEY: cert };
    await expect(openServer(wrong)).rejects.toMatchObject({ code: 'HTTP_TLS_INVALID' });
    await expect(openServer({ MILLRACE_HTTP_TLS_CERT: cert })).rejects.toMatchObject({ code: 'HTTP_TLS_INVALID' });
  });

  test.each([
    ['never begins a handshake', ''],
    ['begins one and says no more', '\x16\x03\x01\x02\x00\x01'],
    ['speaks something else', 'GET / HTTP/1.1\r\n\r\n'],
  ])(
    'who %s is not kept',
    async (_what, bytes) => {
      await using server = await openServer({ ...pair, MILLRACE_HTTP_HEAD_MS_MAX: '300' });
      const client = new RawClient(server.port);
      try {
        client.write(bytes);
        await vi.waitUntil(() => client.closed, { timeout: 20_000 });
      } finally {
        client.socket.destroy();
      }
    },
    30_000,
  );
});
