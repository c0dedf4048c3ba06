import { type MessageFate, parseUuid, StoreError, uuidV7 } from '@millrace/core';
import { decode, encode } from 'cbor-x';
import { expect, test } from 'vitest';
import { CHANNEL, KEY, ORG } from '../testing/gate.ts';
import { Code, Method, Option } from './message/message.ts';
import { type OpenCoap, openCoap } from './testing/open-coap.ts';
import { numberOf, optionOf, type RawCoap, textOf } from './testing/raw-coap.ts';

const MESSAGES = `channels/${CHANNEL}/messages`;
const AUTH = `?auth=${KEY}`;

const publish = async (client: RawCoap, subtopic: string, payload: string, format?: number): Promise<void> => {
  const uri = `${MESSAGES}${subtopic === '' ? '' : `/${subtopic}`}${AUTH}`;
  const { code } = await client.request({ uri, payload, ...(format === undefined ? {} : { format }) });
  expect(code).toBe(Code.Changed);
};
const get = (client: RawCoap, path = MESSAGES, more: object = {}) =>
  client.request({ method: Method.Get, uri: path + AUTH, ...more });
const fateOf = (coap: OpenCoap, more: Partial<MessageFate>): void => {
  coap.store.fates.push({
    id: uuidV7(),
    org: ORG,
    channel: CHANNEL,
    subtopic: '',
    publisher: 'thing',
    protocol: 'http',
    contentType: 'text/plain',
    receivedUs: '0',
    size: 1,
    partition: 0,
    offset: 0,
    decision: 'admitted',
    readings: 0,
    deadLetters: 0,
    stored: 'payload',
    reason: '',
    ...more,
  });
};

test('GET gives the last message of exactly that channel and subtopic, with its format and an ETag', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  expect((await get(client)).code).toBe(Code.NotFound);
  await publish(client, '', '[{"n":"t","v":1}]', 110);
  await publish(client, 'a', 'first', 0);
  await publish(client, 'a', 'second', 0);
  const whole = await get(client);
  expect([whole.code, textOf(whole), numberOf(whole, Option.ContentFormat)]).toEqual([
    Code.Content,
    '[{"n":"t","v":1}]',
    110,
  ]);
  const part = await get(client, `${MESSAGES}/a`);
  expect([part.code, textOf(part), numberOf(part, Option.ContentFormat)]).toEqual([Code.Content, 'second', 0]);
  expect(optionOf(part, Option.ETag)).toHaveLength(8);
  expect((await get(client, `${MESSAGES}/b`)).code).toBe(Code.NotFound);
  const bare = 'channels/room/messages';
  expect(textOf(await get(client, bare))).toBe('[{"n":"t","v":1}]');
});

test('who has the message already is told that it is still the last one', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  await publish(client, '', 'x', 0);
  const etag = optionOf(await get(client), Option.ETag);
  const valid = await get(client, MESSAGES, { etag });
  expect([valid.code, textOf(valid)]).toEqual([Code.Valid, '']);
  await publish(client, '', 'y', 0);
  expect(textOf(await get(client, MESSAGES, { etag }))).toBe('y');
});

test('Accept is honoured: another format is 4.06', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  await publish(client, '', 'x', 0);
  expect((await get(client, MESSAGES, { accept: 0 })).code).toBe(Code.Content);
  expect((await get(client, MESSAGES, { accept: 110 })).code).toBe(Code.NotAcceptable);
  await publish(client, '', '[{"n":"t","v":1}]');
  expect((await get(client, MESSAGES, { accept: 110 })).code).toBe(Code.Content);
});

test('Max-Age is what the node is configured with', async () => {
  await using coap = await openCoap({ MILLRACE_COAP_MAX_AGE_S: '7' });
  const client = await coap.client();
  await publish(client, '', 'x', 0);
  expect(numberOf(await get(client), Option.MaxAge)).toBe(7);
});

test('a message that is processed is found by the store, and read from the log while that keeps it', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  await publish(client, 's', 'kept', 0);
  await publish(client, '', 'other', 0);
  coap.log.processed = 2;
  fateOf(coap, { subtopic: 's', offset: 0 });
  // Another server, with nothing in its memory.
  expect(textOf(await get(client, `${MESSAGES}/s`))).toBe('kept');
  expect(coap.store.asked).toEqual([{ org: ORG, channel: CHANNEL, subtopic: 's' }]);
  expect(textOf(await get(client, `${MESSAGES}/s`))).toBe('kept');
  expect(coap.store.asked).toHaveLength(1);
  // What comes later is found though the store was remembered.
  await publish(client, 's', 'newer', 0);
  expect(textOf(await get(client, `${MESSAGES}/s`))).toBe('newer');
});

