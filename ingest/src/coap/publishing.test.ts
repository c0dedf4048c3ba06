import { MillraceError } from '@millrace/core';
import { expect, test } from 'vitest';
import { CHANNEL, KEY, ORG, THING } from '../testing/gate.ts';
import { Code, Method, Option, Type } from './message/message.ts';
import { openCoap } from './testing/open-coap.ts';
import { numberOf, textOf } from './testing/raw-coap.ts';

const MESSAGES = `channels/${CHANNEL}/messages`;
const AUTH = `?auth=${KEY}`;

test('a message is acknowledged with 2.04 once it is durable, and not before', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  coap.log.stalled = true;
  let answered = false;
  const waiting = client.request({ uri: MESSAGES + AUTH, format: 110, payload: '[{"n":"t","v":1}]' }).then((answer) => {
    answered = true;
    return answer;
  });
  await expect.poll(() => coap.log.count, { timeout: 20_000 }).toBe(1);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(answered).toBe(false);
  coap.log.commit();
  const answer = await waiting;
  expect(answer.code).toBe(Code.Changed);
  expect(answer.payload).toHaveLength(0);
  expect(coap.messages()).toEqual([
    {
      channel: CHANNEL,
      subtopic: '',
      contentType: 'application/senml+json',
      payload: '[{"n":"t","v":1}]',
      protocol: 'coap',
    },
  ]);
  expect(coap.seen).toEqual([`${THING} coap`]);
});

test('the id of the message is told to who accepts JSON', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  const answer = await client.request({ uri: MESSAGES + AUTH, accept: 50, payload: '1' });
  expect(answer.code).toBe(Code.Changed);
  expect(numberOf(answer, Option.ContentFormat)).toBe(50);
  expect(JSON.parse(textOf(answer))).toEqual({ id: expect.stringMatching(/^[0-9a-f-]{36}$/) });
});

test('Content-Format becomes the content type, and what is no format of ours is refused', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  for (const format of [0, 42, 50, 60, 110, 112, 11_542]) {
    expect((await client.request({ uri: MESSAGES + AUTH, format, payload: 'x' })).code).toBe(Code.Changed);
  }
  expect((await client.request({ uri: MESSAGES + AUTH, payload: 'x' })).code).toBe(Code.Changed);
  expect((await client.request({ uri: MESSAGES + AUTH, format: 9_999, payload: 'x' })).code).toBe(
    Code.UnsupportedContentFormat,
  );
  expect(coap.messages().map(({ contentType }) => contentType)).toEqual([
    'text/plain',
    'application/octet-stream',
    'application/json',
    'application/cbor',
    'application/senml+json',
    'application/senml+cbor',
    'application/vnd.oma.lwm2m+tlv',
    '',
  ]);
});

test('the paths of every dialect lead to the channel', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  const uris = [
    `channels/${CHANNEL}/messages/a/b`,
    `http/channels/${CHANNEL}/messages`,
    `channels/${CHANNEL}/msg`,
    `m/${ORG}/c/${CHANNEL}/x`,
    `channel/${CHANNEL}/messages`,
    `mainflux/channels/${CHANNEL}`,
    `channels/room/messages/`,
  ];
  for (const uri of uris) {
    expect((await client.request({ uri: uri + AUTH, format: 50, payload: '{}' })).code, uri).toBe(Code.Changed);
  }
  expect(coap.messages().map(({ channel, subtopic, contentType }) => [channel, subtopic, contentType])).toEqual([
    [CHANNEL, 'a/b', 'application/json'],
    [CHANNEL, '', 'application/json'],
    [CHANNEL, '', 'application/senml+json'],
    [CHANNEL, 'x', 'application/json'],
    [CHANNEL, '', 'application/senml+json'],
    [CHANNEL, '', 'application/senml+json'],
    [CHANNEL, '', 'application/json'],
  ]);
  const strange = `m/01890000-0000-7000-8000-00000000000b/c/${CHANNEL}`;
  expect((await client.request({ uri: strange + AUTH, payload: '1' })).code).toBe(Code.NotFound);
});

test('a credential may be a key or an API key, be percent-encoded, and come in the classic parameter', async () => {
  await using coap = await openCoap();
  coap.gate.tokens.set('mrk_an-api-key', KEY);
  const client = await coap.client();
  const encoded = [...KEY].map((letter) => `%${letter.charCodeAt(0).toString(16)}`).join('');
  for (const query of [
    `auth=${KEY}`,
    `authorization=${KEY}`,
    `auth=${encoded}`,
    'auth=mrk_an-api-key',
    `x=1&auth=${KEY}`,
  ]) {
    expect((await client.request({ uri: `${MESSAGES}?${query}`, payload: '1' })).code, query).toBe(Code.Changed);
  }
});

test('who is unknown, disabled or not let in is told so, and it is written down', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  const code = async (uri: string): Promise<number> => (await client.request({ uri, payload: '1' })).code;
  expect(await code(MESSAGES)).toBe(Code.Unauthorized);
  expect(await code(`${MESSAGES}?auth=not-a-key-of-ours`)).toBe(Code.Unauthorized);
  expect(await code(`${MESSAGES}?auth=disabled-key`)).toBe(Code.Forbidden);
  expect(await code(`channels/secret/messages${AUTH}`)).toBe(Code.Forbidden);
  expect(await code(`channels/off/messages${AUTH}`)).toBe(Code.Forbidden);
  expect(await code(`channels/nowhere/messages${AUTH}`)).toBe(Code.NotFound);
  expect(coap.denials).toEqual([
    expect.stringContaining('secret'),
    expect.stringContaining('off'),
    expect.stringContaining('nowhere'),
  ]);
  expect(
    await coap.metric('millrace_ingest_messages_total{protocol="coap",outcome="refused",reason="forbidden"}'),
  ).toBe(3);
  expect(coap.log.count).toBe(0);
});

