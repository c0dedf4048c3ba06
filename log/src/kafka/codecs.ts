import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import zstd from '@mongodb-js/zstd';
import { compressFrame, decompressFrame } from 'lz4-napi';
import type { KafkaCompression } from './client.ts';
import { compressSnappy, uncompressSnappy } from './snappy-frames.ts';
import { admit, lz4SizeMax, UNPACKED_BYTES_MAX, zstdSizeMax } from './unpacking.ts';

export interface Codec {
  /** Of a record batch. */
  readonly attribute: number;
  compress(bytes: Buffer): Buffer | Promise<Buffer>;
  /** @throws RangeError when it unpacks to more than UNPACKED_BYTES_MAX, and what the library says of what is damaged */
  decompress(bytes: Buffer): Promise<Buffer>;
}

const gzipped = promisify<Buffer, Buffer>(gzip);
const gunzipped = promisify(gunzip);

export const CODECS: Readonly<Record<Exclude<KafkaCompression, 'none'>, Codec>> = {
  gzip: {
    attribute: 1,
    compress: gzipped,
    decompress: (bytes) => gunzipped(bytes, { maxOutputLength: UNPACKED_BYTES_MAX }),
  },
  snappy: { attribute: 2, compress: compressSnappy, decompress: async (bytes) => uncompressSnappy(bytes) },
  lz4: {
    attribute: 3,
    compress: (bytes) => compressFrame(bytes),
    async decompress(bytes) {
      admit(lz4SizeMax(bytes));
      return decompressFrame(bytes);
    },
  },
  zstd: {
    attribute: 4,
    compress: (bytes) => zstd.compress(bytes, 1),
    async decompress(bytes) {
      admit(zstdSizeMax(bytes));
      return zstd.decompress(bytes);
    },
  },
};
