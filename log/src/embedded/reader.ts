// hot
import { readSync } from 'node:fs';
import { type LogBatch, LogError } from '@millrace/core';
import { RESTORE } from './files.ts';
import {
  FRAME_HEADER_BYTES,
  frameBytes,
  frameFault,
  KIND,
  nextFrame,
  RECORD_HEADER_BYTES,
  readHeader,
  readUint32,
  recordCount,
} from './frame.ts';
import type { Partition } from './partition.ts';
import { Frames, SEGMENT_HEADER_BYTES, type Segment, type Span, spanKey } from './segment.ts';

const BLOCK_BYTES = 256 * 1024;
/** Segments whose frames are known one by one and whose files are open. */
const LOADED_MAX = 16;
const MISSING = 'records are missing';

/** Brings frames of any segment into memory: the newest from their mirrors, others by reading ahead a block.
 *  @holds what it gives is valid until its next call */
export class SegmentReader {
  /** Where `frame` found the frame. */
  bytes: Buffer = Buffer.alloc(0);
  at = 0;
  readonly #block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  #large: Buffer | null = null;
  #of: Segment | null = null;
  #start = 0;
  #end = 0;
  readonly #loaded: Segment[] = [];

  /** The frames of a span; the segment is read through if need be. */
  framesOf(span: Span): Frames {
    const { segment } = span;
    if (span.frames === null) {
      try {
        this.#load(segment);
      } catch (error) {
        // Half of them would make the others seem lost.
        for (const one of segment.spans.values()) one.frames = null;
        throw error;
      }
    }
    if (!segment.writing) this.keep(segment);
    return span.frames as Frames;
  }

  /** Lets a segment stay loaded, and the one that was not used for longest go. */
  keep(segment: Segment): void {
    const loaded = this.#loaded;
    if (loaded[loaded.length - 1] === segment) return;
    const at = loaded.indexOf(segment);
    if (at >= 0) loaded.splice(at, 1);
    loaded.push(segment);
    if (loaded.length > LOADED_MAX) this.#unload(loaded[0] as Segment);
  }

  #unload(segment: Segment): void {
    this.forget(segment);
    for (const span of segment.spans.values()) span.frames = null;
    segment.close();
  }

  /** The segment is removed, or begins to be written. */
  forget(segment: Segment): void {
    const at = this.#loaded.indexOf(segment);
    if (at >= 0) this.#loaded.splice(at, 1);
    if (this.#of === segment) this.#of = null;
  }

  /** @throws LogError LOG_UNREACHABLE */
  #read(segment: Segment, into: Buffer, size: number, position: number): number {
    try {
      return readSync(segment.file(), into, 0, size, position);
    } catch (cause) {
      const problem = cause instanceof Error ? cause.message : String(cause);
      throw new LogError('LOG_UNREACHABLE', 'later', { file: segment.path, problem }, { cause });
    }
  }

  #load(segment: Segment): void {
    for (const span of segment.spans.values()) span.frames = new Frames();
    for (let position = SEGMENT_HEADER_BYTES; position < segment.end; ) {
      if (this.frame(segment, position) !== null) {
        const rest = Buffer.allocUnsafe(segment.end);
        const read = this.#read(segment, rest, segment.end, 0);
        const next = nextFrame(rest, position + 8, read, segment.salt);
        if (next < 0) break;
        position = next;
        continue;
      }
      const { kind, topic, partition, first, size } = readHeader(this.bytes, this.at);
      if (kind === KIND.records) segment.spans.get(spanKey(topic, partition))?.frames?.add(first, position, size);
      position += frameBytes(size);
    }
  }

  /** Brings one whole frame into memory, `bytes` from `at` on.  @returns what is wrong with it, or null */
  frame(segment: Segment, position: number): string | null {
    const { mirror } = segment;
    if (mirror !== null) {
      // What readers see of a mirror was checked when it was read, or made here.
      this.bytes = mirror;
      this.at = position;
      return null;
    }
    this.#cover(segment, position, FRAME_HEADER_BYTES);
    if (this.at + FRAME_HEADER_BYTES > this.bytes.length) return 'the file is cut';
    const size = readUint32(this.bytes, this.at + 8);
    if (position + FRAME_HEADER_BYTES + size > segment.end) return 'longer than its segment';
    this.#cover(segment, position, FRAME_HEADER_BYTES + size);
    return frameFault(this.bytes, this.at, this.bytes.length, segment.salt);
  }

  #cover(segment: Segment, position: number, size: number): void {
    if (this.#of !== segment || position < this.#start || position + size > this.#end) {
      const wanted = Math.min(Math.max(size, BLOCK_BYTES), segment.end - position);
      if (wanted <= BLOCK_BYTES) this.#large = null;
      else this.#large = Buffer.allocUnsafeSlow(wanted);
      const into = this.#large ?? this.#block;
      this.#of = null;
      const read = this.#read(segment, into, Math.max(0, wanted), position);
      this.#of = segment;
      this.#start = position;
      this.#end = position + read;
    }
    this.bytes = (this.#large ?? this.#block).subarray(0, this.#end - this.#start);
    this.at = position - this.#start;
  }
}

