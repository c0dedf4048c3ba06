import kafkajs from 'kafkajs';
import type { KafkaCompression } from '../client.ts';
import { CODECS, type Codec } from '../codecs.ts';

/** kafkajs makes a dozen objects of each record, however small. */
const RECORDS_MAX = 1_000_000;

/** kafkajs brings gzip only, without a bound, and its codecs are one table a process. All are put there whatever we
 *  produce with: third parties choose their own. */
export function registerCodecs(): void {
  const table: Record<number, () => unknown> = kafkajs.CompressionCodecs;
  for (const codec of Object.values(CODECS)) {
    const asked = codecOf(codec);
    table[codec.attribute] = () => asked;
  }
}

/** What kafkajs asks of a codec. */
const codecOf = ({ compress, decompress }: Codec) => ({
  compress: async ({ buffer }: { readonly buffer: Buffer }) => compress(buffer),
  async decompress(buffer: Buffer): Promise<Buffer> {
    const unpacked = await decompress(buffer);
    if (recordsIn(unpacked) > RECORDS_MAX) throw new RangeError(`a batch has more than ${RECORDS_MAX} records`);
    return unpacked;
  },
});

/** @shape each record begins with its size, a zigzag varint */
function recordsIn(bytes: Buffer): number {
  let count = 0;
  for (let at = 0; at < bytes.length; count++) {
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++] ?? 0;
      size += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80 || shift > 28) break;
    }
    at += Math.floor(size / 2);
  }
  return count;
}

/** CompressionTypes. */
export function compressionType(compression: KafkaCompression): number {
  return compression === 'none' ? 0 : CODECS[compression].attribute;
}
