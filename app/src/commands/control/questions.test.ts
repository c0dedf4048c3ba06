import { describe, expect, test } from 'vitest';
import { sparkline } from './query.ts';
import { completions } from './sql-prompt.ts';

describe('what a terminal shows of questions', () => {
  test('a line of bars goes from the lowest to the highest, and leaves gaps', () => {
    expect(sparkline([0, 1, 2, 3, 4, 5, 6, 7])).toBe('▁▂▃▄▅▆▇█');
    expect(sparkline([-5, null, 5])).toBe('▁ █');
    expect(sparkline([3, 3])).toBe('▁▁');
    expect(sparkline([])).toBe('');
    expect(sparkline([null, Number.NaN])).toBe('  ');
  });

  test('the prompt completes tables, columns, functions and words of SQL', () => {
    const schema = {
      tables: [{ name: 'readings', comment: '', columns: [{ name: 'time', type: 'DateTime64(9)', comment: '' }] }],
      functions: { dates: ['toStartOfHour', 'toStartOfDay'] },
      limits: { seconds: 1, memory_bytes: 1, rows_read: 1, result_rows: 1, result_bytes: 1 },
    };
    expect(completions(schema, 'SELECT * FROM rea')).toEqual([['readings'], 'rea']);
    expect(completions(schema, 'SELECT tostart')).toEqual([['toStartOfHour(', 'toStartOfDay('], 'tostart']);
    expect(completions(schema, 'sel')).toEqual([['SELECT'], 'sel']);
    expect(completions(schema, 'SELECT ')).toEqual([[], '']);
  });
});
