// hot
import zlib from 'node:zlib';

let table: Uint32Array | undefined;
/** CRC-32 for Node versions whose zlib lacks it. */
export function crc32Portable(bytes: Uint8Array): number {
  if (table === undefined) {
    table = new Uint32Array(256);
    for (let at = 0; at < 256; at++) {
      let value = at;
      for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
      table[at] = value;
    }
  }
  let crc = 0xffff_ffff;
  for (let at = 0; at < bytes.length; at++) {
    crc = (crc >>> 8) ^ (table[(crc ^ (bytes[at] as number)) & 0xff] as number);
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}

const native = zlib.crc32 as ((bytes: Uint8Array) => number) | undefined;
export const crc32: (bytes: Uint8Array) => number = native ?? crc32Portable;
