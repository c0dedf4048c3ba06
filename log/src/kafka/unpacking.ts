/** No batch of records unpacks to more: the largest message that can be configured, and some. What is larger was made to
 *  exhaust us: 1 MiB of zstd may hold 30 GiB. */
export const UNPACKED_BYTES_MAX = 80 * 1024 * 1024;

const LZ4_FRAME = 0x184d2204;
const ZSTD_FRAME = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;
const LZ4_RATIO_MAX = 255;
const ZSTD_BLOCK_BYTES_MAX = 128 * 1024;
const ZSTD_ID_BYTES = [0, 1, 2, 4] as const;
const ZSTD_SIZE_BYTES = [0, 2, 4, 8] as const;

/** What bytes of lz4 unpack to at most, without unpacking them.
 *  @throws RangeError when they are no frames, or end too early  @source lz4_Frame_format.md 1.6.4 */
export function lz4SizeMax(bytes: Buffer): number {
  let size = 0;
  walkFrames(bytes, LZ4_FRAME, (start) => {
    const flags = bytes.readUInt8(start);
    const blockBytesMax = 1 << (8 + 2 * ((bytes.readUInt8(start + 1) >>> 4) & 7));
    let at = start + 3 + ((flags & 0x08) === 0 ? 0 : 8) + ((flags & 0x01) === 0 ? 0 : 4);
    for (;;) {
      const head = bytes.readUInt32LE(at);
      at += 4;
      if (head === 0) break;
      const length = head & 0x7fff_ffff;
      size += head >>> 31 === 1 ? length : Math.min(blockBytesMax, length * LZ4_RATIO_MAX);
      at += length + ((flags & 0x10) === 0 ? 0 : 4);
    }
    return at + ((flags & 0x04) === 0 ? 0 : 4);
  });
  return size;
}

/** What bytes of zstd unpack to at most, without unpacking them.
 *  @throws RangeError when they are no frames, or end too early  @source RFC 8878 §3.1 */
export function zstdSizeMax(bytes: Buffer): number {
  let size = 0;
  walkFrames(bytes, ZSTD_FRAME, (start) => {
    const flags = bytes.readUInt8(start);
    const single = (flags & 0x20) !== 0;
    const sizeBytes = flags >>> 6 === 0 && single ? 1 : (ZSTD_SIZE_BYTES[flags >>> 6] as number);
    let at = start + (single ? 1 : 2) + (ZSTD_ID_BYTES[flags & 3] as number) + sizeBytes;
    for (let last = false; !last; ) {
      const head = bytes.readUIntLE(at, 3);
      const [kind, length] = [(head >>> 1) & 3, head >>> 3];
      at += 3 + (kind === 1 ? 1 : length);
      size += kind === 2 ? ZSTD_BLOCK_BYTES_MAX : length;
      last = (head & 1) === 1;
    }
    return at + ((flags & 0x04) === 0 ? 0 : 4);
  });
  return size;
}

/** @param walk  where a frame ends whose magic number ends at an offset */
function walkFrames(bytes: Buffer, magic: number, walk: (start: number) => number): void {
  for (let at = 0; at < bytes.length; ) {
    const found = bytes.readUInt32LE(at);
    if (found === magic) at = walk(at + 4);
    else if ((found & 0xffff_fff0) >>> 0 === SKIPPABLE) at += 8 + bytes.readUInt32LE(at + 4);
    else throw new RangeError('what is there is no frame');
  }
}

/** What a raw block of snappy says that it unpacks to; the library holds it to that.
 *  @throws RangeError when it says nothing  @source snappy, format_description.txt §1 */
export function snappySize(bytes: Buffer): number {
  let size = 0;
  for (let at = 0; at < 5; at++) {
    const byte = bytes.readUInt8(at);
    size += (byte & 0x7f) * 2 ** (7 * at);
    if (byte < 0x80) return size;
  }
  throw new RangeError('not a block of snappy');
}

/** @throws RangeError when something unpacks to too much */
export function admit(size: number): void {
  if (size > UNPACKED_BYTES_MAX) throw new RangeError(`records unpack to more than ${UNPACKED_BYTES_MAX} bytes`);
}
