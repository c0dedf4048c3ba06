import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EVERY_SUBTOPIC, MillraceError } from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHANNEL, KEY, ORG, THING } from '../testing/gate.ts';
import { type OpenServer, openServer } from '../testing/open-server.ts';
import { questionOf, questionOfRequest } from './question.ts';

class Away extends MillraceError<'AWAY'> {}

describe('what a request would need', () => {
  const message = (actions: string[], channel: string, subtopic: string, org: string | null = null) =>
    expect.objectContaining({ kind: 'message', actions, channel, subtopic, org });
  test.each([
    ['POST', '/channels/room/messages', message(['publish'], 'room', '')],
    ['POST', '/channels/room/messages/a/b%20c?x=1', message(['publish'], 'room', 'a/b c')],
    ['POST', '/channels/room/messages/batch', message(['publish'], 'room', '')],
    ['POST', '/channels/room/msg', message(['publish'], 'room', '')],
    ['POST', '/http/channels/room/messages', message(['publish'], 'room', '')],
    ['POST', '/m/acme/c/room/a', message(['publish'], 'room', 'a', 'acme')],
    ['GET', '/channels/room/messages', message(['subscribe'], 'room', EVERY_SUBTOPIC)],
    ['GET', '/channels/room/messages?subtopic=a/b', message(['subscribe'], 'room', 'a/b')],
    ['GET', '/channels/room/messages/live', message(['subscribe'], 'room', EVERY_SUBTOPIC)],
    ['GET', '/channels/room/messages/live?subtopic=a/%2B', message(['subscribe'], 'room', EVERY_SUBTOPIC)],
    ['GET', '/ws/channels/room/messages/a', message(['subscribe', 'publish'], 'room', 'a')],
    ['GET', '/ws', { kind: 'identity' }],
    ['GET', '/things/x', { kind: 'identity' }],
    ['DELETE', '/things/x', { kind: 'identity' }],
    // What is wrong with it is told by who answers it.
    ['POST', '/channels/room/messages/a//b', { kind: 'identity' }],
    ['GET', 'things', expect.objectContaining({ kind: 'bad' })],
  ])('%s %s', (method, uri, question) => {
    expect(questionOfRequest(method, uri)).toEqual(question);
  });

  test.each([
    ['', null],
    ['action=publish&object=channels/room/messages/a/b', message(['publish'], 'room', 'a/b')],
    [
      'action=things.read&object=things/x&org=o',
      { kind: 'control', action: 'things.read', object: 'things/x', org: 'o' },
    ],
    ['action=publish', expect.objectContaining({ kind: 'bad' })],
    ['action=publish&object=things/x', expect.objectContaining({ kind: 'bad' })],
    // PostgreSQL takes no text with a NUL: asked so, it would be a fault.
    ['action=publish&object=channels/%00/messages', expect.objectContaining({ kind: 'bad' })],
    ['action=publish&object=channels/a%20b/messages', expect.objectContaining({ kind: 'bad' })],
    ['action=things.read&object=things/%00', expect.objectContaining({ kind: 'bad' })],
    ['action=Robert%27)&object=x', expect.objectContaining({ kind: 'bad' })],
  ])('?%s', (query, question) => {
    expect(questionOf(new URLSearchParams(query))).toEqual(question);
  });
});

describe('a proxy that asks before it passes a request on', () => {
  let server: OpenServer;
  beforeAll(async () => {
    server = await openServer({ MILLRACE_HTTP_TRUSTED_PROXIES: '127.0.0.1' }, { decisions: true });
  });
  afterAll(() => server.stop());
  const ask = (headers: Record<string, string>, query = ''): Promise<Response> =>
    fetch(`${server.url}/auth/decision${query}`, { headers });
  const original = (method: string, uri: string) => ({ 'x-original-method': method, 'x-original-uri': uri });
  const mine = { authorization: `Thing ${KEY}` };

  test('is told to let it pass, and who it is', async () => {
    const answer = await ask({ ...mine, ...original('POST', '/channels/room/messages') });
    expect(answer.status).toBe(204);
    expect(answer.headers.get('x-millrace-subject')).toBe(THING);
    expect(answer.headers.get('x-millrace-kind')).toBe('thing');
    expect(answer.headers.get('x-millrace-org')).toBe(ORG);
    expect(answer.headers.get('x-millrace-channel')).toBe(CHANNEL);
    expect(answer.headers.get('cache-control')).toBe('no-store');
  });

  test('asks in the words of other proxies, too', async () => {
    const words = { 'x-forwarded-method': 'POST', 'x-forwarded-uri': '/channels/secret/messages' };
    expect((await ask({ ...mine, ...words })).status).toBe(403);
    expect((await ask({ ...mine, ...words, 'x-forwarded-uri': '/channels/room/messages' })).status).toBe(204);
  });

  test.each([
    ['nobody says who asks', {}, original('GET', '/things'), 401],
    ['the key is unknown', { authorization: 'Thing nobody-has-this-one' }, original('GET', '/things'), 401],
    ['the client is disabled', { authorization: 'Thing disabled-key' }, original('GET', '/things'), 403],
    ['it may not publish there', mine, original('POST', '/channels/other/messages'), 403],
    ['there is no such channel', mine, original('POST', '/channels/nowhere/messages'), 403],
    ['the channel is in another organisation', mine, original('POST', '/m/acme/c/room'), 403],
    ['the socket may neither read nor write', mine, original('GET', '/ws/channels/secret/messages'), 403],
    ['it is known, and more is judged by who answers', mine, original('GET', '/things'), 204],
    ['a ticket is judged where it is spent', {}, original('GET', '/ws/channels/room/messages?ticket=t'), 204],
    ['so on the path of messages itself', {}, original('GET', '/channels/room/messages?ticket=t'), 204],
    ['so on the socket for many channels', {}, original('GET', '/ws?ticket=t'), 204],
    ['nobody would judge it', {}, original('GET', '/wsx/dashboard?ticket=t'), 401],
    ['it could publish', {}, original('POST', '/channels/room/messages?ticket=t'), 401],
    [
      'a browser shows its key in the address',
      {},
      original('GET', `/ws/channels/room/messages?authorization=${KEY}`),
      204,
    ],
    [
      'a browser asks whether its page may ask, and shows nobody',
      {},
      original('OPTIONS', '/channels/room/messages'),
      204,
    ],
    ['it asks so of what is no path of messages', {}, original('OPTIONS', '/things'), 401],
    ['only a socket may', {}, original('GET', `/things?authorization=${KEY}`), 401],
  ])('when %s', async (_, who, about, status) => {
    const answer = await ask({ ...(who as Record<string, string>), ...about });
    expect(answer.status).toBe(status);
    if (status === 401) expect(answer.headers.get('www-authenticate')).toContain('Thing');
  });

  test('asks about something of its own', async () => {
    expect((await ask(mine, '?action=things.read&object=things')).status).toBe(204);
    expect((await ask(mine, '?action=things.read')).status).toBe(400);
    const preflight = original('OPTIONS', '/channels/room/messages');
    // A ticket opens what is ours alone.
    const ticket = original('GET', '/ws/channels/room/messages?ticket=t');
    expect((await ask(ticket, '?action=things.read&object=things')).status).toBe(401);
    expect((await ask(preflight, '?action=things.read&object=things')).status).toBe(401);
    expect((await ask(mine, '?action=publish&object=channels/secret/messages')).status).toBe(403);
  });

  test('hears "later" when the registry is away, never yes', async () => {
    await using away = await openServer({}, { decisions: true });
    away.gate.failure = new Away('AWAY', 'later');
    const answer = await fetch(`${away.url}/auth/decision`, { headers: mine });
    expect(answer.status).toBe(503);
    expect(answer.headers.get('retry-after')).toBe('1');
  });
});

