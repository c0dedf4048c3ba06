import { FileFault } from '../entries.ts';

/** What decoders must take, and what encoders use unless they are told otherwise.  @source RFC 8878 §3.1.1.1.2 */
const WINDOW_BYTES_MAX = 8 * 1_048_576;
/** The decoder moves its whole window for each block, however little that unfolds to: so much for each byte, and so much
 *  in any case. */
const MOVED_PER_BYTE_MAX = 1_024;
const MOVED_BYTES_FREE = 8 * 1_073_741_824;
const MAGIC = 0xfd2fb528;

/** Looks at the frames and blocks of packed bytes before they are decoded.  @source RFC 8878 §3.1.1 */
export class ZstdFrames {
  #head: number[] = [];
  #skip = 0;
  #isInFrame = false;
  #checksumBytes = 0;
  #window = 0;
  #moved = 0;

  /** @param unpacked bytes that have come of it so far  @throws FileFault when it would cost too much to decode */
  look(packed: Uint8Array, unpacked: number): void {
    for (let at = 0; at < packed.length; ) {
      const skipped = Math.min(this.#skip, packed.length - at);
      this.#skip -= skipped;
      at += skipped;
      if (at >= packed.length) break;
      this.#head.push(packed[at++] as number);
      if (this.#isInFrame) this.#block();
      else this.#frame();
    }
    if (this.#moved > MOVED_BYTES_FREE + unpacked * MOVED_PER_BYTE_MAX)
      throw new FileFault('the zstd has too many small blocks: pack it anew');
  }

  #frame(): void {
    const head = this.#head;
    if (head.length < 5) return;
    const view = new DataView(Uint8Array.from(head).buffer);
    const magic = view.getUint32(0, true);
    if (magic >>> 4 === 0x184d2a5) {
      if (head.length < 8) return;
      this.#skip = view.getUint32(4, true);
      this.#head = [];
      return;
    }
    if (magic !== MAGIC) throw new FileFault('the zstd is broken');
    const flags = head[4] as number;
    const isSingle = (flags & 0x20) !== 0;
    const dictionaryBytes = [0, 1, 2, 4][flags & 3] as number;
    const sizeBytes = flags >> 6 === 0 ? (isSingle ? 1 : 0) : 1 << (flags >> 6);
    const size = (isSingle ? 5 : 6) + dictionaryBytes;
    if (head.length < size + sizeBytes) return;
    const descriptor = head[5] as number;
    const base = 2 ** (10 + (descriptor >> 3));
    this.#window = isSingle ? contentSize(view, size, sizeBytes) : base + (base / 8) * (descriptor & 7);
    if (this.#window > WINDOW_BYTES_MAX)
      throw new FileFault('the zstd needs a window of more than 8 MiB: pack it with a level of at most 19, not --long');
    this.#checksumBytes = (flags & 4) === 0 ? 0 : 4;
    this.#isInFrame = true;
    this.#head = [];
  }

  #block(): void {
    if (this.#head.length < 3) return;
    const [low = 0, middle = 0, high = 0] = this.#head;
    const header = low | (middle << 8) | (high << 16);
    this.#head = [];
    this.#moved += this.#window;
    // One byte that is repeated, or as many as it says.
    this.#skip = ((header >> 1) & 3) === 1 ? 1 : header >>> 3;
    if ((header & 1) === 0) return;
    this.#isInFrame = false;
    this.#skip += this.#checksumBytes;
  }
}

function contentSize(view: DataView, at: number, bytes: number): number {
  if (bytes === 1) return view.getUint8(at);
  if (bytes === 2) return view.getUint16(at, true) + 256;
  return bytes === 4 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true));
}
