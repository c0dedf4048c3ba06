import { closeSync, existsSync, fstatSync, ftruncateSync, openSync, readSync } from 'node:fs';
import { LogError } from '@millrace/core';

const META_BYTES = 160;
const MAGIC = 0xbeef_c0de;
const PAGE_BYTES_MAX = 65_536;
export const RESTORE =
  'stop Millrace and restore the log directory from a backup, or move it away to start with an empty log';

/** Looks at the head of an lmdb file before lmdb does: it would take a foreign or cut file for its own, and the process
 *  would die of it. A file that lost its tail gets its length back, so that reading there fails by checksum instead.
 *  @throws LogError LOG_CORRUPT
 *  @source lmdb's MDB_meta: magic at 24 of page 0 and 1, page size at 48, main root at 136, last page at 144, txn at 152 */
export function checkFile(path: string): void {
  if (!existsSync(path)) return;
  const file = openSync(path, 'r+');
  try {
    const { size } = fstatSync(file);
    if (size === 0) return;
    const first = meta(file, 0);
    const pageSize = first?.readUInt32LE(48) ?? 0;
    if (first === null || pageSize < 256 || pageSize > PAGE_BYTES_MAX) throw corrupt(path, 'it is no log file');
    const second = meta(file, pageSize);
    if (second === null) throw corrupt(path, 'its second head is damaged');
    const newest = second.readBigUInt64LE(152) > first.readBigUInt64LE(152) ? second : first;
    const root = newest.readBigInt64LE(136);
    const pages = BigInt(Math.floor(size / pageSize));
    if (root >= pages) throw corrupt(path, `it is cut at ${size} bytes`);
    const needed = (newest.readBigUInt64LE(144) + 1n) * BigInt(pageSize);
    if (BigInt(size) < needed) ftruncateSync(file, Number(needed));
  } finally {
    closeSync(file);
  }
}

function meta(file: number, at: number): Buffer | null {
  const bytes = Buffer.alloc(META_BYTES);
  if (readSync(file, bytes, 0, META_BYTES, at) < META_BYTES) return null;
  return bytes.readUInt32LE(24) === MAGIC ? bytes : null;
}

function corrupt(file: string, problem: string): LogError {
  return new LogError('LOG_CORRUPT', 'never', { file, problem, todo: RESTORE });
}
