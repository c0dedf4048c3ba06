import { credentialOf } from '@millrace/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { subtopicFault } from '../subtopic.ts';
import { Head, HeadCache, parseHead } from './head.ts';
import { routeOf } from './route.ts';

const head = (path: string): string => `POST ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: Thing key-12345\r\n`;

describe('heads', () => {
  test('that come again are the same object, others are not', () => {
    const cache = new HeadCache(4);
    const first = cache.read(head('/channels/a/messages'));
    expect(cache.read(head('/channels/a/messages'))).toBe(first);
    expect(cache.read(head('/channels/b/messages'))).not.toBe(first);
  });

  test('are kept within bounds, those in use longest', () => {
    const cache = new HeadCache(10);
    const used = cache.read(head('/channels/used/messages'));
    for (let index = 0; index < 1_000; index++) {
      cache.read(head(`/channels/c${index}/messages`));
      cache.read(head('/channels/used/messages'));
    }
    expect(cache.size).toBeLessThanOrEqual(20);
    expect(cache.read(head('/channels/used/messages'))).toBe(used);
  });

  test('are not kept when they never come again, or are no publish', () => {
    const cache = new HeadCache();
    cache.read(`${head('/channels/a/messages')}Idempotency-Key: 1\r\n`);
    cache.read(`${head('/channels/a/messages')}Traceparent: 1\r\n`);
    cache.read(`${head('/channels/a/messages')}X: ${'y'.repeat(3_000)}\r\n`);
    cache.read('GET /things HTTP/1.1\r\nHost: a\r\n');
    expect(cache.size).toBe(0);
  });

  test('in absolute form lose scheme and authority', () => {
    const parsed = parseHead('GET http://b.example:80/x?y=/z HTTP/1.1\r\nHost: a\r\n');
    expect(parsed).toMatchObject({ path: '/x', query: 'y=/z' });
  });

  test('are read in linear time, however many blanks they hold', () => {
    const blanks = ' \t'.repeat(8_000);
    const parsed = parseHead(`GET / HTTP/1.1\r\nHost: a\r\nX:${blanks}y${blanks}\r\n`);
    expect(parsed instanceof Head && parsed.header('x')).toBe('y');
    expect(parseHead(`GET / HTTP/1.1\r\nHost: a\r\nX:${blanks}\u0001\r\n`)).toMatchObject({ status: 400 });
  });

  test('of any text never throw', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        const parsed = parseHead(`${text}\r\n`);
        return parsed instanceof Head || parsed.status >= 400;
      }),
    );
  });
});

describe('routes', () => {
  test('are none for other paths', () => {
    for (const path of ['/', '/channels', '/channels/a', '/channels/a/message', '/m/o/c', '/things/a/messages', '//']) {
      expect(routeOf(path)).toBe(null);
    }
  });

  test('never give a subtopic that is not allowed', () => {
    fc.assert(
      fc.property(fc.webPath(), (path) => {
        const route = routeOf(`/channels/a/messages${path}`);
        return route?.kind !== 'publish' || subtopicFault(route.subtopic) === null;
      }),
    );
  });
});

describe('credentials', () => {
  test.each([
    ['thing abcdefgh', { kind: 'key', key: 'abcdefgh' }],
    ['Basic Og==', null],
    ['Basic YTo=', null],
    ['Basic OmtleQ==', { kind: 'key', key: 'key' }],
    ['Basic !!!!', null],
    ['Basic YTpiOmM=', { kind: 'key', key: 'b:c', thing: 'a' }],
    ['short', null],
    ['', null],
  ])('of %j are %j', (text, credential) => {
    expect(credentialOf(text)).toEqual(credential);
  });
});
