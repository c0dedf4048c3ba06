import { expect, test } from 'vitest';
import { mayGo, type Part } from './retention.ts';

const part = (more: Partial<Part> = {}): Part => ({ end: 10, floor: 10, timeMs: 1_000, retentionMs: 500, ...more });
const state = { nowMs: 1_100, bytes: 100, retentionBytes: 1_000, pressed: false };
const late = { ...state, nowMs: 2_000 };
const large = { ...state, bytes: 1_001 };
const pressed = { ...state, pressed: true };

test('keeps what is young and small', () => {
  expect(mayGo([part()], state)).toBe(false);
});

test('lets go by age once the topics of all that it holds allow it', () => {
  expect(mayGo([part(), part()], late)).toBe(true);
  expect(mayGo([part(), part({ retentionMs: 5_000 })], late)).toBe(false);
});

test('lets go by size of the whole log', () => {
  expect(mayGo([part(), part({ retentionMs: 5_000 })], large)).toBe(true);
});

test('never lets go what a known group has not passed, be it of one topic among many', () => {
  for (const condition of [late, large, pressed]) {
    expect(mayGo([part(), part({ floor: 9 })], condition)).toBe(false);
    expect(mayGo([part(), part({ floor: -1 })], condition)).toBe(false);
  }
});

test('without a group, age and size alone count; pressure does not, for nobody has processed it', () => {
  expect(mayGo([part({ floor: null })], late)).toBe(true);
  expect(mayGo([part({ floor: null })], large)).toBe(true);
  expect(mayGo([part({ floor: null }), part()], pressed)).toBe(false);
  expect(mayGo([part(), part()], pressed)).toBe(true);
});
