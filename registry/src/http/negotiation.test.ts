import fc from 'fast-check';
import { expect, test } from 'vitest';
import { codingOf } from './coding.ts';
import { contentTypeOf, negotiated } from './negotiation.ts';
import { Refusal } from './refusal.ts';

const asking = (accept?: string) => new Request('http://here/', { headers: accept === undefined ? {} : { accept } });
const FORMS = ['json', 'ndjson', 'csv', 'arrow', 'parquet'] as const;

test.each([
  [undefined, 'json'],
  ['', 'json'],
  ['*/*', 'json'],
  ['text/csv', 'csv'],
  ['TEXT/CSV; header=absent', 'csv'],
  ['text/*', 'json'],
  ['text/*, text/json;q=0', 'csv'],
  ['application/x-ndjson', 'ndjson'],
  ['application/jsonl', 'ndjson'],
  ['application/json;q=0.5, text/csv;q=0.9', 'csv'],
  ['application/json;q=0.9, text/csv;q=0.9', 'json'],
  ['*/*;q=0.1, application/vnd.apache.arrow.stream', 'arrow'],
  ['application/json;q=0, */*', 'json'],
  ['image/png, application/vnd.apache.parquet;q=0.2', 'parquet'],
  ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'json'],
  [',,;q=1,', 'json'],
])('who accepts %s gets %s', (accept, form) => {
  expect(negotiated(asking(accept), FORMS)).toBe(form);
});

test('the parameter wins over the field, and an unknown one is refused by name', () => {
  expect(negotiated(asking('text/csv'), FORMS, 'parquet')).toBe('parquet');
  expect(() => negotiated(asking(), FORMS, 'xls')).toThrow(/"xls".*json, ndjson, csv/);
});

test('says what there is when nothing fits', () => {
  let refusal: unknown;
  try {
    negotiated(asking('image/png, text/csv;q=0'), ['json', 'csv']);
  } catch (error) {
    refusal = error;
  }
  expect(refusal).toBeInstanceOf(Refusal);
  expect(refusal).toMatchObject({ status: 406, headers: { vary: 'Accept' } });
  expect(String(refusal)).toContain('application/json (format=json), text/csv (format=csv)');
});

test.each([
  [null, null],
  ['', null],
  ['identity', null],
  ['gzip', 'gzip'],
  ['gzip, deflate, br, zstd', 'zstd'],
  ['gzip;q=1.0, zstd;q=0.5', 'gzip'],
  ['*', 'zstd'],
  ['*;q=0, gzip', 'gzip'],
  ['gzip;q=0', null],
  ['x-gzip', 'gzip'],
  ['br', 'br'],
  ['deflate', null],
])('to whom takes %s it is sent as %s', (field, coding) => {
  expect(codingOf(field)).toBe(coding);
});

test('no field makes it a fault', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'*/;,=q01.9 jsontexcvzip"-+') }), (field) => {
      codingOf(field);
      let form: string | null = null;
      try {
        form = negotiated(asking(field), FORMS);
      } catch (error) {
        expect(error).toBeInstanceOf(Refusal);
      }
      if (form !== null) expect(contentTypeOf(form as (typeof FORMS)[number])).toContain('/');
    }),
  );
});
