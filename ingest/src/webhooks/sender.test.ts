import type { lookup } from 'node:dns';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isPublicAddress } from '../public-address.ts';
import { createWebhookSender, type SenderOptions } from './sender.ts';
import { signedHeaders } from './signature.ts';

const request = { id: 'msg', headers: { 'content-type': 'application/json' }, body: Buffer.from('{}'), messages: 1 };
const options: SenderOptions = { isPrivateAllowed: false, timeoutMs: 20_000, version: '1.2.3' };
const targetOf = (url: string) => ({ url, secrets: [Buffer.from('secret').toString('base64')], headers: {} });

/** Names that stand for what a test says. */
const standingFor = (...addresses: string[]): typeof lookup =>
  ((_name: string, _wanted: unknown, done: (error: null, found: unknown) => void) =>
    done(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    )) as unknown as typeof lookup;

describe('webhooks reach', () => {
  let server: Server;
  let port = 0;
  let requests = 0;

  beforeAll(async () => {
    server = createServer((incoming, response) => {
      requests++;
      if (incoming.url === '/redirect') response.writeHead(302, { location: '/elsewhere' }).end();
      else if (incoming.url === '/silent') return;
      else if (incoming.url === '/endless') {
        const more = (): void => {
          while (response.write(Buffer.alloc(16_384, 'a')));
        };
        response.on('drain', more).on('error', () => undefined);
        more();
      } else if (incoming.url === '/later') response.writeHead(429, { 'retry-after': '7' }).end('\u0000slow \n down');
      else response.writeHead(204).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    port = (server.address() as AddressInfo).port;
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  test('no address that is not public, however it is written', async () => {
    const sender = createWebhookSender(options);
    const hosts = [
      '127.0.0.1',
      '0x7f.1',
      '2130706433',
      '017700000001',
      '[::1]',
      '[::ffff:127.0.0.1]',
      '0.0.0.0',
      '[::]',
    ];
    const others = ['10.0.0.1', '169.254.169.254', '192.168.1.1', '[fe80::1]', '[fd00::1]', '[64:ff9b::7f00:1]'];
    const before = requests;
    for (const host of [...hosts, ...others]) {
      const outcome = await sender.send(targetOf(`http://${host}:${port}/`), request);
      expect(outcome, host).toMatchObject({ status: null, error: 'the address is not public' });
    }
    expect(requests).toBe(before);
  });

  test('no name that stands for one, though others of its addresses are public', async () => {
    for (const addresses of [['127.0.0.1'], ['93.184.215.14', '10.0.0.1'], ['::ffff:10.0.0.1']]) {
      const sender = createWebhookSender({ ...options, resolve: standingFor(...addresses) });
      const outcome = await sender.send(targetOf(`http://hooks.example.org:${port}/`), request);
      expect(outcome.error).toBe('the host has an address that is not public');
    }
  });

  test('no name that comes to stand for one after it was looked at', async () => {
    let asked = 0;
    const given = new AbortController();
    const turning = ((name: string, wanted: object, done: never) => {
      // A public address is not really called.
      given.abort();
      standingFor(asked++ === 0 ? '203.0.114.1' : '127.0.0.1')(name, wanted, done);
    }) as unknown as typeof lookup;
    const before = requests;
    const sender = createWebhookSender({ ...options, resolve: turning });
    const url = `http://hooks.example.org:${port}/`;
    // What is checked is what is connected with: there is no second question in between.
    await sender.send(targetOf(url), request, given.signal);
    expect(asked).toBe(1);
    expect((await sender.send(targetOf(url), request)).error).toBe('the host has an address that is not public');
    expect(requests).toBe(before);
  });

  test('no port of other services', async () => {
    const sender = createWebhookSender({ ...options, resolve: standingFor('93.184.215.14') });
    for (const [scheme, at] of [
      ['http', 25],
      ['https', 22],
      ['http', 587],
    ])
      expect((await sender.send(targetOf(`${scheme}://example.org:${at}/`), request)).error).toMatch(/^the port/);
  });

  test('what is private where that is allowed', async () => {
    const sender = createWebhookSender({ ...options, isPrivateAllowed: true });
    const outcome = await sender.send(targetOf(`http://127.0.0.1:${port}/`), request);
    expect(outcome).toMatchObject({ status: 204, error: null });
  });

  test('nothing by a redirect', async () => {
    const sender = createWebhookSender({ ...options, isPrivateAllowed: true });
    const before = requests;
    const outcome = await sender.send(targetOf(`http://127.0.0.1:${port}/redirect`), request);
    expect(outcome).toMatchObject({ status: 302, error: 'a redirect, which is not followed' });
    expect(requests).toBe(before + 1);
  });

  test('who answers endlessly, or never, and go on', async () => {
    const sender = createWebhookSender({ ...options, isPrivateAllowed: true });
    expect(await sender.send(targetOf(`http://127.0.0.1:${port}/endless`), request)).toMatchObject({ status: 200 });
    const hasty = createWebhookSender({ ...options, isPrivateAllowed: true, timeoutMs: 100 });
    const outcome = await hasty.send(targetOf(`http://127.0.0.1:${port}/silent`), request);
    expect(outcome).toMatchObject({ status: null, error: 'no answer within 100 ms' });
  });

  test('who asks for time, and tell what was said without what would spoil a screen', async () => {
    const sender = createWebhookSender({ ...options, isPrivateAllowed: true });
    const outcome = await sender.send(targetOf(`http://127.0.0.1:${port}/later`), request);
    expect(outcome).toMatchObject({ status: 429, error: 'slow down', retryAfterMs: 7_000 });
  });
});

test('public addresses are public', () => {
  for (const address of ['1.1.1.1', '93.184.215.14', '172.15.0.1', '172.32.0.1', '2606:4700::1111', '2a00:1450::1'])
    expect(isPublicAddress(address), address).toBe(true);
  for (const address of [
    '100.64.0.1',
    '198.18.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '2002:7f00:1::',
    '2001:db8::1',
    'ff02::1',
    'x',
  ])
    expect(isPublicAddress(address), address).toBe(false);
});

test('a signature is that of the specification', () => {
  // The example of the libraries of Standard Webhooks.
  const headers = signedHeaders(
    'msg_p5jXN8AQM9LWM0D4loKWxJek',
    Buffer.from('{"test": 2432232314}'),
    ['MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
    1_614_265_330_000,
  );
  expect(headers['webhook-signature']).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
});
