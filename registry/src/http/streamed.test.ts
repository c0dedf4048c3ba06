import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer, get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { StoreError } from '@millrace/core';
import { decompress } from 'fzstd';
import { expect, test } from 'vitest';
import { coded } from './coding.ts';
import { json } from './route.ts';
import { streamedAnswer, streamOf } from './streamed.ts';

const CSV = 'text/csv; charset=utf-8';
/** A listener before one answer; it cuts the connection when the body fails. */
async function serve(answer: (request: Request) => Promise<Response>) {
  const server = createServer((incoming, outgoing) => {
    const headers = new Headers();
    for (const [name, value] of Object.entries(incoming.headers))
      if (typeof value === 'string') headers.set(name, value);
    const request = new Request('http://here/', { headers });
    void answer(request).then((response) => {
      const sent = coded(request, response);
      outgoing.writeHead(sent.status, Object.fromEntries(sent.headers));
      const body = sent.body === null ? Readable.from([]) : Readable.fromWeb(sent.body as never);
      return pipeline(body, outgoing).catch(() => outgoing.destroy());
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
async function raw(url: string, coding: string): Promise<{ incoming: IncomingMessage; bytes: Buffer }> {
  const [incoming] = (await once(get(url, { headers: { 'accept-encoding': coding } }), 'response')) as [
    IncomingMessage,
  ];
  const parts: Buffer[] = [];
  for await (const part of incoming as AsyncIterable<Buffer>) parts.push(part);
  return { incoming, bytes: Buffer.concat(parts) };
}
const LINES = Array.from({ length: 400 }, (_, index) => `${`line ${index},`.repeat(300)}\n`);
async function* lines(): AsyncGenerator<Uint8Array> {
  for (const line of LINES) yield Buffer.from(line);
}

test.each([
  ['gzip', (bytes: Buffer) => gunzipSync(bytes)],
  ['br', (bytes: Buffer) => brotliDecompressSync(bytes)],
  ['zstd', (bytes: Buffer) => Buffer.from(decompress(bytes))],
])('a stream in %s is what it was, and less', async (coding, decode) => {
  await using server = await serve(() => streamedAnswer(lines(), { contentType: CSV, fileName: 'mäß "1".csv' }));
  const { incoming, bytes } = await raw(server.url, coding);
  expect(incoming.headers).toMatchObject({
    'content-encoding': coding,
    'content-type': CSV,
    vary: 'Accept, Accept-Encoding',
    'content-disposition': `attachment; filename="m__ _1_.csv"; filename*=UTF-8''m%C3%A4%C3%9F%20%221%22.csv`,
  });
  expect(decode(bytes).toString()).toBe(LINES.join(''));
  expect(bytes.length).toBeLessThan(LINES.join('').length / 4);
});

test.runIf(spawnSync('zstd', ['--version']).status === 0)('the zstd program reads its frames', async () => {
  await using server = await serve(() => streamedAnswer(lines(), { contentType: CSV }));
  const { bytes } = await raw(server.url, 'zstd');
  const { stdout } = spawnSync('zstd', ['-dc'], { input: bytes, maxBuffer: 64 * 1_024 * 1_024 });
  expect(stdout.equals(Buffer.from(LINES.join('')))).toBe(true);
});

test('a page is compressed from 1 KiB on, what is small or compressed already is left as it is', async () => {
  const request = new Request('http://here/', { headers: { 'accept-encoding': 'gzip' } });
  const small = json(200, { a: 'x'.repeat(900) });
  expect(coded(request, small)).toBe(small);
  const page = coded(request, json(200, { a: 'x'.repeat(2_000) }));
  expect(page.headers.get('content-encoding')).toBe('gzip');
  expect(page.headers.has('content-length')).toBe(false);
  expect(JSON.parse(gunzipSync(Buffer.from(await page.arrayBuffer())).toString())).toEqual({ a: 'x'.repeat(2_000) });
  for (const headers of [
    { 'content-type': 'application/vnd.apache.parquet' },
    { 'content-type': 'text/event-stream' },
    { 'content-type': 'application/x-ndjson', 'cache-control': 'no-cache, no-transform' },
  ]) {
    const answer = new Response('x'.repeat(5_000), { headers });
    expect(coded(request, answer)).toBe(answer);
  }
  const plain = coded(new Request('http://here/'), json(200, { a: 'x'.repeat(2_000) }));
  expect([plain.headers.get('content-encoding'), plain.headers.get('vary')]).toEqual([null, 'Accept-Encoding']);
});

test('what fails before the first byte is thrown, and what fails after it ends no body', async () => {
  async function* fails(after: number): AsyncGenerator<Uint8Array> {
    for (let count = 0; count < after; count++) yield Buffer.from(`${count}\n`.repeat(100_000));
    throw new StoreError('STORE_QUERY_TOO_EXPENSIVE', 'never', { limit: 'time' });
  }
  await expect(streamedAnswer(fails(0), { contentType: CSV })).rejects.toMatchObject({
    code: 'STORE_QUERY_TOO_EXPENSIVE',
  });
  await using server = await serve(() => streamedAnswer(fails(3), { contentType: CSV }));
  for (const coding of ['identity', 'gzip', 'br', 'zstd'])
    await expect(raw(server.url, coding)).rejects.toThrow('aborted');
});

test('reads no further than the client does, and ends with it', async () => {
  let given = 0;
  let ended: () => void = () => {};
  const over = new Promise<void>((resolve) => {
    ended = resolve;
  });
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        given++;
        yield Buffer.alloc(65_536, 'x');
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      ended();
    }
  }
  await using server = await serve(() => streamedAnswer(endless(), { contentType: CSV }));
  const [incoming] = (await once(get(server.url), 'response')) as [IncomingMessage];
  await once(incoming, 'readable');
  // Until the buffers of both sockets are full and nothing more is asked for.
  let before = -1;
  while (before !== given) {
    before = given;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  expect(given).toBeLessThan(1_000);
  incoming.destroy();
  await over;
});

test('ends with a client who is gone before its answer begins, or while it waits for more of it', async () => {
  for (const coding of ['gzip', 'br', 'zstd']) {
    const request = new Request('http://here/', { headers: { 'accept-encoding': coding } });
    let ended = 0;
    const never: AsyncIterator<Uint8Array> = {
      next: () => new Promise(() => {}),
      return: async () => {
        ended++;
        return { done: true, value: undefined };
      },
    };
    const answer = (): Response =>
      coded(
        request,
        new Response(streamOf({ [Symbol.asyncIterator]: () => never }), { headers: { 'content-type': CSV } }),
      );
    await answer().body?.cancel();
    expect(ended, coding).toBe(1);
    const waiting = answer().body?.getReader();
    void waiting?.read();
    await waiting?.cancel();
    expect(ended, coding).toBe(2);
  }
});
