const BLOCK = 512;

/** One file of a tar archive, as `tar` reads it; only its owner may read what is unpacked.
 *  @source POSIX.1-1988 ustar  @shape path of ASCII, at most 100 bytes; bytes below 8 GiB */
export function* tarFile(path: string, bytes: Uint8Array, modified: Date): Generator<Uint8Array> {
  const head = Buffer.alloc(BLOCK);
  head.write(path, 0, 100, 'latin1');
  head.write('0000600\0', 100, 'latin1');
  head.write('0000000\0', 108, 'latin1');
  head.write('0000000\0', 116, 'latin1');
  head.write(`${bytes.length.toString(8).padStart(11, '0')}\0`, 124, 'latin1');
  const seconds = Math.floor(modified.getTime() / 1_000);
  head.write(`${seconds.toString(8).padStart(11, '0')}\0`, 136, 'latin1');
  head.write('        ', 148, 'latin1');
  head.write('0', 156, 'latin1');
  head.write('ustar\x0000', 257, 'latin1');
  let sum = 0;
  for (const byte of head) sum += byte;
  head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  yield head;
  yield bytes;
  const rest = bytes.length % BLOCK;
  if (rest > 0) yield Buffer.alloc(BLOCK - rest);
}

/** What ends an archive. */
export const tarEnd = (): Uint8Array => Buffer.alloc(2 * BLOCK);
