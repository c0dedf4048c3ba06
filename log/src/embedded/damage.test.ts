import { copyFileSync, readFileSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { appendOne, type Log } from '@millrace/core';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { Bench, leaseOf, readAll, segmentsIn, topic } from '../testing/embedded.ts';
import { FRAME_HEADER_BYTES, type FrameHeader, frameBytes, frameFault, KIND, readHeader, sealFrame } from './frame.ts';
import { scan } from './recovery.ts';
import { SEGMENT_HEADER_BYTES, Segment } from './segment.ts';

const bench = new Bench();
afterEach(() => bench.end());

/** A log of a few segments as a killed process leaves it, with what it had acknowledged. */
async function written(count: number, segmentBytesMax: number, size: number): Promise<{ at: string; texts: string[] }> {
  const at = bench.directory();
  const log = await (await bench.open(at, { segmentBytesMax })).value.topic(topic);
  const texts: string[] = [];
  for (let index = 0; index < count; index++) {
    texts.push(`r${index}-`.padEnd(size, '.'));
    await appendOne(log, 0, '', Buffer.from(texts[index] as string));
  }
  return { at: bench.crash(at), texts };
}

async function reopened(at: string): Promise<Log> {
  return (await bench.open(at)).value.topic(topic);
}

function change(file: string, change: (bytes: Buffer) => void): void {
  const bytes = readFileSync(file);
  change(bytes);
  writeFileSync(file, bytes);
}

describe('when a file is damaged', () => {
  test('says what to do instead of starting on something else', async () => {
    const at = bench.directory();
    writeFileSync(join(at, 'segment-0000000001.log'), Buffer.alloc(65_536, 'not a log '));
    const facts = { todo: expect.stringMatching(/restore/) };
    await expect(bench.open(at)).rejects.toMatchObject({ code: 'LOG_CORRUPT', facts });
  });

  test('does not start beside the file of an older version, which may hold messages', async () => {
    const at = bench.directory();
    writeFileSync(join(at, 'log.mdb'), '');
    const facts = { file: join(at, 'log.mdb'), todo: expect.stringMatching(/older|that version/) };
    await expect(bench.open(at)).rejects.toMatchObject({ code: 'LOG_CORRUPT', retry: 'never', facts });
  });

  test('refuses a last segment that was cut, wherever', async () => {
    const { at } = await written(20, 1024 * 1024, 5_000);
    const [whole = ''] = segmentsIn(at);
    for (const size of [0, 10, SEGMENT_HEADER_BYTES, 5_000, 60_000, 1024 * 1024 - 1]) {
      const cut = bench.directory();
      copyFileSync(whole, join(cut, basename(whole)));
      truncateSync(join(cut, basename(whole)), size);
      await expect(bench.open(cut)).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
    }
  });

  test('refuses to start when the head of the last segment is damaged: the small state is there', async () => {
    const { at } = await written(20, 1024 * 1024, 500);
    change(segmentsIn(at)[0] ?? '', (bytes) => bytes.fill(0, SEGMENT_HEADER_BYTES + 100, SEGMENT_HEADER_BYTES + 110));
    await expect(bench.open(at)).rejects.toMatchObject({ code: 'LOG_CORRUPT', facts: { problem: /head/ } });
  });

  test('starts when only the first write to a segment was torn, wherever: it was never acknowledged', async () => {
    const at = bench.directory();
    const log = await (await bench.open(at, { segmentBytesMax: 16_384 })).value.topic(topic);
    const headOf = (file: string): boolean =>
      readFileSync(file).toString('latin1', SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES + 4) === 'MRF1';
    let count = 0;
    const begun = (): string[] => segmentsIn(at).filter(headOf);
    while (begun().length < 2) await appendOne(log, 0, '', Buffer.from(`r${count++}-`.padEnd(1_000, '.')));
    const left = bench.crash(at);
    const torn = segmentsIn(left).filter(headOf)[1] ?? '';
    change(torn, (bytes) => bytes.fill(0, SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES + 60));
    expect(readFileSync(torn).includes(`r${count - 1}-`)).toBe(true);
    const again = await reopened(left);
    expect((await appendOne(again, 0, '', Buffer.from('next'))).offset).toBe(count - 1);
    const { kept, damaged } = await readAll(await reopened(bench.crash(left)));
    expect(damaged).toBe(0);
    expect(kept.size).toBe(count);
    expect(kept.get(count - 1)).toBe('next');
  });

  test('takes nothing of a torn round for durable when the round after the restart is torn, too', async () => {
    const both = { ...topic, partitionCount: 2 };
    let at = bench.directory();
    const begin = await (await bench.open(at)).value.topic(both);
    await appendOne(begin, 0, '', Buffer.from('kept'));
    at = bench.crash(at);
    for (let life = 0; life < 3; life++) {
      const log = await (await bench.open(at)).value.topic(both);
      expect((await readAll(log, 0)).kept).toEqual(new Map([[0, 'kept']]));
      expect((await readAll(log, 1)).kept.size).toBe(0);
      await Promise.all(
        [0, 1].map((partition) => appendOne(log, partition, '', Buffer.from(`torn-${life}-${partition}`))),
      );
      at = bench.crash(at);
      change(segmentsIn(at)[0] ?? '', (bytes) => {
        bytes[bytes.indexOf(`torn-${life}-0`)] = 0;
        expect(bytes.includes(`torn-${life}-1`)).toBe(true);
      });
    }
  });

  test('names the record whose frame does not have its checksum, and where reading can go on', async () => {
    const at = bench.directory();
    const first = await bench.open(at);
    const log = await first.value.topic(topic);
    for (const text of ['before', `damaged${'.'.repeat(5_000)}`, 'after'])
      await appendOne(log, 0, '', Buffer.from(text));
    await first.stop();
    change(segmentsIn(at)[0] ?? '', (bytes) => {
      expect(bytes.indexOf('damaged')).toBeGreaterThan(0);
      bytes[bytes.indexOf('damaged')] = 0;
    });
    const again = await reopened(at);
    expect((await again.peek(0, 0, { bytesMax: 1 }))?.last).toBe(0);
    await expect(again.peek(0, 1, { bytesMax: 1 })).rejects.toMatchObject({
      code: 'LOG_CORRUPT',
      facts: { topic: topic.topic, partition: 0, offset: 1, nextReadable: 2 },
    });
    expect((await again.peek(0, 2, { bytesMax: 100 }))?.first).toBe(2);
    expect((await appendOne(again, 0, '', Buffer.from('next'))).offset).toBe(3);
  });

  test('the last record too, when the engine had ended: it was no torn write', async () => {
    const at = bench.directory();
    const first = await bench.open(at);
    const log = await first.value.topic(topic);
    for (const text of ['before', 'damaged']) await appendOne(log, 0, '', Buffer.from(text));
    await first.stop();
    change(segmentsIn(at)[0] ?? '', (bytes) => {
      bytes[bytes.indexOf('damaged')] = 0;
    });
    const again = await reopened(at);
    expect((await appendOne(again, 0, '', Buffer.from('next'))).offset).toBe(1);
  });

  test('the last record when a group has passed it: its offset is not given again, or the group would skip that', async () => {
    const at = bench.directory();
    const first = await bench.open(at);
    const log = await first.value.topic(topic);
    for (const text of ['before', 'damaged']) await appendOne(log, 0, '', Buffer.from(text));
    await (await leaseOf(log, 'g')).commit(2, '');
    await first.stop();
    change(segmentsIn(at)[0] ?? '', (bytes) => {
      bytes[bytes.indexOf('damaged')] = 0;
    });
    const again = await reopened(at);
    expect((await appendOne(again, 0, '', Buffer.from('next'))).offset).toBe(2);
    const lease = await leaseOf(again, 'g');
    expect((await lease.read(lease.committed.offset, { bytesMax: 100, waitMsMax: 10_000 }))?.first).toBe(2);
    await expect(again.peek(0, 1, { bytesMax: 1 })).rejects.toMatchObject({ facts: { nextReadable: 2 } });
  });

  test('in a closed segment it costs what it hit, also where the head of the next is gone', async () => {
    const { at, texts } = await written(40, 16_384, 1_000);
    const files = segmentsIn(at);
    expect(files.length).toBeGreaterThanOrEqual(3);
    change(files[0] ?? '', (bytes) => {
      bytes[bytes.indexOf('r3-')] = 0;
    });
    change(files[1] ?? '', (bytes) => bytes.fill(0xff, SEGMENT_HEADER_BYTES + 8, SEGMENT_HEADER_BYTES + 60));
    const { kept, damaged } = await readAll(await reopened(at));
    expect(damaged).toBe(1);
    expect([...kept.keys()]).toEqual(texts.map((_, offset) => offset).filter((offset) => offset !== 3));
    for (const [offset, text] of kept) expect(text).toBe(texts[offset]);
  });

  test('a closed segment that is gone is named when its records are asked for', async () => {
    const { at, texts } = await written(40, 16_384, 1_000);
    unlinkSync(segmentsIn(at)[1] ?? '');
    const { kept, damaged } = await readAll(await reopened(at));
    expect(damaged).toBe(1);
    expect(kept.size).toBeLessThan(40);
    for (const [offset, text] of kept) expect(text).toBe(texts[offset]);
    expect(kept.get(39)).toBe(texts[39]);
  });

  test('frames of an earlier use of the file are never taken for its own', async () => {
    const at = bench.directory();
    let now = 1_000_000;
    const options = { segmentBytesMax: 16_384, retentionEveryMs: 1, now: () => now };
    const log = await (await bench.open(at, options)).value.topic(topic);
    const lease = await leaseOf(log, 'g');
    const text = (index: number): string => `r${index}-`.padEnd(300, '.');
    // Small frames over those of the first use, whose ends come into line now and then.
    for (let index = 0; index < 400; index++) {
      const { offset } = await appendOne(log, 0, '', Buffer.from(text(index)));
      if (index % 20 === 0) await lease.commit(offset, '');
      now += 400_000;
      if (index % 37 !== 0) continue;
      const { kept, damaged } = await readAll(await reopened(bench.crash(at)));
      expect(damaged).toBe(0);
      expect(Math.max(...kept.keys())).toBe(index);
      for (const [found, content] of kept) expect(content).toBe(text(found));
    }
  });
});

describe('frames', () => {
  const header = (data: Uint8Array): FrameHeader => ({
    kind: KIND.records,
    more: false,
    size: data.length,
    salt: 7,
    round: 2 ** 40,
    settled: 2 ** 40 - 3,
    first: 2 ** 45,
    timeMs: 1_700_000_000_000,
    count: 1,
    topic: 65_535,
    partition: 65_535,
  });

  test('come back as they were written, and no changed bit goes unnoticed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(), fc.nat(7), (data, where, bit) => {
        const bytes = Buffer.alloc(16 + frameBytes(data.length), 0xee);
        bytes.set(data, 8 + FRAME_HEADER_BYTES);
        sealFrame(bytes, 8, header(data));
        expect(frameFault(bytes, 8, bytes.length, 7)).toBeNull();
        expect(readHeader(bytes, 8)).toEqual(header(data));
        expect(frameFault(bytes, 8, bytes.length, 8)).not.toBeNull();
        const at = 8 + (where % (FRAME_HEADER_BYTES + data.length));
        bytes[at] = (bytes[at] as number) ^ (1 << bit);
        expect(frameFault(bytes, 8, bytes.length, 7)).not.toBeNull();
      }),
    );
  });
});

