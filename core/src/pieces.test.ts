import { expect, test } from 'vitest';
import { piecesOf } from './pieces.ts';

async function cut(texts: readonly string[], columnCount: number, sizeMin: number): Promise<[string, number][]> {
  const rows = (async function* () {
    for (const text of texts) yield Buffer.from(text);
  })();
  const pieces: [string, number][] = [];
  for await (const { bytes, rowCount } of piecesOf(rows, columnCount, sizeMin))
    pieces.push([bytes.toString(), rowCount]);
  return pieces;
}

test('cuts only between rows, wherever the stream is cut', async () => {
  expect(await cut(['a\t1\nb', '\t2\n', 'c\t3\nd\t4\n'], 2, 5)).toEqual([
    ['a\t1\n', 1],
    ['b\t2\nc\t3\nd\t4\n', 3],
  ]);
  expect(await cut([], 2, 5)).toEqual([]);
});

test('waits for the end of a row that is larger than a piece', async () => {
  expect(await cut(['aaaa', 'aaaa', '\nb\n'], 1, 3)).toEqual([['aaaaaaaa\nb\n', 2]]);
});

test('refuses a stream that breaks off within a row, or tells of a fault in the midst of rows', async () => {
  await expect(cut(['a\t1\nb'], 2, 1_000)).rejects.toThrow('broke off');
  await expect(cut(['a\t1\nCode: 241. Memory limit\n'], 2, 1_000)).rejects.toThrow('broke off');
});
