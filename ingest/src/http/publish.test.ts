import { EnvelopeReader, LogError, MillraceError, Protocol, uuidText } from '@millrace/core';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { CHANNEL, KEY, ORG, THING } from '../testing/gate.ts';
import { type OpenServer, openServer } from '../testing/open-server.ts';

let server: OpenServer;
beforeAll(async () => {
  server = await openServer();
});
afterAll(() => server.stop());
beforeEach(() => {
  server.log.records = [];
  server.log.refusal = null;
  server.log.roomFor = Number.POSITIVE_INFINITY;
  server.gate.cold = false;
  server.gate.failure = null;
  server.gate.contentType = null;
});

const PACK = '[{"n":"t","v":1}]';
const post = (path: string, init: RequestInit & { headers?: Record<string, string> } = {}): Promise<Response> =>
  fetch(server.url + path, {
    method: 'POST',
    body: PACK,
    ...init,
    headers: { authorization: `Thing ${KEY}`, 'content-type': 'application/senml+json', ...init.headers },
  });
function envelopes(): EnvelopeReader[] {
  return (server.log.records ?? []).map((record) => {
    const reader = new EnvelopeReader();
    expect(reader.open(record)).toBe(true);
    return reader;
  });
}

describe('publishing', () => {
  test('answers 202 with the id of the envelope, which says who, where, what and when', async () => {
    const before = Date.now();
    const response = await post('/channels/room/messages/floor/1');
    expect(response.status).toBe(202);
    const answer = (await response.json()) as { response: string; id: string };
    expect(answer.response).toBe('message sent');
    const [envelope] = envelopes();
    expect(envelope).toMatchObject({ org: ORG, channel: CHANNEL, subtopic: 'floor/1', publisher: THING });
    expect(envelope?.protocol).toBe(Protocol.http);
    expect(envelope?.contentType).toBe('application/senml+json');
    expect(envelope?.payload.toString()).toBe(PACK);
    expect(uuidText(envelope?.id ?? new Uint8Array())).toBe(answer.id);
    expect(envelope?.admissionVersion).toBe(3);
    expect([...(envelope?.mac ?? [])]).toEqual(Array(16).fill(7));
    expect((envelope?.receivedUs ?? 0) / 1_000).toBeGreaterThan(before - 1_000);
    expect((envelope?.receivedUs ?? 0) / 1_000).toBeLessThan(Date.now() + 1_000);
  });

  test('answers only when the append is durable', async () => {
    server.log.stalled = true;
    let answered = false;
    const response = post('/channels/room/messages').then((answer) => {
      answered = true;
      return answer;
    });
    while (envelopes().length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(answered).toBe(false);
    server.log.stalled = false;
    server.log.commit();
    expect((await response).status).toBe(202);
  });

  test('seals what the worker will check', async () => {
    server.gate.keepSealed = true;
    await post('/channels/room/messages/a');
    server.gate.keepSealed = false;
    const [sealed] = server.gate.sealed;
    const [envelope] = envelopes();
    expect(sealed).toMatchObject({ org: ORG, channel: CHANNEL, subtopic: 'a', publisher: THING, version: 3 });
    expect(sealed?.receivedUs).toBe(envelope?.receivedUs);
  });

  test.each([
    ['Thing', `Thing ${KEY}`],
    ['Client', `Client ${KEY}`],
    ['Bearer', `Bearer ${KEY}`],
    ['Basic', `Basic ${btoa(`${THING}:${KEY}`)}`],
    ['the bare key of the oldest firmware', KEY],
  ])('knows a client by %s', async (_name, authorization) => {
    expect((await post('/channels/room/messages', { headers: { authorization } })).status).toBe(202);
  });

  test.each([
    ['none', undefined],
    ['an unknown key', 'Thing nobody-has-this-key'],
    ['an unknown scheme', 'Digest abcdefgh'],
    ['another thing with the key', `Basic ${btoa(`someone:${KEY}`)}`],
  ])('answers 401 to %s', async (_name, authorization) => {
    const response = await fetch(`${server.url}/channels/room/messages`, {
      method: 'POST',
      body: PACK,
      headers: authorization === undefined ? {} : { authorization },
    });
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toContain('Thing');
    expect(response.headers.get('content-type')).toBe('application/problem+json');
    expect(await response.json()).toMatchObject({ status: 401, title: 'Unauthorized', error: expect.any(String) });
  });

  test.each([
    ['/channels/secret/messages', 403],
    ['/channels/other/messages', 403],
    ['/channels/off/messages', 403],
    ['/channels/nowhere/messages', 404],
    ['/channels//messages', 400],
    ['/channels/room/messages/a//b', 400],
    ['/channels/room/messages/a/%2B', 400],
    ['/channels/room/messages/%23', 400],
    ['/channels/room/messages/a*', 400],
    ['/channels/room/messages/%3E', 400],
    ['/channels/room/messages/%00', 400],
    ['/channels/room/messages/%ff', 400],
    [`/channels/room/messages/${'x'.repeat(257)}`, 400],
  ])('answers %s with %i', async (path, status) => {
    expect((await post(path)).status).toBe(status);
    expect(envelopes()).toEqual([]);
  });

  test('answers 403 to a disabled thing', async () => {
    const headers = { authorization: 'Thing disabled-key' };
    expect((await post('/channels/room/messages', { headers })).status).toBe(403);
  });

  test('takes a subtopic of 256 bytes, percent-encoded and not', async () => {
    await post(`/channels/room/messages/${'x'.repeat(256)}`);
    await post('/channels/room/messages/%C3%A4/b%20c');
    await post('/channels/room/messages/a%2Fb/');
    expect(envelopes().map((envelope) => envelope.subtopic)).toEqual(['x'.repeat(256), 'ä/b c', 'a/b']);
  });

  test('keeps any content type and any bytes as they are', async () => {
    const bytes = new Uint8Array(1_000).map((_, index) => index);
    await post('/channels/room/messages', { body: bytes, headers: { 'content-type': 'image/x-odd; q=1' } });
    const [envelope] = envelopes();
    expect(envelope?.contentType).toBe('image/x-odd; q=1');
    expect(new Uint8Array(envelope?.payload ?? [])).toEqual(bytes);
    const long = await post('/channels/room/messages', { headers: { 'content-type': `a/${'b'.repeat(127)}` } });
    expect(long.status).toBe(400);
  });

  test('takes the channel\u2019s content type when none is given, else leaves it open', async () => {
    const body = new Uint8Array([1]);
    const bare = { method: 'POST', body, headers: { authorization: `Thing ${KEY}` } };
    await fetch(`${server.url}/channels/room/messages`, bare);
    server.gate.contentType = 'application/senml+cbor';
    await fetch(`${server.url}/channels/room/messages`, bare);
    expect(envelopes().map((envelope) => envelope.contentType)).toEqual(['', 'application/senml+cbor']);
  });

  test('answers 400 to an empty message', async () => {
    expect((await post('/channels/room/messages', { body: '' })).status).toBe(400);
  });

  test('copies a valid traceparent, and no other', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await post('/channels/room/messages', { headers: { traceparent } });
    await post('/channels/room/messages', { headers: { traceparent: 'nonsense' } });
    expect(envelopes().map((envelope) => envelope.traceContext)).toEqual([traceparent, '']);
  });

  test('scopes an Idempotency-Key to its publisher and channel', async () => {
    await post('/channels/room/messages', { headers: { 'idempotency-key': 'k-1' } });
    expect(envelopes()[0]?.dedupKey).toBe(`${THING}/${CHANNEL}/k-1`);
    const long = await post('/channels/room/messages', { headers: { 'idempotency-key': 'x'.repeat(129) } });
    expect(long.status).toBe(400);
  });

  test('decides a cold client just so, and keeps the order of one connection', async () => {
    server.gate.cold = true;
    for (let index = 0; index < 5; index++) {
      expect((await post(`/channels/chan-cold/messages/${index}`)).status).toBe(202);
    }
    expect(envelopes().map((envelope) => envelope.subtopic)).toEqual(['0', '1', '2', '3', '4']);
  });

  test('identifies a revoked client anew', async () => {
    await post('/channels/room/messages');
    const { asked } = server.gate;
    await post('/channels/room/messages');
    expect(server.gate.asked).toBe(asked);
    server.gate.revoke(KEY);
    await post('/channels/room/messages');
    expect(server.gate.asked).toBe(asked + 1);
  });

  test.each([
    ['LOG_FULL', 503],
    ['LOG_UNREACHABLE', 503],
    ['LOG_RECORD_TOO_LARGE', 413],
  ] as const)('answers %s with %i', async (code, status) => {
    server.log.refusal = code;
    const response = await post('/channels/room/messages');
    expect(response.status).toBe(status);
    if (status === 503) expect(response.headers.get('retry-after')).toBe('1');
  });

  test('answers 503 while the registry is away, 500 to a fault, and goes on', async () => {
    const path = '/channels/chan-away/messages';
    server.gate.failure = new MillraceError('REGISTRY_UNREACHABLE', 'later');
    expect((await post(path)).status).toBe(503);
    server.gate.failure = new Error('a bug');
    expect((await post(path)).status).toBe(500);
    server.gate.failure = null;
    expect((await post(path)).status).toBe(202);
  });
});

