import { fstatSync, readSync, unlinkSync } from 'node:fs';
import { LogError, type Logger } from '@millrace/core';
import { RESTORE, type SegmentFiles } from './files.ts';
import {
  FRAME_HEADER_BYTES,
  type FrameHeader,
  frameBytes,
  frameFault,
  KIND,
  nextFrame,
  readHeader,
  seemsFrame,
} from './frame.ts';
import type { Found } from './journal.ts';
import { SEGMENT_HEADER_BYTES, type Segment, spanKey } from './segment.ts';
import { decodeChanges, decodeHead, type Head, State } from './state.ts';

export interface Recovered extends Found {
  readonly state: State;
  /** The next offset by `spanKey`, as the last head and the frames after it say. */
  readonly nexts: ReadonlyMap<number, number>;
}

/** Takes up what an earlier process left. Only the last segment is read through: of the others, the next head tells.
 *  @throws LogError LOG_CORRUPT, LOG_FULL, LOG_UNREACHABLE */
export async function recover(files: SegmentFiles, segmentBytes: number, logger: Logger): Promise<Recovered> {
  const all = files.list();
  const { heads, last } = findLast(all);
  const behind = all.slice(last + 1);
  const open = all[last];
  const state = new State();
  const nexts = new Map<number, number>();
  if (open === undefined) {
    const first = takeSpare(withoutTorn(behind, 0, logger), 1) ?? (await files.prepare(1, segmentBytes));
    first.mirror = Buffer.allocUnsafeSlow(first.size);
    return { segments: [first], spare: null, round: 0, settled: 0, state, nexts };
  }
  const segments = all.slice(0, last + 1);
  for (const [index, segment] of segments.entries()) {
    if (segment === open) continue;
    if (!summarise(segment, heads.get(segments[index + 1] as Segment) ?? null)) {
      logger.warn({ file: segment.path }, 'what this segment of the log has is not told elsewhere: it is read through');
      scan(segment, readWhole(segment), () => {});
    }
    segment.close();
  }
  open.mirror = readWhole(open);
  checkSize(open);
  const { round, settled, damaged } = scan(open, open.mirror, ({ kind }, data) => {
    if (kind === KIND.head) restore(decodeHead(data), state, nexts);
    else if (kind === KIND.changes) for (const change of decodeChanges(data)) state.apply(change);
  });
  if (damaged > 0) logger.error({ file: open.path, damaged }, 'the log is damaged: some records can not be read');
  for (const [key, { end }] of open.spans) nexts.set(key, Math.max(end, nexts.get(key) ?? 0));
  if (damaged > 0) passCommitted(state, nexts);
  const spare = takeSpare(withoutTorn(behind, settled, logger), open.sequence + 1);
  return { segments, spare, round, settled, state, nexts };
}

function restore(head: Head, state: State, nexts: Map<number, number>): void {
  state.restore(head);
  for (const [topic, partition, next] of head.nexts) nexts.set(spanKey(topic, partition), next);
}

/** Where the damage took the last records of a partition, what groups have passed tells that they were there: their
 *  offsets are not given again, for those groups would never read what got them. */
function passCommitted(state: State, nexts: Map<number, number>): void {
  for (const { topic, partition, offset } of state.commits()) {
    const id = state.topics.get(topic)?.id;
    if (id === undefined) continue;
    const key = spanKey(id, partition);
    nexts.set(key, Math.max(offset, nexts.get(key) ?? 0));
  }
}

/** The last segment that was begun, and the heads of all up to it, where they are good. */
function findLast(all: readonly Segment[]): { last: number; heads: ReadonlyMap<Segment, Head> } {
  const heads = new Map<Segment, Head>();
  let last = -1;
  for (const [index, segment] of all.entries()) {
    const head = readHead(segment);
    if (head !== null) {
      heads.set(segment, head);
      last = index;
    }
    segment.close();
  }
  if (last < 0 && all.length > 0 && all[0]?.sequence !== 1) {
    throw corrupt(all[0]?.path ?? '', 'the segment before it is missing');
  }
  return { last, heads };
}

function readHead(segment: Segment): Head | null {
  const start = Buffer.alloc(FRAME_HEADER_BYTES);
  if (readSync(segment.file(), start, 0, start.length, SEGMENT_HEADER_BYTES) < start.length) return null;
  if (!seemsFrame(start, 0, segment.salt)) return null;
  const size = Math.min(FRAME_HEADER_BYTES + readHeader(start, 0).size, segment.size);
  const frame = Buffer.alloc(size);
  const read = readSync(segment.file(), frame, 0, size, SEGMENT_HEADER_BYTES);
  if (frameFault(frame, 0, read, segment.salt) !== null) return null;
  return readHeader(frame, 0).kind === KIND.head ? decodeHead(frame.subarray(FRAME_HEADER_BYTES)) : null;
}

