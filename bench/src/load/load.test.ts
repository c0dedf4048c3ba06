import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { LoadPlan } from './plan.ts';
import { runLoad } from './run.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

type Seen = { path: string; authorization: string | undefined; body: string };

/** @returns url, and what came in */
async function serve(status: (count: number) => number): Promise<{ url: string; seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      seen.push({ path: request.url ?? '', authorization: request.headers.authorization, body });
      const code = status(seen.length);
      if (code === 0) {
        response.socket?.destroy();
        return;
      }
      // Answers of changing sizes, in two pieces: nothing may be counted twice or left out.
      const text = 'x'.repeat(seen.length % 5);
      response.writeHead(code, { 'content-length': text.length });
      response.flushHeaders();
      setImmediate(() => response.end(text));
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

const plan = (url: string): LoadPlan => ({
  url,
  targets: [
    { channel: 'one', key: 'key-one' },
    { channel: 'two', key: 'key-two' },
  ],
  connections: 4,
  recordCount: 10,
  seconds: 0.5,
});

test('closed loop: counts every answer once, each key on its own channel', async () => {
  const { url, seen } = await serve(() => 202);
  const figures = await runLoad(plan(url));
  expect(figures.accepted).toBeGreaterThan(0);
  expect(figures.accepted).toBe(seen.length);
  expect(figures.refused).toEqual({});
  expect(new Set(seen.map(({ path, authorization }) => `${path} ${authorization}`))).toEqual(
    new Set(['/channels/one/messages Thing key-one', '/channels/two/messages Thing key-two']),
  );
  for (const { body } of seen) expect(JSON.parse(body)).toHaveLength(10);
});

test('open loop: offers what was asked for, no more, and waits for the last answer', async () => {
  const { url, seen } = await serve(() => 202);
  const figures = await runLoad({ ...plan(url), messagesPerSecond: 200 });
  expect(seen.length).toBe(100);
  expect(figures.accepted).toBe(100);
});

test('refusals and lost connections are told apart from what was accepted', async () => {
  const { url, seen } = await serve((count) => (count % 5 === 0 ? 503 : count % 7 === 0 ? 0 : 202));
  const figures = await runLoad(plan(url));
  const { '503': refused = 0, lost = 0 } = figures.refused;
  expect(refused).toBeGreaterThan(0);
  expect(lost).toBeGreaterThan(0);
  expect(figures.accepted + refused + lost).toBe(seen.length);
});
