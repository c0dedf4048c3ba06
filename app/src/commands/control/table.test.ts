import { describe, expect, test } from 'vitest';
import { cell, column, type Row, sheet, table, width } from './table.ts';

const COLUMNS = [
  column('ID', 'id'),
  column('NAME', 'name'),
  column('COUNT', 'count', { align: 'right' }),
  column('TAGS', 'tags'),
];
const ROWS: readonly Row[] = [
  { id: '0197c2d0-6a3e-7000-8000-000000000010', name: 'Thermometer in the kitchen', count: 7, tags: ['indoor', 'a'] },
  { id: '0197c2d0-6a3e-7000-8000-000000000011', name: '温度計', count: 1_234, tags: [] },
  { id: '0197c2d0-6a3e-7000-8000-000000000012', name: 'evil\u001b[2J\nname', count: null, tags: ['x'] },
];

describe('tables', () => {
  test('stand in columns, numbers on the right', () => {
    expect(table(COLUMNS, ROWS, Number.POSITIVE_INFINITY)).toBe(
      [
        'ID                                    NAME                        COUNT  TAGS',
        '0197c2d0-6a3e-7000-8000-000000000010  Thermometer in the kitchen      7  indoor, a',
        '0197c2d0-6a3e-7000-8000-000000000011  温度計                       1234',
        `0197c2d0-6a3e-7000-8000-000000000012  evil\ufffd[2J name${' '.repeat(22)}x`,
        '',
      ].join('\n'),
    );
  });

  test.each([120, 80, 60, 50])('fit into %i columns', (columns) => {
    for (const line of table(COLUMNS, ROWS, columns).split('\n')) expect(width(line)).toBeLessThanOrEqual(columns);
  });

  test('cut the widest columns, and say so', () => {
    const [, first] = table(COLUMNS, ROWS, 60).split('\n');
    expect(first).toMatch(/^0197c2d0-[0-9a-f-]*… +Therm.*…? +7 +indoor, a$/);
  });

  test('never grow columns that no terminal is wide enough for', () => {
    expect(table(COLUMNS, ROWS, 1).split('\n')).toHaveLength(5);
  });
});

test('one thing is told a member a line, lists of objects a line each', () => {
  expect(sheet({ name: 'a', statements: [{ effect: 'deny' }, { effect: 'allow' }], pem: 'one\ntwo\n' })).toBe(
    'name        a\nstatements  {"effect":"deny"}\n            {"effect":"allow"}\npem         one\n            two\n',
  );
});

test.each([
  [null, ''],
  [true, 'yes'],
  [['a', 'b'], 'a, b'],
  [{ a: 1 }, '{"a":1}'],
  ['\u0000\u001b\u202e', '\ufffd\ufffd\ufffd'],
])('%j is shown as %j', (value, shown) => {
  expect(cell(value)).toBe(shown);
});
