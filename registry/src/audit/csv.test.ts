import { expect, test } from 'vitest';
import { cell } from './csv.ts';

test('a cell of an export is never a formula, and never more than one cell', () => {
  expect(['=1+1', '+a', '-a', '@a', '\ta'].map(cell)).toEqual([`"'=1+1"`, `"'+a"`, `"'-a"`, `"'@a"`, `"'\ta"`]);
  expect(cell('a,"b"\r\nc')).toBe('"a,""b""\r\nc"');
  expect([cell(null), cell(3), cell('plain')]).toEqual(['', '3', 'plain']);
});
