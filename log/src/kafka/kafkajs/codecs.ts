import zstd from '@mongodb-js/zstd';
import kafkajs from 'kafkajs';
import { compressFrame, decompressFrame } from 'lz4-napi';
import type { KafkaCompression } from '../client.ts';
import { compressSnappy, uncompressSnappy } from '../snappy-frames.ts';

/** What kafkajs asks of a codec. */
interface Codec {
  compress(encoder: { readonly buffer: Buffer }): Promise<Buffer>;
  decompress(buffer: Buffer): Promise<Buffer>;
}

const CODECS: Readonly<Record<'snappy' | 'lz4' | 'zstd', Codec>> = {
  snappy: {
    compress: async ({ buffer }) => compressSnappy(buffer),
    decompress: async (buffer) => uncompressSnappy(buffer),
  },
  lz4: { compress: ({ buffer }) => compressFrame(buffer), decompress: (buffer) => decompressFrame(buffer) },
  zstd: { compress: ({ buffer }) => zstd.compress(buffer, 1), decompress: (buffer) => zstd.decompress(buffer) },
};

/** kafkajs brings gzip only, and its codecs are one table a process. All are put there whatever we produce with: third
 *  parties choose their own. */
export function registerCodecs(): void {
  const { CompressionCodecs, CompressionTypes } = kafkajs;
  CompressionCodecs[CompressionTypes.Snappy] = () => CODECS.snappy;
  CompressionCodecs[CompressionTypes.LZ4] = () => CODECS.lz4;
  CompressionCodecs[CompressionTypes.ZSTD] = () => CODECS.zstd;
}

/** CompressionTypes. */
export function compressionType(compression: KafkaCompression): number {
  return { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 }[compression];
}