/** How far a reader has come in a frame. */
interface Cursor {
  readonly segment: Segment;
  readonly position: number;
  /** The record that begins `at` bytes behind the frame's beginning. */
  readonly offset: number;
  readonly at: number;
}

/** Reads a partition from front to back, cheaply when each read begins where the last one ended. */
export class PartitionReader {
  readonly #partition: Partition;
  readonly #reader: SegmentReader;
  #cursor: Cursor | null = null;
  #segment: Segment | null = null;
  #position = 0;
  #first = 0;

  constructor(partition: Partition, reader: SegmentReader) {
    this.#partition = partition;
    this.#reader = reader;
  }

  /** The records of [from, last], or as many of them as fit.
   *  @holds all of them are stored; scratch is used only during the call
   *  @throws LogError LOG_CORRUPT, LOG_UNREACHABLE */
  read(from: number, last: number, bytesMax: number, scratch: Scratch): LogBatch {
    const reader = this.#reader;
    let offset = from;
    scratch.size = 0;
    while (offset <= last) {
      const fault = this.#find(offset);
      if (fault !== null) {
        // What came before it is given first.
        if (offset > from) break;
        return this.#corrupt(offset, fault);
      }
      const segment = this.#segment as Segment;
      const position = this.#position;
      const first = this.#first;
      const { bytes, at: base } = reader;
      const frameLast = first + recordCount(bytes, base) - 1;
      const end = base + FRAME_HEADER_BYTES + readUint32(bytes, base + 8);
      const cursor = this.#cursor;
      let at = base + FRAME_HEADER_BYTES;
      let here = first;
      if (cursor !== null && cursor.segment === segment && cursor.position === position && cursor.offset <= offset) {
        at = base + cursor.at;
        here = cursor.offset;
      }
      for (; here < offset; here++) at += RECORD_HEADER_BYTES + readUint32(bytes, at);
      const room = bytesMax - scratch.size;
      if (frameLast <= last && end - at <= room) {
        scratch.append(bytes, at, end);
        offset = frameLast + 1;
        continue;
      }
      const start = at;
      const stop = Math.min(frameLast, last);
      let must = offset === from;
      while (offset <= stop) {
        const behind = at + RECORD_HEADER_BYTES + readUint32(bytes, at);
        if (behind - start > room && !must) break;
        must = false;
        at = behind;
        offset++;
      }
      scratch.append(bytes, start, at);
      this.#cursor = { segment, position, offset, at: at - base };
      break;
    }
    const { index: partition } = this.#partition;
    return { partition, first: from, last: offset - 1, count: offset - from, bytes: scratch.take(), offsets: null };
  }

  /** Brings the frame that holds an offset into memory.  @returns what is wrong, or null */
  #find(offset: number): string | null {
    const span = this.#partition.spanOf(offset);
    if (span === undefined || offset >= span.end) return MISSING;
    const frames = this.#reader.framesOf(span);
    const at = frames.holding(offset);
    if (at < 0) return MISSING;
    this.#segment = span.segment;
    this.#first = frames.firsts[at] as number;
    this.#position = frames.positions[at] as number;
    const fault = this.#reader.frame(span.segment, this.#position);
    if (fault !== null) return fault;
    const { bytes, at: base } = this.#reader;
    return offset < this.#first + recordCount(bytes, base) ? null : MISSING;
  }

  #corrupt(offset: number, problem: string): never {
    const { topic, index: partition, spans } = this.#partition;
    const span = this.#partition.spanOf(offset);
    const inSpan = span?.frames?.firsts.find((first) => first > offset);
    const nextReadable = inSpan ?? spans.find(({ first }) => first > offset)?.first ?? null;
    const file = span?.segment.path ?? null;
    const facts = { topic, partition, offset, file, problem, nextReadable, todo: RESTORE };
    throw new LogError('LOG_CORRUPT', 'never', facts);
  }
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
