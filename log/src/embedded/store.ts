import { existsSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { LogError } from '@millrace/core';
import { type Database, open, type RootDatabase, type TransactionFlags } from 'lmdb';
import { checkFile, RESTORE } from './file.ts';

export type Table = Database<Buffer, Uint8Array>;
/** One change of a round: a put, or a removal where value is null. */
export interface Change {
  readonly table: Table;
  readonly key: Uint8Array;
  readonly value: Buffer | null;
}
export type Durability = 'fsync' | 'commit';

/** A disk with less room than this is called full when a write fails: lmdb tells a short write as an I/O error. */
const ROOM_BYTES_MIN = 32 * 1024 * 1024;
/** Commit without waiting for the disk: synchronous, no flush. */
const COMMIT_ONLY = 0x1_0002 as TransactionFlags;
const TABLES_MAX = 512;
const CLOSE_MS_MAX = 3_000;
const FILE = 'log.mdb';

/** The lmdb file. Knows nothing of topics.
 *  @holds one `write` at a time; the values stay untouched until it settles */
export class Store {
  readonly directory: string;
  readonly #root: RootDatabase<Buffer, Uint8Array>;
  readonly #durability: Durability;
  readonly #heartbeat: Table;
  #unsynced = false;
  /** The last write failed: lmdb's close would wait for its flush for ever, unless another one succeeds. */
  #failed = false;
  #timer: NodeJS.Timeout | undefined;

  /** @throws LogError LOG_CORRUPT, LOG_UNREACHABLE */
  constructor(directory: string, durability: Durability) {
    this.directory = directory;
    this.#durability = durability;
    const path = join(directory, FILE);
    const existed = existsSync(path);
    checkFile(path);
    try {
      // Batching by event turn is off: the engine gathers itself, and a batch of lmdb's own would reject a promise that
      // nobody holds when the disk is full.
      this.#root = open<Buffer, Uint8Array>({
        path,
        noSubdir: true,
        encoding: 'binary',
        keyEncoding: 'binary',
        separateFlushed: true,
        eventTurnBatching: false,
        maxDbs: TABLES_MAX,
        // A round is one commit: lmdb begins it when the loop turns, not in the middle of our puts.
        ...{ txnStartThreshold: 1_000_000 },
      });
      this.#heartbeat = this.table('heartbeat');
    } catch (cause) {
      if (!existed) throw this.fault(cause);
      throw new LogError('LOG_CORRUPT', 'never', { file: path, problem: text(cause), todo: RESTORE }, { cause });
    }
    if (durability === 'commit') this.#timer = setInterval(() => this.#sync(), 500).unref();
  }

  table(name: string): Table {
    return this.#root.openDB<Buffer, Uint8Array>({ name, encoding: 'binary', keyEncoding: 'binary' });
  }

  /** All of it, durable as configured.
   *  @holds changes of one table come in order, but a fault may leave any of several tables unchanged: at most one
   *         change per table must matter for its own consistency
   *  @throws LogError LOG_FULL (disk), LOG_UNREACHABLE */
  async write(changes: readonly Change[]): Promise<void> {
    try {
      if (this.#durability === 'commit') {
        this.#root.transactionSync(() => {
          for (const { table, key, value } of changes) {
            if (value === null) table.removeSync(key);
            else table.putSync(key, value);
          }
        }, COMMIT_ONLY);
        this.#unsynced = true;
        return;
      }
      const commits = changes.map(({ table, key, value }) =>
        value === null ? table.remove(key) : table.put(key, value),
      );
      const results = await Promise.allSettled(commits);
      let failure: unknown;
      for (const result of results) if (result.status === 'rejected') failure ??= result.reason;
      if (failure !== undefined) throw await rootCause(failure);
      await Promise.all(commits.map((commit) => (commit as Promise<boolean> & { flushed?: Promise<void> }).flushed));
      this.#failed = false;
    } catch (cause) {
      this.#failed = true;
      throw this.fault(cause);
    }
  }

  fault(cause: unknown): LogError {
    const roomBytes = this.roomBytes();
    const code = (cause as { code?: unknown }).code;
    if (roomBytes < ROOM_BYTES_MIN || code === 28 || code === 'ENOSPC') {
      return new LogError(
        'LOG_FULL',
        'later',
        { problem: 'the disk is full', directory: this.directory, roomBytes, todo: 'free space on this disk' },
        { cause },
      );
    }
    return new LogError('LOG_UNREACHABLE', 'later', { directory: this.directory, problem: text(cause) }, { cause });
  }

  /** What the disk has left for us. */
  roomBytes(): number {
    try {
      const { bavail, bsize } = statfsSync(this.directory);
      return bavail * bsize;
    } catch {
      return Number.POSITIVE_INFINITY;
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#failed) this.#unsynced = true;
    this.#sync();
    let late: NodeJS.Timeout | undefined;
    const gaveUp = new Promise<void>((resolve) => {
      late = setTimeout(resolve, CLOSE_MS_MAX);
    });
    await Promise.race([this.#root.close(), gaveUp]);
    clearTimeout(late);
  }

  /** Commits without flush leave pages that lmdb may not reuse: a flushed one now and then sets them free. */
  #sync(): void {
    if (!this.#unsynced) return;
    this.#unsynced = false;
    this.#heartbeat.put(HEARTBEAT, HEARTBEAT).catch((error: unknown) => {
      this.#unsynced = true;
      void rootCause(error);
    });
  }
}

const HEARTBEAT = Buffer.from('at');

/** lmdb hides the reason of a failed commit behind a promise that must be handled. */
async function rootCause(error: unknown): Promise<unknown> {
  const { commitError } = error as { commitError?: Promise<unknown> };
  if (commitError === undefined) return error;
  return commitError.then(
    () => error,
    (reason: unknown) => reason,
  );
}

const text = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
