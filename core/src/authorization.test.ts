import { expect, test } from 'vitest';
import { bareCredential, credentialOf } from './authorization.ts';

const JWT = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln';

test('a header says by its scheme what it shows', () => {
  expect(credentialOf('Thing 0123456789')).toEqual({ kind: 'key', key: '0123456789' });
  expect(credentialOf('client 0123456789')).toEqual({ kind: 'key', key: '0123456789' });
  expect(credentialOf('Bearer anything')).toEqual({ kind: 'bearer', token: 'anything' });
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
  expect(credentialOf(basic('thing-1:a:b'))).toEqual({ kind: 'key', key: 'a:b', thing: 'thing-1' });
  expect(credentialOf(basic(':secret'))).toEqual({ kind: 'key', key: 'secret' });
  expect(credentialOf(basic(`thing-1:${JWT}`))).toEqual({ kind: 'bearer', token: JWT });
});

test('a bare secret is told by its looks, as the oldest clients send it', () => {
  expect(credentialOf(JWT)).toEqual({ kind: 'bearer', token: JWT });
  expect(credentialOf('mrk_0123456789')).toEqual({ kind: 'bearer', token: 'mrk_0123456789' });
  expect(credentialOf('mrt_0123456789')).toEqual({ kind: 'bearer', token: 'mrt_0123456789' });
  expect(credentialOf('c02ff576-ccd5-40f6-ba5f-c85377aad529')?.kind).toBe('key');
  // A key that somebody chose may have dots.
  expect(bareCredential('my.own.key', 'thing-1')).toEqual({ kind: 'key', key: 'my.own.key', thing: 'thing-1' });
});

test('what is no credential is none', () => {
  for (const given of [
    null,
    undefined,
    '',
    ' ',
    'short',
    'Bearer',
    'Digest abc',
    'a b c',
    'x'.repeat(9_000),
    'Basic !!',
    'Basic YTo=',
  ])
    expect(credentialOf(given)).toBeNull();
});
