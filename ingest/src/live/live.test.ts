import { type DeliveredMessage, Protocol } from '@millrace/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseHead } from '../http/head.ts';
import { frameHead } from '../ws/frame.ts';
import { LatestOnly, SERIES_MAX } from './latest.ts';
import { isText, messageMembers } from './message-text.ts';
import { OriginCheck } from './origin.ts';
import { filterFault, socketPathOf, streamPathOf } from './path.ts';

const message = (payload: string | Uint8Array, contentType = '', subtopic = ''): DeliveredMessage => ({
  partition: 3,
  offset: 7,
  id: '01890000-0000-7000-8000-000000000001',
  org: 'org',
  channel: 'chan',
  subtopic,
  publisher: 'thing',
  protocol: Protocol.mqtt,
  contentType,
  receivedUs: 1_700_000_000_123_456,
  qos: 1,
  retain: false,
  payload: Buffer.from(payload),
  encoded: new Map(),
});
const members = (one: DeliveredMessage): Record<string, unknown> =>
  JSON.parse(`{${messageMembers(one).toString()}`) as Record<string, unknown>;

describe('a message in JSON', () => {
  test('tells where to go on, and the second with its fraction', () => {
    expect(members(message('x', 'text/plain', 'a/b'))).toEqual({
      channel: 'chan',
      subtopic: 'a/b',
      id: '01890000-0000-7000-8000-000000000001',
      publisher: 'thing',
      protocol: 'mqtt',
      content_type: 'text/plain',
      received: 1_700_000_000.123456,
      position: '3-8',
      payload: 'x',
    });
  });

  test('is made once for all subscribers', () => {
    const one = message('x');
    expect(messageMembers(one)).toBe(messageMembers(one));
  });

  test.each([
    ['text/plain', 'grün', 'payload'],
    ['application/json', '{"a":1}', 'json'],
    ['application/senml+json; charset=utf-8', '[]', 'json'],
    ['application/json', '{"a":', 'payload'],
    ['application/json', '', 'payload'],
    ['application/json', Buffer.from([0xff]), 'payload_base64'],
    ['application/octet-stream', 'text', 'payload_base64'],
    ['application/senml+cbor', Buffer.from([0x80]), 'payload_base64'],
    ['image/svg+xml', '<svg/>', 'payload'],
    ['', '[1]', 'payload'],
    ['', 'plain\n', 'payload'],
    ['', 'a\0b', 'payload_base64'],
    ['', Buffer.from([0x82, 0x00]), 'payload_base64'],
  ])('of type %j carries %j as %s', (contentType, payload, member) => {
    const one = message(payload, contentType);
    expect(Object.keys(members(one)).at(-1)).toBe(member);
    expect(isText(one)).toBe(member !== 'payload_base64');
  });

  test('is one line whatever it carries, and gives every payload back', () => {
    const types = fc.constantFrom('', 'text/plain', 'application/json', 'application/octet-stream');
    const payloads = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.string().map((text) => Buffer.from(text)),
      fc.json().map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(types, payloads, fc.string(), (contentType, payload, subtopic) => {
        const text = messageMembers(message(payload, contentType, subtopic)).toString();
        expect(text).not.toMatch(/[\r\n]/);
        const { payload: asText, payload_base64: asBase64, json } = JSON.parse(`{${text}`) as Record<string, unknown>;
        if (asText !== undefined) expect(Buffer.from(asText as string)).toEqual(Buffer.from(payload));
        else if (asBase64 !== undefined)
          expect(Buffer.from(asBase64 as string, 'base64')).toEqual(Buffer.from(payload));
        else expect(json).toEqual(JSON.parse(Buffer.from(payload).toString()));
      }),
    );
  });
});

describe('what waits for a reader of the latest', () => {
  const packet = (text: string): Uint8Array[] => [Buffer.from(text)];
  const drained = (latest: LatestOnly): string[] => {
    const texts: string[] = [];
    for (let next = latest.take(() => true); next !== null; next = latest.take(() => true)) texts.push(String(next[0]));
    return texts;
  };

  test('is one message a series, the last, in the order of the log', () => {
    const latest = new LatestOnly(1_000);
    const lost = ['a', 'b', 'a', 'c', 'b'].map((subtopic, index) =>
      latest.put(message('', '', subtopic), packet(`${subtopic}${index}`)),
    );
    expect(lost).toEqual([0, 0, 1, 0, 1]);
    expect(drained(latest)).toEqual(['a2', 'c3', 'b4']);
    expect(latest.empty).toBe(true);
  });

  test('stays where it is while it does not fit', () => {
    const latest = new LatestOnly(1_000);
    latest.put(message(''), packet('12345'));
    expect(latest.take((size) => size < 5)).toBe(null);
    expect(latest.empty).toBe(false);
    expect(drained(latest)).toEqual(['12345']);
  });

  test('is bounded in bytes and in series', () => {
    const small = new LatestOnly(10);
    expect(small.put(message('', '', 'a'), packet('12345678'))).toBe(0);
    expect(small.put(message('', '', 'b'), packet('123'))).toBe(1);
    expect(small.put(message('', '', 'b'), packet('12'))).toBe(0);
    expect(small.put(message('', '', 'a'), packet('123456789'))).toBe(2);
    const many = new LatestOnly(1_000_000);
    for (let index = 0; index < SERIES_MAX; index++) many.put(message('', '', `s${index}`), packet('x'));
    expect(many.put(message('', '', 'one more'), packet('x'))).toBe(1);
    expect(many.put(message('', '', 's0'), packet('y'))).toBe(1);
    expect(drained(many).length).toBe(SERIES_MAX);
  });
});

