import { EnvelopeReader } from '@millrace/core';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { KEY } from '../testing/gate.ts';
import { type OpenServer, openServer } from '../testing/open-server.ts';
import { publishRequest, RawClient } from '../testing/raw-client.ts';

let server: OpenServer;
const clients: RawClient[] = [];
beforeAll(async () => {
  server = await openServer(
    { MILLRACE_HTTP_HEAD_MS_MAX: '300', MILLRACE_HTTP_REQUEST_MS_MAX: '600', MILLRACE_HTTP_BODY_BYTES_MAX: '65536' },
    {
      fallback: async (request) => new Response(`${request.method} ${await request.text()}`),
      largeBodies: new Map([['/things/bulk', 200_000]]),
    },
  );
});
afterAll(async () => {
  for (const client of clients) client.destroy();
  await server.stop();
});
beforeEach(() => {
  server.log.records = [];
  server.log.stalled = false;
  server.gate.cold = false;
});
const open = (): RawClient => {
  const client = new RawClient(server.port);
  clients.push(client);
  return client;
};
const AUTH = { Authorization: `Thing ${KEY}`, 'Content-Type': 'application/json' };
const subtopics = (): string[] =>
  (server.log.records ?? []).map((record) => {
    const reader = new EnvelopeReader();
    reader.open(record);
    return reader.subtopic;
  });