describe('dialects', () => {
  test('classic: the prefix of the reverse proxy', async () => {
    expect((await post('/http/channels/room/messages/a')).status).toBe(202);
    expect(envelopes()[0]?.subtopic).toBe('a');
  });

  test('first: /msg carries SenML as application/json and answers without an id', async () => {
    const response = await post('/channels/room/msg', { headers: { 'content-type': 'application/json' } });
    expect(response.status).toBe(202);
    expect(await response.text()).toBe('{"response":"message sent"}');
    expect(envelopes()[0]?.contentType).toBe('application/senml+json');
  });

  test('later: m/<org>/c/<channel>, only within the client\u2019s own org', async () => {
    const headers = { authorization: `Client ${KEY}` };
    expect((await post(`/m/${ORG}/c/room/a/b`, { headers })).status).toBe(202);
    expect(envelopes()[0]?.subtopic).toBe('a/b');
    expect((await post('/m/another-org/c/room', { headers })).status).toBe(404);
  });
});

describe('a batch', () => {
  const batch = (body: string, query = '', type = 'application/x-ndjson'): Promise<Response> =>
    post(`/channels/room/messages/batch${query}`, { body, headers: { 'content-type': type } });

  test('publishes each line as a message of its own', async () => {
    const response = await batch('[{"n":"a","v":1}]\r\n{"t":2}\n[{"n":"b","v":2}]\n');
    expect(response.status).toBe(202);
    const answer = (await response.json()) as { count: number; ids: string[] };
    expect(answer).toMatchObject({ response: 'messages sent', count: 3 });
    expect(envelopes().map((envelope) => uuidText(envelope.id))).toEqual(answer.ids);
    expect(envelopes().map((envelope) => [envelope.contentType, envelope.payload.toString()])).toEqual([
      ['application/senml+json', '[{"n":"a","v":1}]'],
      ['application/json', '{"t":2}'],
      ['application/senml+json', '[{"n":"b","v":2}]'],
    ]);
  });

  test('takes the content type of all lines from the query', async () => {
    expect((await batch('hello\nworld', '?content_type=text/plain')).status).toBe(202);
    expect(envelopes().map((envelope) => envelope.contentType)).toEqual(['text/plain', 'text/plain']);
  });

  test.each([
    ['an empty line', '{"a":1}\n\n{"b":2}', 400],
    ['a line that is no message', '{"a":1}\n17', 400],
    ['nothing', '', 400],
    ['a line beyond the record size', `{"a":1}\n{"b":"${'x'.repeat(5_000)}"}`, 413],
  ])('publishes nothing when it holds %s', async (_name, body, status) => {
    server.log.recordBytesMax = 5_000;
    const response = await batch(body);
    server.log.recordBytesMax = 2_097_152;
    expect(response.status).toBe(status);
    expect(envelopes()).toEqual([]);
  });

  test('publishes nothing when the log has no room for all of it', async () => {
    server.log.refusal = 'LOG_FULL';
    const response = await batch('{"a":1}\n{"a":2}');
    server.log.refusal = null;
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).not.toBeNull();
    expect(envelopes()).toEqual([]);
  });

  test('is no success when the log loses one of it', async () => {
    server.log.roomFor = 2;
    const response = await batch('{"a":1}\n{"a":2}\n{"a":3}');
    expect(response.status).toBe(503);
  });

  test('must be NDJSON, of a bounded number of lines', async () => {
    expect((await batch('{"a":1}', '', 'application/json')).status).toBe(415);
    expect((await batch('{}\n'.repeat(10_001))).status).toBe(413);
  });
});

test('counts each message once, by outcome and reason', async () => {
  await using counted = await openServer();
  const headers = { authorization: `Thing ${KEY}` };
  await fetch(`${counted.url}/channels/room/messages`, { method: 'POST', body: PACK, headers });
  await fetch(`${counted.url}/channels/room/messages`, { method: 'POST', body: PACK });
  counted.log.refusal = new LogError('LOG_FULL', 'later').code;
  await fetch(`${counted.url}/channels/room/messages`, { method: 'POST', body: PACK, headers });
  const text = await counted.metrics.registry.metrics();
  expect(text).toContain('millrace_ingest_messages_total{protocol="http",outcome="accepted",reason=""} 1');
  expect(text).toContain('outcome="refused",reason="unauthenticated"} 1');
  expect(text).toContain('outcome="refused",reason="log_full"} 1');
  expect(text).toContain(`millrace_ingest_bytes_total{protocol="http"} ${PACK.length}`);
  expect(text).toContain('millrace_ingest_ack_seconds_count{protocol="http"} 1');
  expect(text).toContain('millrace_ingest_in_flight_messages{protocol="http"} 0');
  expect(text).toContain('millrace_ingest_in_flight_bytes{protocol="http"} 0');
});
