import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type HttpHandler, StoreError } from '@millrace/core';
import { describe, expect, test } from 'vitest';
import { openServer } from '../testing/open-server.ts';
import { RawClient } from '../testing/raw-client.ts';

const serve = (fallback: HttpHandler, settings = {}) => openServer(settings, { fallback });

describe('the fallback', () => {
  test('gets method, URL, headers and body, and who asks', async () => {
    await using server = await serve(async (request, peer) =>
      Response.json({
        method: request.method,
        url: request.url,
        type: request.headers.get('content-type'),
        body: await request.text(),
        peer,
      }),
    );
    const response = await fetch(`${server.url}/things/1?a=b%20c`, {
      method: 'PATCH',
      body: '{"name":"\u00e4"}',
      headers: { 'content-type': 'application/json' },
    });
    expect(await response.json()).toEqual({
      method: 'PATCH',
      url: `${server.url}/things/1?a=b%20c`,
      type: 'application/json',
      body: '{"name":"\u00e4"}',
      peer: { remoteAddress: '127.0.0.1', tls: false, certificate: null },
    });
    expect(response.headers.get('content-length')).not.toBe(null);
  });

  test('answers GET, HEAD and DELETE of the publish paths, which are its own', async () => {
    await using server = await serve((request) => new Response(request.method === 'HEAD' ? null : request.method));
    const url = `${server.url}/channels/room/messages`;
    expect(await (await fetch(url)).text()).toBe('GET');
    expect(await (await fetch(url, { method: 'DELETE' })).text()).toBe('DELETE');
    expect((await fetch(url, { method: 'HEAD' })).status).toBe(200);
  });

  test('gives statuses, several cookies, and no body where none may be', async () => {
    await using server = await serve((request) => {
      if (request.url.endsWith('/204')) return new Response(null, { status: 204 });
      const headers = new Headers([
        ['set-cookie', 'a=1'],
        ['set-cookie', 'b=2'],
        ['location', '/things/1'],
      ]);
      return new Response('{}', { status: 201, headers });
    });
    const created = await fetch(server.url);
    expect([created.status, created.statusText, created.headers.get('location')]).toEqual([
      201,
      'Created',
      '/things/1',
    ]);
    expect(created.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
    const none = await fetch(`${server.url}/204`);
    expect([none.status, await none.text(), none.headers.get('content-length')]).toEqual([204, '', null]);
  });

  test('does not say twice whom the server lets in', async () => {
    const headers = { 'access-control-allow-origin': 'https://b.example.org' };
    const ask = async (settings: Record<string, string>) => {
      await using server = await serve(() => new Response('', { headers }), settings);
      const answer = await fetch(server.url, { headers: { origin: 'https://a.example.org' } });
      return answer.headers.get('access-control-allow-origin');
    };
    expect(await ask({ MILLRACE_HTTP_CORS_ORIGINS: 'https://a.example.org' })).toBe('https://a.example.org');
    expect(await ask({ MILLRACE_HTTP_CORS_ORIGINS: '' })).toBe('https://b.example.org');
  });

  test('streams what does not come at once', async () => {
    let go = (): void => {};
    const gone = new Promise<void>((resolve) => {
      go = resolve;
    });
    await using server = await serve(() => {
      const body = new ReadableStream<Uint8Array>({
        async start(stream) {
          stream.enqueue(new TextEncoder().encode('event: one\n\n'));
          await gone;
          stream.enqueue(new TextEncoder().encode('event: two\n\n'));
          stream.close();
        },
      });
      return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
    });
    const response = await fetch(server.url);
    expect(response.headers.get('transfer-encoding')).toBe('chunked');
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe('event: one\n\n');
    go();
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe('event: two\n\n');
    expect((await reader.read()).done).toBe(true);
  });

  test('is read no faster than the client takes it, and told when the client leaves', async () => {
    let produced = 0;
    let cancelled = false;
    let aborted = false;
    await using server = await serve((request) => {
      request.signal.addEventListener('abort', () => {
        aborted = true;
      });
      const body = new ReadableStream<Uint8Array>({
        pull(stream) {
          produced += 65_536;
          stream.enqueue(new Uint8Array(65_536));
        },
        cancel() {
          cancelled = true;
        },
      });
      return new Response(body);
    });
    const client = new RawClient(server.port);
    client.socket.pause();
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    let before = -1;
    while (before !== produced) {
      before = produced;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(produced).toBeLessThan(64_000_000);
    client.destroy();
    await expect.poll(() => [aborted, cancelled]).toEqual([true, true]);
  });

  test('is told when the client leaves before there is an answer, however long ago the request itself was let go', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    let aborted = false;
    let asked = false;
    await using server = await serve(({ signal }) => {
      signal.addEventListener('abort', () => {
        aborted = true;
      });
      asked = true;
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve(new Response())));
    });
    const client = new RawClient(server.port);
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await expect.poll(() => asked).toBe(true);
    for (let round = 0; round < 5; round++) {
      collect();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    client.destroy();
    await expect.poll(() => aborted, { timeout: 20_000 }).toBe(true);
  });

  test('leaves alone what was asked for behind it, and by whom nothing more will be said', async () => {
    const asked: string[] = [];
    await using server = await serve(async (request) => {
      const path = new URL(request.url).pathname;
      asked.push(path);
      await new Promise((resolve) => setTimeout(resolve, 50));
      return new Response(path);
    });
    const client = new RawClient(server.port);
    const head = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
    client.write(head('/1'));
    await expect.poll(() => asked.length).toBe(1);
    client.write(head('/2') + head('/3'));
    client.socket.end();
    expect((await client.answers(3)).map(({ body }) => body)).toEqual(['/1', '/2', '/3']);
    await client.end();
  });

  test('whose body fails midway never looks whole: the connection is cut, which is a fault only if nobody expected it', async () => {
    const failures = [new StoreError('STORE_QUERY_TOO_EXPENSIVE', 'never'), new Error('a bug')];
    await using server = await serve(() => {
      let parts = 0;
      const failure = failures.shift();
      const body = new ReadableStream<Uint8Array>({
        async pull(stream) {
          await new Promise((resolve) => setImmediate(resolve));
          if (parts++ < 3) stream.enqueue(new Uint8Array(10_000));
          else stream.error(failure);
        },
      });
      return new Response(body);
    });
    const faults = async () =>
      (await server.metrics.registry.metrics()).match(/^millrace_http_faults_total (\d+)/m)?.[1];
    for (const expected of ['0', '1']) {
      const response = await fetch(server.url);
      expect(response.status).toBe(200);
      await expect(response.arrayBuffer()).rejects.toThrow();
      expect(await faults()).toBe(expected);
    }
  });

  test('that throws is answered 500, and the next request as ever', async () => {
    let calls = 0;
    await using server = await serve(() => {
      if (calls++ === 0) throw new Error('a bug');
      return new Response('fine');
    });
    expect((await fetch(server.url)).status).toBe(500);
    expect(await (await fetch(server.url)).text()).toBe('fine');
    expect(await server.metrics.registry.metrics()).toContain('millrace_http_faults_total 1');
  });

  test('never sees a request that can\u2019t be one', async () => {
    await using server = await serve(() => new Response('seen'));
    for (const head of [
      'TRACE / HTTP/1.1\r\nHost: a',
      'GET / HTTP/1.1\r\nHost: a b',
      'GET / HTTP/1.1\r\nHost: a/b?c',
    ]) {
      const client = new RawClient(server.port);
      client.write(`${head}\r\n\r\n`);
      expect((await client.answer()).status).toBe(400);
      client.destroy();
    }
  });

  test('is 404 when there is none', async () => {
    await using server = await openServer();
    expect((await fetch(`${server.url}/things`)).status).toBe(404);
  });
});
