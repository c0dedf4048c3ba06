import { EnvelopeReader } from '@millrace/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ChannelIndex, ChannelNotes, channelHash } from './channel-index.ts';
import { recordMaker } from './testing/stage.ts';

const BLOCK = 8;
const MiB = 1_048_576;
const channel = (index: number): string => `01890000-0000-7000-8000-${String(index).padStart(12, '0')}`;
const reader = new EnvelopeReader();
reader.open(recordMaker()('chan-a', '', 'x'));

describe('the index of channels', () => {
  test('never says no where there is one', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string(), { maxLength: 500 }), (ids) => {
        const index = new ChannelIndex(MiB, BLOCK);
        index.put(3, new Set(ids));
        for (const id of ids) expect(index.mayHold(3, channelHash(id))).toBe(true);
      }),
    );
  });

  test('mostly says no where there is none', () => {
    const index = new ChannelIndex(MiB, BLOCK);
    index.put(0, new Set(Array.from({ length: 1_000 }, (_, at) => channel(at))));
    let wrong = 0;
    for (let at = 1_000; at < 11_000; at++) if (index.mayHold(0, channelHash(channel(at)))) wrong++;
    expect(wrong).toBeLessThan(300);
  });

  test('says yes to what it has not read, and to what it had to forget', () => {
    const index = new ChannelIndex(2_000, BLOCK);
    expect(index.mayHold(0, channelHash('x'))).toBe(true);
    for (let block = 0; block < 1_000; block++) {
      index.put(block, new Set(['a']));
      expect(index.bytes).toBeLessThanOrEqual(2_000);
    }
    expect(index.has(0)).toBe(false);
    expect(index.mayHold(0, channelHash('x'))).toBe(true);
    expect(index.has(999)).toBe(true);
    expect(index.mayHold(999, channelHash('x'))).toBe(false);
    const off = new ChannelIndex(0, BLOCK);
    off.put(0, new Set(['a']));
    expect(off.has(0)).toBe(false);
  });

  test('knows a block only when all of it was read without a break', () => {
    const reads = fc.array(fc.tuple(fc.nat(40), fc.integer({ min: 1, max: 30 }), fc.boolean()), { maxLength: 20 });
    fc.assert(
      fc.property(reads, (all) => {
        const index = new ChannelIndex(MiB, BLOCK);
        const notes = new ChannelNotes(index);
        // Offset n holds channel n.
        for (const [from, count, broken] of all) {
          notes.begin(from);
          for (let offset = from; offset < from + count; offset++) notes.note(offset, channel(offset), reader);
          if (broken) notes.breakOff();
          else notes.end(from + count);
        }
        for (let block = 0; block < 10; block++) {
          for (let offset = block * BLOCK; offset < (block + 1) * BLOCK; offset++) {
            expect(index.mayHold(block, channelHash(channel(offset)))).toBe(true);
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  test('knows a block that was read in pieces that follow each other', () => {
    const index = new ChannelIndex(MiB, BLOCK);
    const notes = new ChannelNotes(index);
    for (let from = 5; from < 20; from += 3) {
      notes.begin(from);
      for (let offset = from; offset < from + 3; offset++) notes.note(offset, channel(offset), reader);
      notes.end(from + 3);
    }
    expect([0, 1, 2].map((block) => index.has(block))).toEqual([false, true, false]);
    expect(index.mayHold(1, channelHash(channel(12)))).toBe(true);
    expect(index.mayHold(1, channelHash('another'))).toBe(false);
  });
});
