import type { KafkaCompression } from '../client.ts';
import { CODECS } from '../codecs.ts';
import type { BatchCompression } from './record-batch.ts';

const BY_ATTRIBUTE = new Map(Object.values(CODECS).map((codec) => [codec.attribute, codec]));

export function compressionOf(compression: KafkaCompression): BatchCompression | null {
  return compression === 'none' ? null : CODECS[compression];
}

/** @shape attribute: of the record batch, 1 to 4  @throws RangeError of an unknown one, or of too much */
export function decompress(attribute: number, bytes: Buffer): Promise<Buffer> {
  const codec = BY_ATTRIBUTE.get(attribute);
  if (codec === undefined) throw new RangeError(`compression ${attribute} is not known`);
  return codec.decompress(bytes);
}