describe('recovery of the last segment', () => {
  interface Whole {
    readonly at: number;
    readonly end: number;
    readonly header: FrameHeader;
  }

  async function segment(recordBytes = 200): Promise<{ bytes: Buffer; salt: number; whole: Whole[] }> {
    const { at } = await written(30, 128 * 1024, recordBytes);
    const bytes = readFileSync(segmentsIn(at)[0] ?? '');
    const salt = bytes.readUInt32LE(24);
    return { bytes, salt, whole: found(bytes, salt) };
  }

  function found(bytes: Buffer, salt: number): Whole[] {
    const frames: Whole[] = [];
    scan(new Segment(1, '', bytes.length, salt), bytes, (header, data) => {
      const at = data.byteOffset - bytes.byteOffset - FRAME_HEADER_BYTES;
      frames.push({ at, end: at + frameBytes(header.size), header });
    });
    return frames;
  }

  test('finds what lies whole before the place where the writing was torn, and nothing else', async () => {
    const { bytes, salt, whole } = await segment();
    expect(whole.length).toBeGreaterThan(30);
    const size = whole.at(-1)?.end ?? 0;
    fc.assert(
      fc.property(fc.integer({ min: SEGMENT_HEADER_BYTES, max: size }), fc.constantFrom(0, 0xff), (cut, left) => {
        const torn = Buffer.from(bytes);
        torn.fill(left, cut, size);
        const data = whole.filter(({ at, header }) => at + FRAME_HEADER_BYTES + header.size <= cut);
        expect(found(torn, salt)).toEqual(data);
      }),
      { numRuns: 500 },
    );
  });

  test('a power cut may leave any sectors of the last round: it is there whole, or not at all', async () => {
    const { bytes, salt, whole } = await segment(2_000);
    const { at, end, header } = whole.at(-1) as Whole;
    const frame = (of: Buffer): Buffer => of.subarray(at, at + FRAME_HEADER_BYTES + header.size);
    fc.assert(
      fc.property(fc.infiniteStream(fc.boolean()), fc.constantFrom(0, 0x4d), (stays, left) => {
        const cut = Buffer.from(bytes);
        for (let sector = Math.floor(at / 512) * 512; sector < end; sector += 512) {
          if (stays.next().value === true) continue;
          cut.fill(left, Math.max(at, sector), Math.min(end, sector + 512));
        }
        expect(found(cut, salt)).toEqual(frame(cut).equals(frame(bytes)) ? whole : whole.slice(0, -1));
      }),
      { numRuns: 200 },
    );
  });

  test('a changed bit costs its frame when later ones show that it was durable, and the rest when none does', async () => {
    const { bytes, salt, whole } = await segment();
    const size = whole.at(-1)?.end ?? 0;
    fc.assert(
      fc.property(fc.integer({ min: SEGMENT_HEADER_BYTES, max: size - 1 }), fc.nat(7), (where, bit) => {
        const hit = whole.findIndex(({ end }) => where < end);
        const { at, header } = whole[hit] as Whole;
        fc.pre(where < at + FRAME_HEADER_BYTES + header.size);
        const flipped = Buffer.from(bytes);
        flipped[where] = (flipped[where] as number) ^ (1 << bit);
        const evident = whole.slice(hit + 1).some(({ header: { settled } }) => settled >= header.round);
        const expected = evident ? whole.filter((_, index) => index !== hit) : whole.slice(0, hit);
        expect(found(flipped, salt)).toEqual(expected);
      }),
      { numRuns: 500 },
    );
  });
});
