import { expect, test } from 'vitest';
import { Room } from './room.ts';

test('only an org that was counted lately and has room with something to spare is not counted again', () => {
  const room = new Room(100);
  expect(room.sure(['a', 'b'], 1, 0)).toEqual([]);
  room.grown('a', 20, 100, 0);
  room.grown('b', 20, null, 0);
  expect(room.sure(['a', 'b', 'a'], 69, 0)).toEqual(['a']);
  expect(room.sure(['a'], 70, 0), 'a tenth is left to others').toEqual([]);
  room.grown('a', 50, null, 1);
  expect(room.sure(['a'], 19, 9_999)).toEqual(['a']);
  expect(room.sure(['a'], 20, 9_999)).toEqual([]);
  expect(room.sure(['a'], 19, 10_000), 'the count is old').toEqual([]);
});

test('forgets when there are too many orgs', () => {
  const room = new Room(100);
  for (let index = 0; index <= 10_000; index++) room.grown(`org ${index}`, 0, 100, 0);
  expect(room.sure(['org 0'], 1, 0)).toEqual([]);
  expect(room.sure(['org 10000'], 1, 0)).toEqual(['org 10000']);
});
