import { gzipSync } from 'node:zlib';
import zstd from '@mongodb-js/zstd';
import fc from 'fast-check';
import kafkajs from 'kafkajs';
import { compressFrame } from 'lz4-napi';
import { compressSync } from 'snappy';
import { describe, expect, test } from 'vitest';
import { CODECS } from './codecs.ts';
import { registerCodecs } from './kafkajs/codecs.ts';
import { compressSnappy } from './snappy-frames.ts';
import { lz4SizeMax, snappySize, UNPACKED_BYTES_MAX, zstdSizeMax } from './unpacking.ts';

const somePlain = fc.oneof(
  fc.uint8Array({ maxLength: 5_000 }),
  fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 50 }), fc.nat(20_000)).map(([piece, times]) => {
    return Buffer.alloc(piece.length * times, piece);
  }),
);
const much = Buffer.alloc(UNPACKED_BYTES_MAX + 1);

describe('the codecs of Kafka', () => {
  test.each(Object.keys(CODECS) as (keyof typeof CODECS)[])('%s gives back what it was given', async (name) => {
    const { compress, decompress } = CODECS[name];
    await fc.assert(
      fc.asyncProperty(somePlain, async (plain) => {
        const bytes = Buffer.from(plain);
        expect((await decompress(await compress(bytes))).equals(bytes)).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  test('what something unpacks to is never more than what is said before', async () => {
    await fc.assert(
      fc.asyncProperty(somePlain, fc.integer({ min: 1, max: 19 }), async (plain, level) => {
        const bytes = Buffer.from(plain);
        expect(zstdSizeMax(await zstd.compress(bytes, level))).toBeGreaterThanOrEqual(bytes.length);
        expect(lz4SizeMax(await compressFrame(bytes))).toBeGreaterThanOrEqual(bytes.length);
        const checked = await compressFrame(bytes, { blockChecksums: true, contentChecksum: true });
        expect(lz4SizeMax(checked)).toBeGreaterThanOrEqual(bytes.length);
        if (bytes.length > 0) expect(snappySize(compressSync(bytes) as Buffer)).toBe(bytes.length);
      }),
      { numRuns: 50 },
    );
  });

  test('one that unpacks to too much is refused before it takes the memory', async () => {
    const { gzip, lz4, snappy, zstd: ours } = CODECS;
    await expect(gzip.decompress(gzipSync(much))).rejects.toThrow(RangeError);
    await expect(lz4.decompress(await compressFrame(much))).rejects.toThrow('unpack to more');
    await expect(ours.decompress(await zstd.compress(much, 1))).rejects.toThrow('unpack to more');
    await expect(snappy.decompress(compressSync(much) as Buffer)).rejects.toThrow('unpack to more');
    await expect(snappy.decompress(compressSnappy(much))).rejects.toThrow('unpack to more');
    // Two that are small enough, one behind the other.
    const half = await zstd.compress(much.subarray(0, UNPACKED_BYTES_MAX / 2 + 1), 1);
    await expect(ours.decompress(Buffer.concat([half, half]))).rejects.toThrow('unpack to more');
  }, 60_000);

  test('what is no frame at all is an error, and nothing hangs', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (bytes) => {
        for (const { decompress } of Object.values(CODECS)) await decompress(Buffer.from(bytes)).catch(() => null);
        await expect(CODECS.zstd.decompress(Buffer.from([1, ...bytes]))).rejects.toThrow();
        await expect(CODECS.lz4.decompress(Buffer.from([1, ...bytes]))).rejects.toThrow();
      }),
    );
  });

  test('kafkajs makes no objects of millions of records', async () => {
    registerCodecs();
    const codec = kafkajs.CompressionCodecs[kafkajs.CompressionTypes.GZIP]?.() as {
      decompress(bytes: Buffer): Promise<Buffer>;
    };
    // A size of three bytes, then as many.
    const record = Buffer.from([6, 0, 0, 0]);
    await expect(codec.decompress(gzipSync(Buffer.alloc(4 * 1_000_001, record)))).rejects.toThrow('records');
    expect((await codec.decompress(gzipSync(Buffer.alloc(4 * 1_000, record)))).length).toBe(4_000);
  });
});