describe('pipelining', () => {
  const sizes = Array.from({ length: 50 }, (_, index) => (index % 7 === 3 ? 30_000 + index : 10 + index));
  const requests = sizes.map((size, index) =>
    publishRequest(`/channels/room/messages/${index}`, `{"x":"${'y'.repeat(size)}"}`, AUTH),
  );
  const inOrder = sizes.map((_, index) => String(index));

  test.each([
    ['in one piece', Number.POSITIVE_INFINITY, false],
    ['in pieces that cut heads and bodies', 997, false],
    ['while each is decided by the registry', Number.POSITIVE_INFINITY, true],
  ])('answers 50 requests of mixed sizes, %s, in order', async (_name, pieceSize, cold) => {
    server.gate.cold = cold;
    const client = open();
    const bytes = Buffer.concat(requests);
    for (let at = 0; at < bytes.length; at += pieceSize) client.write(bytes.subarray(at, at + pieceSize));
    const answers = await client.answers(50);
    expect(answers.map((answer) => answer.status)).toEqual(sizes.map(() => 202));
    expect(subtopics()).toEqual(inOrder);
    const stored = (server.log.records ?? []).map((record) => {
      const reader = new EnvelopeReader();
      reader.open(record);
      return Buffer.from(reader.id).toString('hex');
    });
    const answered = answers.map((answer) => (JSON.parse(answer.body) as { id: string }).id.replaceAll('-', ''));
    expect(answered).toEqual(stored);
  });

  test('keeps early refusals and other paths in their places', async () => {
    const client = open();
    client.write(
      Buffer.concat([
        publishRequest('/channels/room/messages', '1', AUTH),
        publishRequest('/channels/room/messages', '2', {}),
        publishRequest('/things', 'three', {}),
        publishRequest('/channels/nowhere/messages', '4', AUTH),
        Buffer.from('GET /x HTTP/1.1\r\nHost: a\r\n\r\n'),
        publishRequest('/channels/room/messages/a+', '6', AUTH),
        publishRequest('/channels/room/messages', '7', AUTH),
      ]),
    );
    const answers = await client.answers(7);
    expect(answers.map((answer) => answer.status)).toEqual([202, 401, 200, 404, 200, 400, 202]);
    expect(answers[2]?.body).toBe('POST three');
  });

  test('reads no further for a client that takes no answers, until it does', async () => {
    server.log.records = null;
    const before = server.log.count;
    const client = open();
    client.socket.pause();
    const count = 60_000;
    client.write(
      Buffer.concat(Array.from({ length: count }, () => publishRequest('/channels/room/messages', '1', AUTH))),
    );
    let seen = -1;
    while (seen !== server.log.count) {
      seen = server.log.count;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    expect(seen - before).toBeLessThan(count);
    client.socket.resume();
    await expect.poll(() => server.log.count - before, { timeout: 20_000 }).toBe(count);
    client.destroy();
  });

  test('answers what came before a malformed request, then that, then closes', async () => {
    const client = open();
    const request = publishRequest('/channels/room/messages', '{}', AUTH);
    client.write(Buffer.concat([request, request, Buffer.from('nonsense\r\n\r\n'), request]));
    expect((await client.answers(4)).map((answer) => answer.status)).toEqual([202, 202, 400]);
    expect(server.log.records?.length).toBe(2);
  });

  test('reads no more than 64 requests ahead of the log', async () => {
    server.log.stalled = true;
    const client = open();
    client.write(
      Buffer.concat(Array.from({ length: 200 }, () => publishRequest('/channels/room/messages', '1', AUTH))),
    );
    await expect.poll(() => server.log.records?.length).toBe(64);
    server.log.stalled = false;
    server.log.commit();
    const answers = await client.answers(200);
    expect(answers.length).toBe(200);
  });
});

describe('bodies', () => {
  const chunked = (chunks: string[], headers = ''): string =>
    `POST /channels/room/messages HTTP/1.1\r\nHost: a\r\nAuthorization: Thing ${KEY}\r\nTransfer-Encoding: chunked\r\n${headers}\r\n${chunks.join('')}`;

  test('takes chunked ones, with extensions and trailers', async () => {
    const client = open();
    client.write(chunked(['5;a=b\r\n{"a":\r\n', '2\r\n1}\r\n', '0\r\nX-Sum: 1\r\n\r\n']));
    expect((await client.answer()).status).toBe(202);
    const reader = new EnvelopeReader();
    reader.open(server.log.records?.[0] ?? new Uint8Array());
    expect(reader.payload.toString()).toBe('{"a":1}');
  });

  test('takes chunked ones byte by byte', async () => {
    const client = open();
    for (const byte of chunked(['3\r\nabc\r\n', '1\r\nd\r\n', '0\r\n\r\n'])) client.write(byte);
    expect((await client.answer()).status).toBe(202);
  });

  test('answers 413 from Content-Length alone, before the body', async () => {
    const client = open();
    client.write(`POST /channels/room/messages HTTP/1.1\r\nHost: a\r\nAuthorization: Thing ${KEY}\r\n`);
    client.write('Content-Length: 65537\r\n\r\n');
    const answer = await client.answer();
    expect([answer.status, answer.headers.connection]).toEqual([413, 'close']);
    await client.end();
  });

  test('answers 413 to a chunked body that grows beyond the limit', async () => {
    const client = open();
    client.write(chunked(Array.from({ length: 20 }, () => `1000\r\n${'x'.repeat(4_096)}\r\n`)));
    expect((await client.answer()).status).toBe(413);
  });

  test('takes larger bodies on the paths that are for them, and on no other', async () => {
    const post = async (path: string, body: string | Buffer): Promise<number> => {
      const client = open();
      client.write(body instanceof Buffer ? body : publishRequest(path, body, AUTH));
      return (await client.answer()).status;
    };
    expect(await post('/things/bulk', 'x'.repeat(150_000))).toBe(200);
    expect(await post('/things/bulk?org=a', 'x'.repeat(150_000))).toBe(200);
    expect(await post('/things/bulk', 'x'.repeat(200_001))).toBe(413);
    expect(await post('/things', 'x'.repeat(150_000))).toBe(413);
    const pieces = (count: number): string =>
      `POST /things/bulk HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${`1000\r\n${'x'.repeat(4_096)}\r\n`.repeat(count)}0\r\n\r\n`;
    expect(await post('', Buffer.from(pieces(40)))).toBe(200);
    expect(await post('', Buffer.from(pieces(60)))).toBe(413);
  });

  test('answers 413 to the client that still sends, instead of a reset', async () => {
    const client = open();
    client.write(publishRequest('/channels/room/messages', 'x'.repeat(2_000_000), AUTH));
    expect((await client.answer()).status).toBe(413);
  });

  test.each(['z\r\n', '-1\r\n', '1\r\nabc\r\n', 'ffffffffffffffff\r\n'])(
    'answers the chunk %j with 4xx',
    async (chunk) => {
      const client = open();
      client.write(chunked([chunk]));
      expect([400, 413]).toContain((await client.answer()).status);
      await client.end();
    },
  );

  test('says 100 to a client that expects it, and nothing to one that need not send', async () => {
    const client = open();
    const head = (key: string): string =>
      `POST /channels/room/messages HTTP/1.1\r\nHost: a\r\nAuthorization: Thing ${key}\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n`;
    client.write(head(KEY));
    await expect.poll(() => client.received).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    client.write('{}');
    expect((await client.answer()).status).toBe(202);
    const refused = open();
    refused.write(head('').replace(/Authorization.*\r\n/, ''));
    const answer = await refused.answer();
    expect([answer.status, answer.headers.connection]).toEqual([401, 'close']);
  });
});

describe('slow and broken clients', () => {
  test('answers 408 to a head that does not end, and to a body that does not come', async () => {
    const head = open();
    head.write('POST /channels/room/messages HTTP/1.1\r\nHo');
    const body = open();
    body.write(publishRequest('/channels/room/messages', 'abcd', AUTH).subarray(0, -2));
    expect((await head.answer()).status).toBe(408);
    expect((await body.answer()).status).toBe(408);
    await Promise.all([head.end(), body.end()]);
    expect(server.log.records).toEqual([]);
  });

  test('answers 408 also to one that drips', async () => {
    const client = open();
    client.write('POST / HTTP/1.1\r\n');
    const drip = setInterval(() => client.write('X-A: b\r\n'), 20);
    const answer = await client.answer();
    clearInterval(drip);
    expect(answer.status).toBe(408);
  });

  test('answers a client that ended its side', async () => {
    const client = open();
    client.write(publishRequest('/channels/room/messages', '{}', AUTH));
    client.socket.end();
    expect((await client.answer()).status).toBe(202);
    await client.end();
  });

  test('keeps what a client that left has sent, and serves the others', async () => {
    server.log.stalled = true;
    const gone = open();
    gone.write(publishRequest('/channels/room/messages', '{}', AUTH));
    await expect.poll(() => server.log.records?.length).toBe(1);
    gone.destroy();
    await new Promise((resolve) => setTimeout(resolve, 20));
    server.log.stalled = false;
    server.log.commit();
    const other = open();
    other.write(publishRequest('/channels/room/messages', '{}', AUTH));
    expect((await other.answer()).status).toBe(202);
  });

  test('gives back the room of a body that never came', async () => {
    const gauge = async (): Promise<string> => await server.metrics.registry.metrics();
    const client = open();
    client.write(publishRequest('/channels/room/messages', 'x'.repeat(60_000), AUTH).subarray(0, 30_000));
    await expect.poll(gauge).toMatch(/in_flight_bytes\{protocol="http"\} [1-9]/);
    client.destroy();
    await expect.poll(gauge).toMatch(/in_flight_bytes\{protocol="http"\} 0/);
  });
});

describe('heads', () => {
  test.each([
    ['GET / HTTP/1.1\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost : a\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n', 400],
    ['GET  / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['GET /\u00e4 HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['G(T / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505],
    ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n', 501],
    ['POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
    [`GET / HTTP/1.1\r\nHost: a\r\n${'X: y\r\n'.repeat(101)}\r\n`, 431],
    [`GET /${'x'.repeat(17_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, 431],
    ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 tls on the plain port \r\n\r\n', 400],
  ])('answers %j with %i and closes', async (text, status) => {
    const client = open();
    client.write(text);
    const answer = await client.answer();
    expect([answer.status, answer.headers.connection]).toEqual([status, 'close']);
    await client.end();
  });

  test('speaks HTTP/1.0: closes by default, keeps alive when asked', async () => {
    const closing = open();
    closing.write('GET / HTTP/1.0\r\n\r\n');
    expect((await closing.answer()).headers.connection).toBe('close');
    await closing.end();
    const keeping = open();
    keeping.write('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
    expect((await keeping.answer()).headers.connection).toBe('keep-alive');
    keeping.write('\r\nGET / HTTP/1.0\r\n\r\n');
    expect((await keeping.answer()).status).toBe(200);
  });

  test('closes after the answer when the client asks', async () => {
    const client = open();
    client.write(publishRequest('/channels/room/messages', '{}', { ...AUTH, Connection: 'close' }));
    const answer = await client.answer();
    expect([answer.status, answer.headers.connection]).toEqual([202, 'close']);
    await client.end();
  });

  test('takes no message that comes after the last one of a connection, for it could not be answered', async () => {
    const client = open();
    client.write(
      Buffer.concat([
        publishRequest('/channels/room/messages/last', '{}', { ...AUTH, Connection: 'close' }),
        publishRequest('/channels/room/messages/after', '{}', AUTH),
      ]),
    );
    expect((await client.answer()).status).toBe(202);
    await client.end();
    expect(subtopics()).toEqual(['last']);
  });
});
