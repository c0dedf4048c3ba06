import { expect, test } from 'vitest';
import { acceptable, contentTypeOf, formatOf } from './content-format.ts';

const bytes = (text: string): Buffer => Buffer.from(text);

test('numbers and content types stand for each other', () => {
  for (const [format, contentType] of [
    [0, 'text/plain'],
    [42, 'application/octet-stream'],
    [50, 'application/json'],
    [60, 'application/cbor'],
    [110, 'application/senml+json'],
    [112, 'application/senml+cbor'],
  ] as const) {
    expect(contentTypeOf(format)).toBe(contentType);
    expect(formatOf(contentType, bytes('x'))).toBe(format);
  }
  expect(contentTypeOf(null)).toBe('');
  expect(contentTypeOf(65_000)).toBeNull();
});

test('a content type may have parameters and any case, and may have no number', () => {
  expect(formatOf('Text/Plain; charset=utf-8', bytes('x'))).toBe(0);
  expect(formatOf('video/mp4', bytes('x'))).toBeUndefined();
});

test('what named no content type is told by its first byte', () => {
  expect(formatOf('', bytes('[{"n":"t"}]'))).toBe(50);
  expect(formatOf('', bytes('{}'))).toBe(50);
  expect(formatOf('', bytes('x'))).toBe(42);
  expect(formatOf('', bytes(''))).toBe(42);
});

test('Accept asks for exactly one format; SenML may be what named none', () => {
  expect(acceptable(null, undefined, 'video/mp4')).toBe(true);
  expect(acceptable(50, 50, 'application/json')).toBe(true);
  expect(acceptable(110, 50, 'application/json')).toBe(false);
  expect(acceptable(110, 50, '')).toBe(true);
  expect(acceptable(0, undefined, 'video/mp4')).toBe(false);
});