test('a key that is taken away publishes no more, though it was known a moment ago', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  const publish = async (): Promise<number> => (await client.request({ uri: MESSAGES + AUTH, payload: '1' })).code;
  expect([await publish(), await publish()]).toEqual([Code.Changed, Code.Changed]);
  coap.gate.take(KEY);
  expect([await publish(), await publish()]).toEqual([Code.Unauthorized, Code.Unauthorized]);
  expect(coap.log.count).toBe(2);
});

test('bad addresses, empty messages, strange methods and unknown paths each have their answer', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  const code = async (uri: string, more: object = { payload: '1' }): Promise<number> =>
    (await client.request({ uri: uri + AUTH, ...more })).code;
  expect(await code(`${MESSAGES}/a/+`)).toBe(Code.BadRequest);
  expect(await code(`channels/ö ö/messages`)).toBe(Code.BadRequest);
  expect(await code(MESSAGES, {})).toBe(Code.BadRequest);
  expect(await code(MESSAGES, { method: Method.Delete })).toBe(Code.MethodNotAllowed);
  expect(await code(MESSAGES, { method: Method.Patch })).toBe(Code.MethodNotAllowed);
  expect(await code('nothing/here')).toBe(Code.NotFound);
  expect(await code('', {})).toBe(Code.NotFound);
  expect(await code(MESSAGES, { method: Method.Put, payload: '1' })).toBe(Code.Changed);
});

test('what is too much is refused with when to come again: rate, size, a full log', async () => {
  await using coap = await openCoap({ MILLRACE_COAP_RATE_PER_SECOND: '0.001', MILLRACE_COAP_RATE_BURST: '2' });
  const client = await coap.client();
  const publish = (payload: string) => client.request({ uri: MESSAGES + AUTH, payload });
  coap.gate.limits = { payloadBytesMax: 4 };
  coap.gate.changed();
  const large = await publish('12345');
  expect(large.code).toBe(Code.RequestEntityTooLarge);
  expect(numberOf(large, Option.Size1)).toBe(4);
  coap.log.refusal = 'LOG_FULL';
  const full = await publish('1');
  expect([full.code, numberOf(full, Option.MaxAge)]).toEqual([Code.ServiceUnavailable, 1]);
  coap.log.refusal = null;
  expect((await publish('1')).code).toBe(Code.Changed);
  const fast = await publish('1');
  expect([fast.code, numberOf(fast, Option.MaxAge)]).toEqual([Code.TooManyRequests, 1]);
});

test('a message larger than the node takes is refused with Size1', async () => {
  await using coap = await openCoap({ MILLRACE_COAP_PAYLOAD_BYTES_MAX: '1024' });
  const client = await coap.client();
  const answer = await client.request({ uri: MESSAGES + AUTH, payload: 'x'.repeat(1_025) });
  expect([answer.code, numberOf(answer, Option.Size1)]).toEqual([Code.RequestEntityTooLarge, 1_024]);
});

test('while the registry is away, or for who guesses keys, a request is to come again', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  const publish = async (): Promise<unknown[]> => {
    const answer = await client.request({ uri: MESSAGES + AUTH, payload: '1' });
    return [answer.code, numberOf(answer, Option.MaxAge)];
  };
  coap.gate.failure = new MillraceError('REGISTRY_UNREACHABLE', 'later');
  expect(await publish()).toEqual([Code.ServiceUnavailable, 2]);
  coap.gate.failure = new MillraceError('POLICY_GUESSED', 'later');
  expect(await publish()).toEqual([Code.TooManyRequests, 1]);
  coap.gate.failure = new Error('a fault');
  expect(await publish()).toEqual([Code.InternalServerError, undefined]);
  coap.gate.failure = null;
  coap.gate.cold = true;
  expect(await publish()).toEqual([Code.Changed, undefined]);
});

test('a decision that cannot be made now is a 5.03, and nothing is left unheard', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  let asked = 0;
  coap.gate.undecided.set(THING, () => {
    asked++;
    return Promise.reject(new MillraceError('POLICY_BUSY', 'later'));
  });
  for (let round = 0; round < 3; round++) {
    expect((await client.request({ uri: MESSAGES + AUTH, payload: '1' })).code).toBe(Code.ServiceUnavailable);
  }
  expect(asked).toBe(3);
  coap.gate.undecided.set(THING, () => new Promise((resolve) => setTimeout(resolve, 10)));
  expect((await client.request({ uri: MESSAGES + AUTH, payload: '1' })).code).toBe(Code.Changed);
});

test('a message that is not to be confirmed is published as well, and answered', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  const answer = await client.request({ uri: MESSAGES + AUTH, payload: '1', type: Type.Non });
  expect([answer.type, answer.code]).toEqual([Type.Non, Code.Changed]);
});

test('the same datagram twice is one message', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  const token = client.newToken();
  const datagram = client.send({ uri: MESSAGES + AUTH, payload: '1' }, token);
  expect((await client.next(token)).code).toBe(Code.Changed);
  client.socket.send(datagram, client.port, '127.0.0.1');
  expect((await client.next(token)).code).toBe(Code.Changed);
  expect(coap.log.count).toBe(1);
});

test('draining, it answers 5.03 with when to come again', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  await coap.drain();
  const answer = await client.request({ uri: MESSAGES + AUTH, payload: '1' });
  expect([answer.code, numberOf(answer, Option.MaxAge)]).toEqual([Code.ServiceUnavailable, 5]);
});