test('a message that the log has forgotten comes from its payload, or from its readings', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  for (const payload of ['1', '2', '3']) await publish(client, 'x', payload, 0);
  coap.log.processed = 3;
  coap.log.trim(0, 3);
  const id = uuidV7();
  fateOf(coap, { id, offset: 1 });
  coap.store.payloads.set(id, Buffer.from('blob'));
  const blob = await get(client);
  expect([textOf(blob), numberOf(blob, Option.ContentFormat)]).toEqual(['blob', 0]);
  expect(optionOf(blob, Option.ETag)).toEqual(Buffer.from(parseUuid(id) as Uint8Array).subarray(8));
  fateOf(coap, { subtopic: 'r', offset: 2, stored: 'readings' });
  const reading = { channel: CHANNEL, subtopic: 'r', publisher: 'thing', protocol: 'http', unit: 'Cel' };
  coap.store.answers = [
    { ...reading, name: 'b', timeNs: '1700000000500000000', value: 2 },
    { ...reading, name: 'a', timeNs: '1700000000500000000', boolValue: false },
    { ...reading, name: 'a', timeNs: '1600000000000000000', boolValue: true },
  ];
  const readings = await get(client, `${MESSAGES}/r`);
  expect(numberOf(readings, Option.ContentFormat)).toBe(110);
  expect(JSON.parse(textOf(readings))).toEqual([
    { n: 'b', t: 1_700_000_000.5, u: 'Cel', v: 2 },
    { n: 'a', t: 1_700_000_000.5, u: 'Cel', vb: false },
  ]);
});

test('who may not read is refused, and a wildcard names no one message', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  expect((await client.request({ method: Method.Get, uri: MESSAGES })).code).toBe(Code.Unauthorized);
  expect((await get(client, 'channels/secret/messages')).code).toBe(Code.Forbidden);
  expect((await get(client, 'channels/nowhere/messages')).code).toBe(Code.NotFound);
  expect((await get(client, `${MESSAGES}/+`)).code).toBe(Code.BadRequest);
  expect(coap.denials).toHaveLength(2);
});

test('while the store or the log is away, a reader is asked to come again', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  coap.store.failure = new StoreError('STORE_UNREACHABLE', 'later');
  expect((await get(client)).code).toBe(Code.ServiceUnavailable);
  coap.store.failure = null;
  coap.log.faults.extent = 'LOG_UNREACHABLE';
  expect((await get(client)).code).toBe(Code.ServiceUnavailable);
});

test('FETCH asks for readings and gets SenML, in JSON or CBOR', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  const reading = { channel: CHANNEL, subtopic: '', publisher: 'thing', protocol: 'http', unit: '' };
  coap.store.answers = [
    { ...reading, name: 'v', timeNs: '1700000000000000000', value: 0 },
    { ...reading, name: 'd', timeNs: '1700000000000000000', dataValue: 'AQI' },
  ];
  const fetch = (payload: string | Buffer, more: object = {}) =>
    client.request({ method: Method.Fetch, uri: MESSAGES + AUTH, payload, ...more });
  const json = await fetch('{"name":"v","from":1700000000,"to":"2024-01-01T00:00:00Z","limit":5,"order":"time"}', {
    format: 50,
  });
  expect([json.code, numberOf(json, Option.ContentFormat)]).toEqual([Code.Content, 110]);
  expect(JSON.parse(textOf(json))).toEqual([
    { n: 'v', t: 1_700_000_000, v: 0 },
    { n: 'd', t: 1_700_000_000, vd: 'AQI' },
  ]);
  expect(coap.store.asked.at(-1)).toEqual({
    org: ORG,
    channel: CHANNEL,
    name: 'v',
    offset: 0,
    limit: 5,
    order: 'time',
    direction: 'desc',
    total: 'estimate',
    fromUs: 1_700_000_000_000_000n,
    toUs: 1_704_067_200_000_000n,
  });
  const cbor = await fetch(encode({ v: 3, comparator: 'gt' }), { format: 60, accept: 112 });
  expect(numberOf(cbor, Option.ContentFormat)).toBe(112);
  expect(decode(cbor.payload)).toEqual([
    { 0: 'v', 6: 1_700_000_000, 2: 0 },
    { 0: 'd', 6: 1_700_000_000, 8: Buffer.from([1, 2]) },
  ]);
  expect(coap.store.asked.at(-1)).toMatchObject({ value: { comparator: 'gt', operand: 3 } });
  expect((await fetch('')).code).toBe(Code.Content);
});

