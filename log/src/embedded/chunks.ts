// hot
import { type LogBatch, LogError } from '@millrace/core';
import {
  CHUNK_HEADER_BYTES,
  chunkCount,
  chunkFault,
  chunkKey,
  FRAME_HEADER_BYTES,
  keyOffset,
  readUint32,
} from './chunk.ts';
import { RESTORE } from './file.ts';
import type { Table } from './store.ts';

/** A chunk in memory of its own, and how far a reader has come in it. */
interface Kept {
  readonly chunk: Uint8Array;
  readonly first: number;
  readonly count: number;
  /** The record at which `at` stands. */
  offset: number;
  at: number;
}

/** The stored chunks of one partition. */
export class Chunks {
  readonly topic: string;
  readonly partition: number;
  readonly #table: Table;

  constructor(topic: string, partition: number, table: Table) {
    this.topic = topic;
    this.partition = partition;
    this.#table = table;
  }

  firstKey(): number | null {
    for (const key of this.#table.getKeys({ limit: 1 })) return keyOffset(key);
    return null;
  }

  lastKey(): number | null {
    for (const key of this.#table.getKeys({ limit: 1, reverse: true })) return keyOffset(key);
    return null;
  }

  countAt(first: number): number {
    return chunkCount(this.at(first) ?? this.#corrupt(first, 'the chunk is missing'));
  }

  /** A verified chunk by its first offset, valid only until the next read of the store.
   *  @throws LogError LOG_CORRUPT */
  at(first: number): Uint8Array | null {
    const key = chunkKey(first);
    const chunk = this.#table.getBinaryFast(key);
    if (chunk === undefined) return null;
    // lmdb answers large values in one buffer of its own whose `length` is a plain property: view what is really there.
    const value = new Uint8Array(chunk.buffer, chunk.byteOffset, (chunk as { length: number }).length);
    const fault = chunkFault(value);
    return fault === null ? value : this.#corrupt(first, fault);
  }

  /** The first offset of the chunk that holds this one. */
  holding(offset: number): number | null {
    for (const key of this.#table.getKeys({ start: chunkKey(offset), reverse: true, limit: 1 })) return keyOffset(key);
    return null;
  }

  #corrupt(offset: number, problem: string): never {
    let nextReadable: number | null = null;
    for (const key of this.#table.getKeys({ start: chunkKey(offset + 1), limit: 1 })) nextReadable = keyOffset(key);
    throw new LogError('LOG_CORRUPT', 'never', {
      topic: this.topic,
      partition: this.partition,
      offset,
      problem,
      nextReadable,
      todo: RESTORE,
    });
  }
}

/** Reads a partition from front to back, cheaply when each read begins where the last one ended. */
export class ChunkReader {
  readonly #chunks: Chunks;
  #kept: Kept | null = null;

  constructor(chunks: Chunks) {
    this.#chunks = chunks;
  }

  /** The records of [from, last], or as many of them as fit.
   *  @holds all of them are stored; scratch is used only during the call
   *  @throws LogError LOG_CORRUPT */
  read(from: number, last: number, bytesMax: number, scratch: Scratch): LogBatch {
    let offset = from;
    scratch.size = 0;
    let kept = this.#kept;
    this.#kept = null;
    while (offset <= last) {
      if (kept === null || offset < kept.offset || offset >= kept.first + kept.count) kept = this.#open(offset);
      const room = bytesMax - scratch.size;
      const start = skipTo(kept, offset);
      const chunkLast = kept.first + kept.count - 1;
      if (chunkLast <= last && kept.chunk.length - start <= room) {
        scratch.append(kept.chunk, start, kept.chunk.length);
        offset = chunkLast + 1;
        kept = null;
        continue;
      }
      const end = walk(kept, Math.min(chunkLast, last), start + room, offset === from && scratch.size === 0);
      scratch.append(kept.chunk, start, end);
      offset = kept.offset;
      // The chunk lies in the store's own memory: keep a copy for the next read.
      this.#kept = { ...kept, chunk: kept.chunk.slice() };
      break;
    }
    return {
      partition: this.#chunks.partition,
      first: from,
      last: offset - 1,
      count: offset - from,
      bytes: scratch.take(),
      offsets: null,
    };
  }

  #open(offset: number): Kept {
    let first = offset;
    let chunk = this.#chunks.at(offset);
    if (chunk === null) {
      first = this.#chunks.holding(offset) ?? offset;
      chunk = this.#chunks.at(first);
    }
    const count = chunk === null ? 0 : chunkCount(chunk);
    if (chunk === null || offset >= first + count) {
      throw new LogError('LOG_CORRUPT', 'never', {
        topic: this.#chunks.topic,
        partition: this.#chunks.partition,
        offset,
        problem: 'records are missing',
        todo: RESTORE,
      });
    }
    return { chunk, first, count, offset: first, at: CHUNK_HEADER_BYTES };
  }
}

/** Moves to a record.  @returns where its frame begins */
function skipTo(kept: Kept, offset: number): number {
  let { at } = kept;
  for (let skip = offset - kept.offset; skip > 0; skip--) at += FRAME_HEADER_BYTES + readUint32(kept.chunk, at);
  kept.offset = offset;
  kept.at = at;
  return at;
}

/** Moves over records until `last` or until the next would pass `endMax`, but over one at least if told so.
 *  @returns where the frame after them begins */
function walk(kept: Kept, last: number, endMax: number, oneAtLeast: boolean): number {
  let { at, offset } = kept;
  let must = oneAtLeast;
  while (offset <= last) {
    const end = at + FRAME_HEADER_BYTES + readUint32(kept.chunk, at);
    if (end > endMax && !must) break;
    must = false;
    at = end;
    offset++;
  }
  kept.at = at;
  kept.offset = offset;
  return at;
}

/** Memory in which a batch grows before it gets a buffer of exactly its size. */
export class Scratch {
  size = 0;
  #bytes = new Uint8Array(256 * 1024);

  append(source: Uint8Array, start: number, end: number): void {
    const size = this.size + end - start;
    if (size > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(size, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, this.size));
      this.#bytes = grown;
    }
    this.#bytes.set(source.subarray(start, end), this.size);
    this.size = size;
  }

  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.size);
  }
}
