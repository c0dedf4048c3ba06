import { expect, test } from 'vitest';
import { framesAreModest, ZstdInflater } from './zstd.ts';

const MAGIC = [0x28, 0xb5, 0x2f, 0xfd];
const HELLO = new Uint8Array([...MAGIC, 0x20, 5, 0x29, 0, 0, 104, 101, 108, 108, 111]);

test('answers many bodies at once, each its own', async () => {
  const zstd = new ZstdInflater();
  const answers = await Promise.all(Array.from({ length: 50 }, () => zstd.inflate(HELLO, 100)));
  expect(answers.map((answer) => Buffer.from(answer as Uint8Array).toString())).toEqual(Array(50).fill('hello'));
  await zstd.stop();
});

test('refuses as busy what is beyond its queue, and what waits when it stops', async () => {
  const zstd = new ZstdInflater();
  const answers = Array.from({ length: 300 }, () => zstd.inflate(HELLO, 100));
  await zstd.stop();
  expect(new Set((await Promise.all(answers)).map(String))).toContain('busy');
});

test('gives up on a body that takes too long, and decodes the next', async () => {
  const zstd = new ZstdInflater();
  // A window of 8 MiB, moved on by each of a million blocks of one byte.
  const blocks = new Uint8Array(6 + 4_000_000);
  blocks.set([...MAGIC, 0x00, 13 << 3]);
  for (let at = 6; at < blocks.length; at += 4) blocks.set([0x0a | (at + 4 === blocks.length ? 1 : 0), 0, 0, 0x41], at);
  expect(framesAreModest(blocks, 10_000_000)).toBe(true);
  expect(await zstd.inflate(blocks, 10_000_000)).toBe('malformed');
  expect(Buffer.from((await zstd.inflate(HELLO, 100)) as Uint8Array).toString()).toBe('hello');
  await zstd.stop();
});

test('looks no further at frames that are cut, too wide, or no frames', () => {
  for (let size = 0; size < HELLO.length; size++) expect(framesAreModest(HELLO.subarray(0, size), 100)).toBe(false);
  expect(framesAreModest(new Uint8Array([...MAGIC, 0x00, 0xff, 1, 0, 0]), 100)).toBe(false);
  expect(framesAreModest(new Uint8Array([...HELLO, ...HELLO]), 100)).toBe(true);
});
