// hot
/** Kafka's murmur2 of a key, as a signed 32-bit number.
 *  @source org.apache.kafka.common.utils.Utils#murmur2 */
export function murmur2(key: Uint8Array): number {
  const size = key.length;
  let hash = 0x9747b28c ^ size;
  const end = size - (size % 4);
  for (let at = 0; at < end; at += 4) {
    let k =
      (key[at] as number) |
      ((key[at + 1] as number) << 8) |
      ((key[at + 2] as number) << 16) |
      ((key[at + 3] as number) << 24);
    k = Math.imul(k, 0x5bd1e995);
    k ^= k >>> 24;
    k = Math.imul(k, 0x5bd1e995);
    hash = Math.imul(hash, 0x5bd1e995) ^ k;
  }
  const rest = size - end;
  if (rest === 3) hash ^= (key[end + 2] as number) << 16;
  if (rest >= 2) hash ^= (key[end + 1] as number) << 8;
  if (rest >= 1) hash = Math.imul(hash ^ (key[end] as number), 0x5bd1e995);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0x5bd1e995);
  return hash ^ (hash >>> 15);
}

/** The partition that Kafka's default partitioner gives a key, so third-party writers agree with us. */
export const partitionOf = (key: Uint8Array, partitionCount: number): number =>
  (murmur2(key) & 0x7fffffff) % partitionCount;
