import { createHash } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { AnswerBytes } from '@millrace/core';
import { CODINGS } from '../http/coding.ts';
import { ExportFailure } from './failure.ts';
import { ArrowRows, parquetRows } from './part-rows.ts';
import { rowCount } from './row-count.ts';
import type { ExportCompression, ExportFormat } from './schemas.ts';

export interface PartOptions {
  readonly format: ExportFormat;
  readonly compression: ExportCompression | null;
  readonly spreadsheet: boolean;
  readonly signal: AbortSignal;
  /** Told before bytes are written.  @throws ExportFailure where there is no room */
  take(bytes: number): Promise<void>;
  /** Told how many rows there are, where they can be counted on the way. */
  told(rows: number): void;
}
/** @shape sha256: hex */
export interface Written {
  readonly bytes: number;
  readonly rows: number;
  readonly sha256: string;
}

/** Writes an answer into a file that is there as a whole or not at all; what was left of an earlier try is replaced.
 *  @throws ExportFailure where there is no room; what the answer throws; the signal's reason */
export async function writePart(path: string, answer: AnswerBytes, options: PartOptions): Promise<Written> {
  const unfinished = `${path}.part`;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await rm(unfinished, { force: true });
    const written = await write(unfinished, answer, options);
    await rename(unfinished, path);
    await syncDirectory(dirname(path));
    return written;
  } catch (error) {
    await rm(unfinished, { force: true }).catch(() => undefined);
    if (FULL.has((error as NodeJS.ErrnoException).code ?? ''))
      throw new ExportFailure('The disk of the node is full. Ask who runs it.');
    throw error;
  }
}
const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

async function write(path: string, answer: AnswerBytes, options: PartOptions): Promise<Written> {
  const { format, compression, signal } = options;
  const file = await open(path, 'wx+', 0o600);
  const hash = createHash('sha256');
  const counted = rowCount(format, options.spreadsheet);
  const arrow = format === 'arrow' ? new ArrowRows() : null;
  let bytes = 0;
  try {
    async function* plain(): AsyncGenerator<Uint8Array> {
      for await (const part of answer) {
        signal.throwIfAborted();
        arrow?.pass(part);
        yield counted.pass(part);
        options.told(counted.rows + (arrow?.rows ?? 0));
      }
    }
    const parts = compression === null ? plain() : (CODINGS[compression]?.(plain()) ?? plain());
    for await (const part of parts) {
      signal.throwIfAborted();
      await options.take(part.length);
      hash.update(part);
      await file.writeFile(part);
      bytes += part.length;
    }
    await file.sync();
    const rows = format === 'parquet' ? await parquetRows(file, bytes) : counted.rows + (arrow?.rows ?? 0);
    return { bytes, rows, sha256: hash.digest('hex') };
  } finally {
    await file.close();
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
