import { AsyncLocalStorage } from 'node:async_hooks';
import { expect, test } from 'vitest';
import { InnerServer } from './inner-server.ts';

const ask = (path: string, headers: Record<string, string> = {}, body = '') => ({
  method: body === '' ? 'GET' : 'POST',
  path,
  headers: new Headers(headers),
  body: new TextEncoder().encode(body),
  trusted: { host: 'iot.example.org', 'x-forwarded-for': '192.0.2.1' },
});

test('gives a listener the request, who brought it, and what we vouch for; not what a client says of itself', async () => {
  const server = new InnerServer<string>((request, response, visit) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method, url, headers } = request;
      response.setHeader('set-cookie', ['a=1', 'b=2']);
      response.end(JSON.stringify({ method, url, headers, visit, body: Buffer.concat(chunks).toString() }));
    });
  });
  const spoofed = { 'x-forwarded-for': '10.0.0.1', 'x-forwarded-host': 'evil', forwarded: 'for=evil', cookie: 'c=3' };
  const response = await server.fetch(ask('/x?y=1', spoofed, 'grant_type=x'), 'a visit');
  expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
  const seen = (await response.json()) as Record<string, unknown>;
  expect(seen).toMatchObject({ method: 'POST', url: '/x?y=1', visit: 'a visit', body: 'grant_type=x' });
  expect(seen.headers).toMatchObject({ host: 'iot.example.org', 'x-forwarded-for': '192.0.2.1', cookie: 'c=3' });
  expect(JSON.stringify(seen.headers)).not.toContain('evil');
});

test('keeps many at once apart, and what belongs to each', async () => {
  const storage = new AsyncLocalStorage<number>();
  const server = new InnerServer<number>((request, response, visit) => {
    setImmediate(() => response.end(`${request.url} ${visit} ${storage.getStore()}`));
  });
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, index) =>
      storage.run(index, async () => (await server.fetch(ask(`/${index}`), index)).text()),
    ),
  );
  expect(answers).toEqual(Array.from({ length: 50 }, (_, index) => `/${index} ${index} ${index}`));
});

test('rejects when the listener breaks off, and answers the next', async () => {
  const server = new InnerServer<boolean>((_, response, fails) => {
    if (fails) response.destroy();
    else response.writeHead(204).end();
  });
  await expect(server.fetch(ask('/'), true)).rejects.toThrow();
  expect((await server.fetch(ask('/'), false)).status).toBe(204);
});
