import { expect, test } from 'vitest';
import { FigureCollector } from './figures.ts';
import { median, quantile, spread, thirdsRatio } from './statistics.ts';

test('a median is not moved by one lucky or unlucky round', () => {
  expect(median([3, 1_000, 2])).toBe(3);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([])).toBeNaN();
  expect(spread([90, 100, 110])).toBeCloseTo(0.2);
  expect(spread([7])).toBe(0);
});

test('a quantile is one of the values', () => {
  const values = Array.from({ length: 100 }, (_, index) => 100 - index);
  expect([0, 0.5, 0.99, 1].map((part) => quantile(values, part))).toEqual([1, 50, 99, 100]);
  expect(quantile([], 0.5)).toBeNaN();
});

test('memory that grows shows in the last third, whatever the middle does', () => {
  expect(thirdsRatio([100, 100, 500, 500, 100, 100])).toBe(1);
  expect(thirdsRatio([100, 110, 120, 130, 140, 150])).toBeCloseTo(145 / 105);
  expect(thirdsRatio([1, 2])).toBeNaN();
});

test('figures keep every round beside the median', () => {
  const collector = new FigureCollector();
  for (const value of [12_345.6, 11_111.1, 99_999.9]) collector.add('road/rate', 'messages/s', value);
  expect(collector.figures()['road/rate']).toEqual({
    unit: 'messages/s',
    median: 12_350,
    spread: 7.2,
    values: [12_350, 11_110, 100_000],
  });
});
