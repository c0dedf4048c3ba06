import { equal, ok } from 'node:assert/strict';
import { describe, test } from 'vitest';
import { unitsTo } from './units.ts';

function converted(value: number, from: string, to: string): number | null {
  const conversion = unitsTo(to)?.find(({ unit }) => unit === from);
  return conversion === undefined ? null : value * conversion.factor + conversion.offset;
}

describe('units', () => {
  test('are converted within their dimension', () => {
    const cases: [number, string, string, number][] = [
      [0, 'Cel', 'K', 273.15],
      [0, 'K', 'Cel', -273.15],
      [20, 'Cel', 'degF', 68],
      [212, 'degF', 'Cel', 100],
      [1, 'kWh', 'J', 3.6e6],
      [36, 'km/h', 'm/s', 10],
      [1, 'hPa', 'mbar', 1],
      [50, '%', '/', 0.5],
      [30, 'dBm', 'dBW', 0],
      [1, 'KiB', 'bit', 8_192],
      [90, 'min', 'h', 1.5],
      [1, 'B/s', 'bit/s', 8],
      [7, 'Ah', 'C', 25_200],
    ];
    for (const [value, from, to, wanted] of cases) {
      const got = converted(value, from, to) ?? Number.NaN;
      ok(Math.abs(got - wanted) <= 1e-12 * Math.max(1, Math.abs(wanted)), `${value} ${from} is ${got} ${to}`);
    }
  });

  test('stay as they are where there is nothing to convert, to the last bit', () => {
    for (const unit of ['degF', 'kWh', 'lat', '%RH']) equal(converted(0.1 + 0.2, unit, unit), 0.1 + 0.2);
  });

  test('are not converted beyond it, nor what nobody knows', () => {
    equal(converted(1, 'Cel', 'm'), null);
    equal(converted(1, 'W', 'Wh'), null);
    equal(unitsTo('furlong'), null);
    equal(unitsTo(''), null);
    equal(unitsTo('__proto__'), null);
  });
});
