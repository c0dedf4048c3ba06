import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Clauses, type Cursor, cursorText, parseCursor } from './page.ts';

const cursor: fc.Arbitrary<Cursor> = fc.oneof(
  fc.record({
    order: fc.constantFrom('created' as const, 'updated' as const),
    direction: fc.constantFrom('asc' as const, 'desc' as const),
    value: fc.nat().map((micros) => String(micros)),
    id: fc.uuid(),
  }),
  fc.record({
    order: fc.constantFrom('name' as const),
    direction: fc.constantFrom('asc' as const, 'desc' as const),
    value: fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0')),
    id: fc.uuid(),
  }),
);

test('a cursor gives what it was made of', () => {
  fc.assert(
    fc.property(cursor, (made) => {
      expect(parseCursor(cursorText(made))).toEqual(made);
    }),
  );
});

test('whatever is no cursor is refused as that, never a fault', () => {
  const refused = (text: string): void => {
    try {
      parseCursor(text);
    } catch (error) {
      expect(error).toMatchObject({ status: 400 });
    }
  };
  fc.assert(fc.property(fc.string(), refused));
  fc.assert(fc.property(fc.jsonValue(), (value) => refused(Buffer.from(JSON.stringify(value)).toString('base64url'))));
});

test('conditions hold the places of values, never the values', () => {
  const clauses = new Clauses();
  clauses.add('org = ?', "'; DROP TABLE registry.orgs; --");
  clauses.add('enabled');
  clauses.add('(id = ANY (?::uuid[]) OR ancestors && ?::uuid[])', ['a']);
  expect(clauses.where).toBe('org = $1 AND enabled AND (id = ANY ($2::uuid[]) OR ancestors && $2::uuid[])');
  expect(clauses.values).toHaveLength(2);
});
