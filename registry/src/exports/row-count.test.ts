import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { rowCount } from './row-count.ts';

const csv = (rows: readonly (readonly (string | number)[])[]): string =>
  rows
    .map((row) => row.map((cell) => (typeof cell === 'number' ? cell : `"${cell.replaceAll('"', '""')}"`)).join(','))
    .map((line) => `${line}\n`)
    .join('');
const cell = fc.oneof(
  fc.integer(),
  fc.string({ unit: fc.constantFrom('=', '+', '-', '@', '\t', '\r', '\n', '"', ',', 'a', 'ö') }),
);
const rows = fc.array(fc.array(cell, { minLength: 1, maxLength: 4 }), { maxLength: 20 });

/** In pieces of any size, as they come. */
function pass(text: string, sizes: readonly number[], spreadsheet: boolean): { text: string; rows: number } {
  const count = rowCount('csv', spreadsheet);
  const bytes = Buffer.from(text);
  const parts: Uint8Array[] = [];
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const size = sizes[index % sizes.length] ?? 1;
    parts.push(count.pass(bytes.subarray(at, at + size)));
    at += size;
  }
  return { text: Buffer.concat(parts).toString(), rows: count.rows };
}
const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 });

describe('rows of CSV', () => {
  test('are counted, whatever text holds and wherever the pieces are cut; the header is none', () => {
    fc.assert(
      fc.property(rows, sizes, (given, cuts) => {
        const text = csv([['name', 'value'], ...given]);
        expect(pass(text, cuts, false)).toEqual({ text, rows: given.length });
      }),
    );
  });

  test('begin no formula where that is asked for, and nothing else is changed', () => {
    fc.assert(
      fc.property(rows, sizes, (given, cuts) => {
        const harmless = given.map((row) =>
          row.map((each) => (typeof each === 'string' && /^[=+\-@\t\r]/.test(each) ? `'${each}` : each)),
        );
        expect(pass(csv([['name'], ...given]), cuts, true).text).toBe(csv([['name'], ...harmless]));
      }),
    );
  });
});