describe('paths and filters', () => {
  test.each([
    ['/ws', { kind: 'many' }],
    ['/mqtt', { kind: 'mqtt' }],
    ['/channels/a/messages', { address: { channel: 'a', subtopic: '', org: null } }],
    ['/ws/channels/a/messages/b/c', { address: { channel: 'a', subtopic: 'b/c' } }],
    ['/channels/a/messages/b/%23', { address: { subtopic: 'b/#' } }],
    ['/m/o/c/a/b', { address: { org: 'o', channel: 'a', subtopic: 'b' } }],
    ['/ws/m/o/c/a', { address: { org: 'o', channel: 'a' } }],
    ['/channels//messages', { kind: 'bad' }],
    ['/channels/a/messages/%ff', { kind: 'bad' }],
  ])('a socket is at %s', (path, expected) => {
    expect(socketPathOf(path)).toMatchObject(expected);
  });
  test.each(['/', '/wss', '/ws/x', '/channels/a', '/channels/a/msg', '/things'])('no socket is at %s', (path) => {
    expect(socketPathOf(path)).toBe(null);
  });
  test('a stream is at messages/live alone', () => {
    expect(streamPathOf('/channels/a/messages/live')).toMatchObject({ kind: 'address', channel: 'a' });
    expect(streamPathOf('/channels//messages/live')).toMatchObject({ kind: 'bad' });
    for (const path of [
      '/channels/a/messages',
      '/channels/a/messages/live/x',
      '/channels/a/messages/x/messages/live',
    ]) {
      expect(streamPathOf(path)).toBe(null);
    }
  });
  test.each(['', '#', '+', 'a/+/b', 'a/#', '+/+/#', '$x'])('%j is a filter', (filter) => {
    expect(filterFault(filter)).toBe(null);
  });
  test.each(['a//b', '/a', 'a/', '#/a', 'a#', 'a/b+', '*', 'a/>', 'a\u0000', 'x'.repeat(257)])(
    '%j is none',
    (filter) => {
      expect(filterFault(filter)).toEqual(expect.any(String));
    },
  );
});

describe('an origin', () => {
  const allows = (listed: string, origin: string | null, host = 'millrace.example:8080'): boolean => {
    const head = parseHead(`GET / HTTP/1.1\r\nHost: ${host}\r\n${origin === null ? '' : `Origin: ${origin}\r\n`}`);
    if (!('path' in head)) throw new Error(head.detail);
    return new OriginCheck(listed).allows(head);
  };
  test.each([
    ['', null],
    ['', 'http://millrace.example:8080'],
    ['', 'https://MILLRACE.example:8080'],
    ['https://app.example', 'https://app.example'],
    [' https://a.example , https://App.example/ ', 'https://app.example'],
    ['*', 'https://any.example'],
    ['*', 'null'],
  ])('with %j listed lets %j in', (listed, origin) => {
    expect(allows(listed, origin)).toBe(true);
  });
  test.each([
    ['', 'http://millrace.example'],
    ['', 'http://millrace.example:8081'],
    ['', 'http://evil.millrace.example:8080'],
    ['', 'null'],
    ['', ''],
    ['', 'file://'],
    ['https://app.example', 'http://app.example'],
    ['https://app.example', 'https://app.example.evil.example'],
  ])('with %j listed keeps %j out', (listed, origin) => {
    expect(allows(listed, origin)).toBe(false);
  });
  test('of the default port is the host without one, and with it', () => {
    expect(allows('', 'https://millrace.example', 'millrace.example')).toBe(true);
    expect(allows('', 'https://millrace.example', 'millrace.example:443')).toBe(true);
    expect(allows('', 'http://millrace.example', 'millrace.example:443')).toBe(false);
  });
});

describe('a frame', () => {
  test.each([
    [0, '8100'],
    [125, '817d'],
    [126, '817e007e'],
    [65_535, '817effff'],
    [65_536, '817f0000000000010000'],
    [2 ** 32 + 5, '817f0000000100000005'],
  ])('of %i bytes begins as it must', (size, hex) => {
    expect(frameHead(0x81, size).buffer.toString('hex')).toBe(hex);
  });
});