test('a query that is none is refused: its form, its fields, its formats', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  const code = async (payload: string | Buffer, more: object = { format: 50 }): Promise<number> =>
    (await client.request({ method: Method.Fetch, uri: MESSAGES + AUTH, payload, ...more })).code;
  expect(await code('{')).toBe(Code.BadRequest);
  expect(await code(Buffer.from([0xff, 0xff]), { format: 60 })).toBe(Code.BadRequest);
  expect(await code(Buffer.alloc(900, 0x81), { format: 60 })).toBeGreaterThan(Code.BadRequest - 1);
  for (const query of ['[]', '1', '{"limit":0}', '{"limit":1001}', '{"what":1}', '{"from":"yesterday"}', '{"v":"1"}']) {
    expect(await code(query), query).toBe(Code.UnprocessableEntity);
  }
  expect(await code('x', { format: 0 })).toBe(Code.UnsupportedContentFormat);
  expect(await code('{}', { format: 50, accept: 50 })).toBe(Code.NotAcceptable);
});

test('no number that takes long to read holds the node up: queries are short, and a stranger has none read', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  /** A bignum: each byte more makes reading all of it longer. */
  const bignum = (size: number): Buffer =>
    Buffer.concat([Buffer.of(0xc2, 0x59, size >> 8, size & 0xff), Buffer.alloc(size, 0xff)]);
  const fetch = (payload: Buffer, auth: string) =>
    client.request({ method: Method.Fetch, uri: MESSAGES + auth, payload, format: 60 });
  const large = await fetch(bignum(60_000), AUTH);
  expect([large.code, numberOf(large, Option.Size1)]).toEqual([Code.RequestEntityTooLarge, 4_096]);
  expect((await fetch(bignum(60_000), '')).code).toBe(Code.RequestEntityTooLarge);
  expect((await fetch(Buffer.of(0xff), '')).code).toBe(Code.Unauthorized);
  expect((await fetch(bignum(4_000), AUTH)).code).toBe(Code.UnprocessableEntity);
});

test('readers wait for their turn at the store, and too many are asked to come again', async () => {
  await using coap = await openCoap({ MILLRACE_COAP_READS_WAITING_MAX: '2' });
  const client = await coap.client();
  let go: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  coap.store.before = () => gate;
  const reads = Array.from({ length: 10 }, (_, index) => get(client, `${MESSAGES}/s${index}`));
  const codes: number[] = [];
  for (const read of reads) void read.then(({ code }) => codes.push(code));
  // Four are at the store, two wait.
  await expect.poll(() => codes.length, { timeout: 20_000 }).toBe(4);
  expect(codes).toEqual(Array(4).fill(Code.ServiceUnavailable));
  go();
  await Promise.all(reads);
  expect(codes.slice(4)).toEqual(Array(6).fill(Code.NotFound));
  expect((await get(client)).code).toBe(Code.NotFound);
});

test('a query never leaves the subtopic that its right was judged by', async () => {
  await using coap = await openCoap();
  const client = await coap.client();
  const uri = `${MESSAGES}/mine${AUTH}`;
  await client.request({ method: Method.Fetch, uri, payload: '{"subtopic":"theirs"}', format: 50 });
  expect(coap.store.asked.at(-1)).toMatchObject({ subtopic: 'mine' });
});

test('/.well-known/core lists what there is, also what others brought, and filters it', async () => {
  await using coap = await openCoap({}, [
    {
      segments: ['rd'],
      handle: () => ({ code: Code.Created }),
      links: ['</rd>;rt="core.rd core.other";ct=40'],
    },
  ]);
  const client = await coap.client();
  const list = async (query = ''): Promise<string> => {
    const answer = await client.request({ method: Method.Get, uri: `.well-known/core${query}` });
    expect([answer.code, numberOf(answer, Option.ContentFormat)]).toEqual([Code.Content, 40]);
    return textOf(answer);
  };
  expect(await list()).toMatch(/^<\/channels>;rt="millrace.messages".*,<\/rd>;rt=/);
  expect(await list('?rt=core.rd')).toBe('</rd>;rt="core.rd core.other";ct=40');
  expect(await list('?rt=core.o*')).toContain('</rd>');
  expect(await list('?href=/ch*')).not.toContain('</rd>');
  expect(await list('?rt=none')).toBe('');
  expect((await client.request({ uri: '.well-known/core' })).code).toBe(Code.MethodNotAllowed);
  expect((await client.request({ uri: 'rd' })).code).toBe(Code.Created);
});
