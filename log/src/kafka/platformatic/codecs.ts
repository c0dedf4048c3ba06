import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import zstd from '@mongodb-js/zstd';
import { compressFrame, decompressFrame } from 'lz4-napi';
import type { KafkaCompression } from '../client.ts';
import { compressSnappy, uncompressSnappy } from '../snappy-frames.ts';
import type { BatchCompression } from './record-batch.ts';

interface Codec extends BatchCompression {
  decompress(bytes: Buffer): Buffer | Promise<Buffer>;
}

const CODECS: Readonly<Record<Exclude<KafkaCompression, 'none'>, Codec>> = {
  gzip: { attribute: 1, compress: promisify<Buffer, Buffer>(gzip), decompress: promisify<Buffer, Buffer>(gunzip) },
  snappy: { attribute: 2, compress: compressSnappy, decompress: uncompressSnappy },
  lz4: { attribute: 3, compress: (bytes) => compressFrame(bytes), decompress: (bytes) => decompressFrame(bytes) },
  zstd: { attribute: 4, compress: (bytes) => zstd.compress(bytes, 1), decompress: (bytes) => zstd.decompress(bytes) },
};
const BY_ATTRIBUTE = new Map(Object.values(CODECS).map((codec) => [codec.attribute, codec]));

export function compressionOf(compression: KafkaCompression): BatchCompression | null {
  return compression === 'none' ? null : CODECS[compression];
}

/** @shape attribute: of the record batch, 1 to 4  @throws RangeError of an unknown one */
export function decompress(attribute: number, bytes: Buffer): Buffer | Promise<Buffer> {
  const codec = BY_ATTRIBUTE.get(attribute);
  if (codec === undefined) throw new RangeError(`compression ${attribute} is not known`);
  return codec.decompress(bytes);
}