/** Behind the last segment that was begun there are only those that were made ready, and at most one whose first round
 *  was torn: whatever of it is there was never acknowledged, and goes.
 *  @throws LogError LOG_CORRUPT: a later round was written once the head was durable */
function withoutTorn(behind: readonly Segment[], settled: number, logger: Logger): Segment[] {
  return behind.filter((segment) => {
    const bytes = readWhole(segment);
    segment.close();
    const { length } = bytes;
    const first = nextFrame(bytes, SEGMENT_HEADER_BYTES, length, segment.salt);
    for (let at = first; at >= 0; at = nextFrame(bytes, at + 8, length, segment.salt)) {
      if (readHeader(bytes, at).settled > settled) throw corrupt(segment.path, 'its head is damaged');
    }
    if (first < 0) return true;
    logger.warn({ file: segment.path }, 'the first write to this segment of the log was torn: it is made anew');
    unlinkSync(segment.path);
    return false;
  });
}

function takeSpare(behind: readonly Segment[], sequence: number): Segment | null {
  let spare: Segment | null = null;
  for (const segment of behind) {
    checkSize(segment);
    segment.close();
    if (segment.sequence === sequence) spare = segment;
    else unlinkSync(segment.path);
  }
  return spare;
}

/** What a closed segment has, by the head of the next.  @returns whether that told it */
function summarise(segment: Segment, next: Head | null): boolean {
  const summary = next?.previous ?? null;
  if (summary === null || summary.sequence !== segment.sequence) return false;
  segment.end = summary.end;
  for (const [topic, partition, first, end, bytes, timeMs] of summary.spans) {
    segment.spans.set(spanKey(topic, partition), {
      segment,
      topic,
      partition,
      first,
      end,
      bytes,
      timeMs,
      frames: null,
    });
  }
  return true;
}

/** A segment has its full size before it has its name.  @throws LogError LOG_CORRUPT */
function checkSize(segment: Segment): void {
  const { size } = fstatSync(segment.file());
  if (size < segment.size) throw corrupt(segment.path, `it is cut at ${size} bytes`);
}

function readWhole(segment: Segment): Buffer {
  const bytes = Buffer.alloc(segment.size);
  for (let at = 0; at < bytes.length; ) {
    const read = readSync(segment.file(), bytes, at, bytes.length - at, at);
    if (read === 0) break;
    at += read;
  }
  return bytes;
}

/** Walks over all frames of a segment and takes up where they lie. It ends where a round was torn: what comes then was
 *  never acknowledged. A bad frame before one that was written later than it had become durable is damage: it is passed
 *  over, and reading what it held will fail.
 *  @returns the highest round that left a frame, also behind the end; the last one that is there whole; and how many
 *           damaged places there are */
export function scan(
  segment: Segment,
  bytes: Buffer,
  visit: (header: FrameHeader, data: Buffer) => void,
): { round: number; settled: number; damaged: number } {
  const { salt } = segment;
  const size = bytes.length;
  let at = SEGMENT_HEADER_BYTES;
  let round = 0;
  let more = false;
  let highest = 0;
  let damaged = 0;
  for (;;) {
    if (frameFault(bytes, at, size, salt) === null) {
      const header = readHeader(bytes, at);
      if (header.round > round || (header.round === round && more)) {
        ({ round, more } = header);
        highest = Math.max(highest, round);
        const { topic, partition, first, count, timeMs } = header;
        const whole = frameBytes(header.size);
        if (header.kind === KIND.records) {
          segment.add(topic, partition, { first, count, position: at, size: header.size, bytes: whole, timeMs });
        }
        visit(header, bytes.subarray(at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + header.size));
        at += whole;
        segment.end = at;
        continue;
      }
    }
    let resume = -1;
    let evident = false;
    for (
      let found = nextFrame(bytes, at + 8, size, salt);
      found >= 0 && !evident;
      found = nextFrame(bytes, found + 8, size, salt)
    ) {
      const header = readHeader(bytes, found);
      highest = Math.max(highest, header.round);
      if (header.round < round || (header.round === round && !more)) continue;
      if (resume < 0) resume = found;
      evident = header.settled >= (more ? round : round + 1);
    }
    if (!evident) return { round: highest, settled: more ? round - 1 : round, damaged };
    damaged++;
    at = resume;
  }
}

function corrupt(file: string, problem: string): LogError {
  return new LogError('LOG_CORRUPT', 'never', { file, problem, todo: RESTORE });
}