describe('what a trusted proxy says of its client', () => {
  let directory: string;
  let pem: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'millrace-shown-'));
    const file = join(directory, 'device.pem');
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
        ...['-keyout', join(directory, 'device.key'), '-out', file, '-days', '2', '-subj', '/CN=device'],
      ],
      { stdio: 'ignore' },
    );
    pem = readFileSync(file, 'utf8');
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  const publish = (server: OpenServer, headers: Record<string, string>): Promise<Response> =>
    fetch(`${server.url}/channels/room/messages`, { method: 'POST', body: '[{"n":"a","v":1}]', headers });

  test('is believed: the certificate stands for a key, in either way of writing it', async () => {
    await using server = await openServer({ MILLRACE_HTTP_TRUSTED_PROXIES: '127.0.0.1' });
    const certificate = new X509Certificate(pem);
    const fingerprint = certificate.fingerprint256.replaceAll(':', '').toLowerCase();
    server.gate.holders.set(fingerprint, KEY);
    for (const headers of [
      { 'x-client-cert': encodeURIComponent(pem) },
      { 'client-cert': `:${certificate.raw.toString('base64')}:` },
    ] as Record<string, string>[]) {
      expect((await publish(server, headers)).status).toBe(202);
      const [first = '', value = ''] = Object.entries(headers)[0] ?? [];
      expect((await publish(server, { [first]: value.slice(0, -40) })).status).toBe(401);
    }
    expect((await publish(server, { 'x-client-cert': encodeURIComponent(pem + pem) })).status).toBe(401);
    expect(server.gate.contexts.map(({ mutualTls }) => mutualTls)).toEqual([true, true]);
    // Anybody can make one: beside a key it proves nothing.
    await publish(server, { 'x-client-cert': encodeURIComponent(pem), authorization: `Thing ${KEY}` });
    expect(server.gate.contexts.at(-1)?.mutualTls).toBe(false);
  });

  test('is nothing that a client can say itself, also when a proxy has said the very same before', async () => {
    await using server = await openServer({ MILLRACE_HTTP_TRUSTED_PROXIES: '127.0.0.2' });
    const fingerprint = new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase();
    server.gate.holders.set(fingerprint, KEY);
    const shown = { 'x-client-cert': encodeURIComponent(pem) };
    const throughProxy = await publishFrom('127.0.0.2', server, shown);
    expect(throughProxy).toBe(202);
    expect(await publishFrom('127.0.0.1', server, shown)).toBe(401);
  });

  test('is who the conditions of policies are about: address and TLS of each request', async () => {
    await using server = await openServer({ MILLRACE_HTTP_TRUSTED_PROXIES: '127.0.0.1' });
    const mine = { authorization: `Thing ${KEY}` };
    await publish(server, { ...mine, 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'https' });
    await publish(server, { ...mine, 'x-forwarded-for': '203.0.113.9, 198.51.100.1', 'x-forwarded-proto': 'http' });
    await publish(server, mine);
    expect(server.gate.contexts.map(({ remoteAddress, tls }) => [remoteAddress, tls])).toEqual([
      ['203.0.113.9', true],
      ['198.51.100.1', false],
      ['127.0.0.1', false],
    ]);
  });
});

/** Publishes from another address of this machine.  @returns the status */
function publishFrom(localAddress: string, { port }: OpenServer, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const path = '/channels/room/messages';
    const sent = request({ host: '127.0.0.1', port, localAddress, method: 'POST', path, headers }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    sent.once('error', reject);
    sent.end('[{"n":"a","v":1}]');
  });
}
