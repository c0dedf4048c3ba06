import { expect, test } from 'vitest';
import { problemsOf, type Row } from './accounts.ts';

const rows = (...numbers: number[]): Row[] => numbers.map((number, index) => [number, 3, index * 2]);
const HTTP = { acknowledged: 3, keyed: true, repeated: new Set([2]) };
const MQTT = { ...HTTP, keyed: false };

test.each([
  ['all of them, in order', HTTP, rows(1, 2, 3), []],
  ['with one that was under way at the end', HTTP, rows(1, 2, 3, 4), []],
  ['over MQTT, with one that got no answer and came again', MQTT, rows(1, 2, 3, 2), []],
  ['over MQTT, twice what was sent once', MQTT, rows(1, 2, 3, 3), ['3 is stored again']],
  ['twice under one key', HTTP, rows(1, 2, 2, 3), ['2 is stored again']],
  ['without its end', HTTP, rows(1, 2), ['ends with 2, not 3']],
  ['with a gap', HTTP, rows(1, 3), ['3 follows 1', 'ends with 1, not 3']],
  ['out of order', HTTP, rows(2, 1, 3), ['2 follows 0', 'ends with 0, not 3']],
  ['with what nobody sent', HTTP, rows(1, 2, 3, 4, 5), ['ends with 5, not 3']],
  [
    'in two partitions',
    HTTP,
    [
      [1, 0, 0],
      [2, 0, 1],
      [3, 1, 0],
    ] as Row[],
    ['lies in partitions 0, 1'],
  ],
] as const)('a channel %s', (_, publisher, stored, problems) => {
  expect(problemsOf(publisher, stored)).toEqual(problems);
});
