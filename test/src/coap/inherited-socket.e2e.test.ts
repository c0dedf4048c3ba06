import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Millrace, Rest } from '../millrace.ts';
import { counted } from './counted.ts';
import { NpmCoap } from './npm-coap.ts';

const SCRIPT = new URL('./reuseport.py', import.meta.url).pathname;

const nodes = [new Millrace(), new Millrace()];
let port = 0;

beforeAll(async () => {
  const probe = createSocket('udp4').bind(0, '127.0.0.1');
  await once(probe, 'listening');
  port = probe.address().port;
  await new Promise<void>((resolve) => probe.close(() => resolve()));
  for (const [index, node] of nodes.entries()) {
    node.launcher = ['python3', SCRIPT, String(port), index === 0 ? 'listen_fds' : 'coap_fd'];
  }
  await Promise.all(nodes.map((node) => node.start()));
}, 180_000);
afterAll(async () => {
  await Promise.all(nodes.map((node) => node.dispose()));
}, 120_000);

test('two nodes share a port by sockets that a parent opened, and a device stays with one of them', {
  timeout: 120_000,
}, async () => {
  expect(nodes.map(({ coap }) => coap)).toEqual(Array(2).fill(`coap://127.0.0.1:${port}`));
  const admins = await Promise.all(nodes.map((node) => Rest.asAdmin(node)));
  const asked = (): Promise<number[]> =>
    Promise.all(admins.map((admin) => counted(admin, 'millrace_coap_requests_total{method="GET",class="2.xx"}')));
  const spread = [0, 0];
  // By chance all of them are with one node once in 2^31 runs.
  for (let device = 0; device < 32; device++) {
    const client = new NpmCoap();
    const before = await asked();
    // At once: the package takes another socket when it has been idle.
    const uri = `coap://127.0.0.1:${port}/.well-known/core?rt=none`;
    const answers = await Promise.all([0, 1, 2].map(() => client.ask({ method: 'GET', uri })));
    expect(answers.map(({ code }) => code)).toEqual(Array(3).fill('2.05'));
    client.close();
    const after = await asked();
    const of = after.map((count, index) => count - (before[index] as number));
    expect(of.toSorted()).toEqual([0, 3]);
    const at = of.indexOf(3);
    spread[at] = (spread[at] as number) + 1;
  }
  expect(spread.every((count) => count > 0)).toBe(true);
});
