import { get } from 'node:http';
import { describe, expect, test } from 'vitest';
import { openServer } from '../testing/open-server.ts';
import { HttpIngestConfig } from './config.ts';
import { isProxies, TrustedProxies, trustsEverybody } from './proxies.ts';

describe('who asks', () => {
  const proxies = new TrustedProxies('10.0.0.0/8, 2001:db8::/32,192.0.2.1');
  test.each([
    ['is who has connected, whatever they say', '198.51.100.7', '203.0.113.9', '198.51.100.7'],
    ['is whom a trusted proxy heard', '10.1.2.3', '203.0.113.9', '203.0.113.9'],
    [
      'is the last that is not trusted: what stands before it anybody can write',
      '192.0.2.1',
      '1.1.1.1, 203.0.113.9, 10.9.9.9',
      '203.0.113.9',
    ],
    ['is the first when all are trusted', '10.1.2.3', '10.0.0.1, 10.0.0.2', '10.0.0.1'],
    ['is the proxy itself when it says nothing', '10.1.2.3', '', '10.1.2.3'],
    ['is the proxy itself when it says no address', '10.1.2.3', '203.0.113.9, unknown', '10.1.2.3'],
    ['may be on its own link', 'fe80::1%eth0', '203.0.113.9', 'fe80::1%eth0'],
    ['is told with its port', '10.1.2.3', '203.0.113.9:4711', '203.0.113.9'],
    ['is told by IPv6', '2001:db8::1', '[2001:db9::7]:4711', '2001:db9::7'],
    ['is told as IPv4 in IPv6', '10.1.2.3', '::ffff:203.0.113.9', '203.0.113.9'],
  ])('%s', (_, peer, forwarded, client) => {
    expect(proxies.clientOf(peer, forwarded)).toBe(client);
  });

  test('is who has connected where no proxy is named', () => {
    expect(new TrustedProxies('').clientOf('10.1.2.3', '203.0.113.9')).toBe('10.1.2.3');
  });

  test('reaches the handler', async () => {
    const serve = (settings: Record<string, string>) =>
      openServer(settings, { fallback: async (_, { remoteAddress }) => new Response(remoteAddress) });
    const headers = { 'x-forwarded-for': '203.0.113.9' };
    await using trusting = await serve({ MILLRACE_HTTP_TRUSTED_PROXIES: '127.0.0.1' });
    expect(await (await fetch(trusting.url, { headers })).text()).toBe('203.0.113.9');
    // What a client wrote and what the proxy adds may stand in two fields.
    const twice = new Promise<string>((resolve, reject) => {
      const asked = get(trusting.url, { headers: { 'x-forwarded-for': ['203.0.113.1', '203.0.113.9'] } }, (answer) => {
        answer.setEncoding('utf8').once('data', resolve);
      });
      asked.once('error', reject);
    });
    expect(await twice).toBe('203.0.113.9');
    await using other = await serve({});
    expect(await (await fetch(other.url, { headers })).text()).toBe('127.0.0.1');
  });
});

test('what is no address and no network is refused at the start', () => {
  for (const text of ['', '10.0.0.0/8', '::1', ' 10.0.0.1 , fd00::/8']) expect(isProxies(text), text).toBe(true);
  for (const text of ['proxy.example.org', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', '::/129', '*'])
    expect(HttpIngestConfig.safeParse({ MILLRACE_HTTP_TRUSTED_PROXIES: text }).success, text).toBe(false);
});

test('who believes everybody is known', () => {
  for (const text of ['0.0.0.0/0', '10.0.0.1, ::/0']) expect(trustsEverybody(text), text).toBe(true);
  for (const text of ['', '10.0.0.0/8', '0.0.0.0', '::1']) expect(trustsEverybody(text), text).toBe(false);
});
