import { randomBytes } from 'node:crypto';
import { constants, existsSync, readdirSync, readSync, renameSync, statfsSync, unlinkSync } from 'node:fs';
import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { LogError } from '@millrace/core';
import { crc32 } from './crc.ts';
import { SEGMENT_HEADER_BYTES, Segment } from './segment.ts';

export type Durability = 'fsync' | 'commit';
export const RESTORE =
  'stop Millrace and restore the log directory from a backup, or move it away to start with an empty log';

const MAGIC = Buffer.from('MRSEGLOG', 'latin1');
const VERSION = 1;
const NAME = /^segment-(\d{10})\.log$/;
const NEW = 'new.tmp';
/** So many removed segments wait to be used again: as many as retention may remove at once, on a busy day. */
const RETIRED_MAX = 4;
const ZEROS = Buffer.alloc(1024 * 1024);
/** So much stays free for what else must write to this disk, the lock above all. */
const SPARED_BYTES = 64 * 1024;

/** The segment files of one directory: listed, made ahead in full size, used again, removed. Knows nothing of topics.
 *  @holds a file bears its final name only once it is whole on the disk: zeros or old frames behind a good head */
export class SegmentFiles {
  readonly directory: string;
  readonly durability: Durability;
  /** Files that wait to be used again. */
  readonly #retired: { readonly path: string; readonly size: number }[] = [];

  /** @throws LogError LOG_CORRUPT: the directory has a log of another kind */
  constructor(directory: string, durability: Durability) {
    this.directory = directory;
    this.durability = durability;
    const old = join(directory, 'log.mdb');
    if (existsSync(old)) {
      throw new LogError('LOG_CORRUPT', 'never', {
        file: old,
        problem: 'written by an older version',
        todo: 'start that version once more until all is processed, then move this file away',
      });
    }
    for (const name of readdirSync(directory)) if (name.endsWith('.tmp')) unlinkSync(join(directory, name));
  }

  /** With what a segment is opened for writing: each write is durable when it returns, where the system can do that. */
  get flags(): number {
    return constants.O_RDWR | (this.#syncsByItself ? constants.O_DSYNC : 0);
  }

  /** Whether a write must be followed by a sync. */
  get mustSync(): boolean {
    return this.durability === 'fsync' && !this.#syncsByItself;
  }

  get #syncsByItself(): boolean {
    return this.durability === 'fsync' && process.platform === 'linux';
  }

  path(sequence: number): string {
    return join(this.directory, `segment-${String(sequence).padStart(10, '0')}.log`);
  }

  /** All segments, oldest first, their heads checked.  @throws LogError LOG_CORRUPT */
  list(): Segment[] {
    const sequences = readdirSync(this.directory)
      .map((name) => NAME.exec(name)?.[1])
      .filter((digits) => digits !== undefined)
      .map(Number)
      .sort((a, b) => a - b);
    return sequences.map((sequence) => this.#look(sequence));
  }

  #look(sequence: number): Segment {
    const path = this.path(sequence);
    const head = Buffer.alloc(SEGMENT_HEADER_BYTES);
    const probe = new Segment(sequence, path, 0, 0);
    try {
      readSync(probe.file(), head, 0, head.length, 0);
    } finally {
      probe.close();
    }
    if (!head.subarray(0, 8).equals(MAGIC) || head.readUInt32LE(28) !== crc32(head.subarray(0, 28))) {
      throw new LogError('LOG_CORRUPT', 'never', { file: path, problem: 'it is no segment of a log', todo: RESTORE });
    }
    const version = head.readUInt32LE(8);
    if (version !== VERSION || head.readUInt32LE(12) !== sequence) {
      const problem = version === VERSION ? 'it bears the name of another segment' : `unknown version ${version}`;
      throw new LogError('LOG_CORRUPT', 'never', { file: path, problem, todo: RESTORE });
    }
    return new Segment(sequence, path, head.readDoubleLE(16), head.readUInt32LE(24));
  }

  /** Makes a segment to be written later, in full size, so that writing it allocates nothing.
   *  @throws LogError LOG_FULL, LOG_UNREACHABLE */
  async prepare(sequence: number, size: number): Promise<Segment> {
    const path = join(this.directory, NEW);
    let file: FileHandle | undefined;
    try {
      const retired = this.#retired.findIndex((one) => one.size === size);
      if (retired >= 0) {
        for (const one of this.#retired.splice(retired, 1)) renameSync(one.path, path);
        // Its old name must be gone for good before its head says something else.
        await this.#syncDirectory();
        file = await open(path, 'r+');
      } else {
        if (this.roomBytes() < size + SPARED_BYTES)
          throw Object.assign(new Error('too little room'), { code: 'ENOSPC' });
        file = await open(path, 'w+');
        await fill(file, size);
      }
      const head = Buffer.alloc(SEGMENT_HEADER_BYTES);
      MAGIC.copy(head);
      head.writeUInt32LE(VERSION, 8);
      head.writeUInt32LE(sequence, 12);
      head.writeDoubleLE(size, 16);
      const salt = randomBytes(4).readUInt32LE();
      head.writeUInt32LE(salt, 24);
      head.writeUInt32LE(crc32(head.subarray(0, 28)), 28);
      await file.write(head, 0, head.length, 0);
      await file.sync();
      await file.close();
      file = undefined;
      await rename(path, this.path(sequence));
      await this.#syncDirectory();
      return new Segment(sequence, this.path(sequence), size, salt);
    } catch (cause) {
      await file?.close().catch(() => {});
      await unlink(path).catch(() => {});
      throw this.fault(cause);
    }
  }

  async #syncDirectory(): Promise<void> {
    if (process.platform === 'win32') return;
    const directory = await open(this.directory, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }

  /** Takes a segment away that nobody reads any more; keeps a few such files to be used again.
   *  @holds after a crash it may be there again, which does no harm */
  async retire(segment: Segment, keep: boolean): Promise<void> {
    segment.close();
    if (keep && this.#retired.length < RETIRED_MAX) {
      const path = join(this.directory, `retired-${segment.sequence}.tmp`);
      renameSync(segment.path, path);
      this.#retired.push({ path, size: segment.size });
      return;
    }
    await unlink(segment.path);
  }

  fault(cause: unknown): LogError {
    return diskFault(this.directory, cause);
  }

  /** What the disk has left for us. */
  roomBytes(): number {
    return roomBytes(this.directory);
  }
}

/** What the system says of a directory, in the log's words. */
export function diskFault(directory: string, cause: unknown): LogError {
  if (cause instanceof LogError) return cause;
  const { code } = cause as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const facts = { directory, roomBytes: roomBytes(directory), todo: 'free space on this disk' };
    return new LogError('LOG_FULL', 'later', { problem: 'the disk is full', ...facts }, { cause });
  }
  const problem = cause instanceof Error ? cause.message : String(cause);
  return new LogError('LOG_UNREACHABLE', 'later', { directory, problem }, { cause });
}

function roomBytes(directory: string): number {
  try {
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** Zeros, synced piece by piece: one large sync would hold up the writes that are waited for. */
async function fill(file: FileHandle, size: number): Promise<void> {
  for (let at = 0; at < size; ) {
    const { bytesWritten } = await file.write(ZEROS, 0, Math.min(ZEROS.length, size - at), at);
    at += bytesWritten;
    await file.datasync();
  }
}
