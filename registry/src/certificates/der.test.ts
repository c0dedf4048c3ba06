import { expect, test } from 'vitest';
import { encode, integer, TAG, time } from './der.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

test('whole numbers are as short as they can be, and never negative', () => {
  for (const [value, wanted] of [
    [0, '020100'],
    [127, '02017f'],
    [128, '02020080'],
    [256, '02020100'],
    [0xff_ff, '020300ffff'],
    [2 ** 40, '0206010000000000'],
  ] as const)
    expect(hex(integer(value))).toBe(wanted);
});

test('sizes are written short below 128, long from there', () => {
  for (const [size, head] of [
    [0, '0400'],
    [127, '047f'],
    [128, '048180'],
    [255, '0481ff'],
    [256, '04820100'],
    [70_000, '0483011170'],
  ] as const)
    expect(hex(encode(TAG.octets, new Uint8Array(size))).slice(0, head.length)).toBe(head);
});

test('years have two digits until 2049, four from 2050', () => {
  expect(
    time(new Date(Date.UTC(2049, 11, 31, 23, 59, 59)))
      .toString('latin1')
      .slice(2),
  ).toBe('491231235959Z');
  expect(
    time(new Date(Date.UTC(2050, 0, 1)))
      .toString('latin1')
      .slice(2),
  ).toBe('20500101000000Z');
});
