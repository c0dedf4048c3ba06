import { expect, test } from 'vitest';
import { metricSum } from './metrics-text.ts';

const TEXT = `# HELP rows_total rows
# TYPE rows_total counter
rows_total{table="readings",node="a"} 10
rows_total{table="readings",node="b"} 5 1700000000000
rows_total{table="messages",node="a"} 7
rows_total_of_another 1000
lag 3
lag_seconds{group="a b"} 2.5e-1
`;

test('sums a metric over the labels that were not asked for', () => {
  expect(metricSum(TEXT, 'rows_total', { table: 'readings' })).toBe(15);
  expect(metricSum(TEXT, 'rows_total')).toBe(22);
  expect(metricSum(TEXT, 'rows_total', { table: 'readings', node: 'b' })).toBe(5);
});
test('takes no metric for another whose name begins alike', () => {
  expect(metricSum(TEXT, 'lag')).toBe(3);
  expect(metricSum(TEXT, 'lag_seconds')).toBe(0.25);
  expect(metricSum(TEXT, 'nothing')).toBe(0);
});
