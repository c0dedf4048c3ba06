import { EnvelopeReader, type Log, parseUuid } from '@millrace/core';
import type { Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';

/** What a look into the log may cost. */
const SCAN_BYTES_MAX = 64 * 1024 * 1024;
const SCAN_BATCH_BYTES = 1024 * 1024;
const SCAN_MS_MAX = 2_000;
/** How far back from a repeated message the one before is looked for. */
const REPEAT_RECORDS_MAX = 20_000;
const REPEAT_STEP = 500;
const REPEAT_MS_MAX = 500;

/** A message on the log.  @holds the reader's getters are of it */
export interface Found {
  readonly reader: EnvelopeReader;
  readonly partition: number;
  readonly offset: number;
  /** Messages of its partition that are to be processed before it, and how long the first of them has waited. */
  readonly before: number;
  readonly oldestUs: number | null;
}

/** Looks for a message among those that are not processed yet.
 *  @throws Refusal 503 if more is waiting than may be looked through */
export async function findWaiting(plane: Plane, id: string): Promise<Found | null> {
  const { log } = plane;
  const wanted = parseUuid(id);
  if (log === null || wanted === null) return null;
  const budget = { bytes: SCAN_BYTES_MAX, endMs: performance.now() + SCAN_MS_MAX };
  for (let partition = 0; partition < log.partitionCount; partition++) {
    const found = await scan(log, plane.processorsGroup, partition, Buffer.from(wanted), budget);
    if (found !== null) return found;
  }
  return null;
}

async function scan(
  log: Log,
  group: string,
  partition: number,
  wanted: Buffer,
  budget: { bytes: number; endMs: number },
): Promise<Found | null> {
  const [{ earliest, next }, committed] = await Promise.all([log.extent(partition), log.committed(group, partition)]);
  const begin = Math.max(earliest, committed.offset);
  const reader = new EnvelopeReader();
  let oldestUs: number | null = null;
  for (let from = begin; from < next; ) {
    if (budget.bytes <= 0 || performance.now() > budget.endMs)
      throw new Refusal(
        503,
        'So much waits to be processed that this message was not found in time. Try again later.',
        { 'retry-after': '5' },
      );
    const batch = await log.peek(partition, from, { bytesMax: SCAN_BATCH_BYTES });
    if (batch === null) return null;
    budget.bytes -= batch.bytes.length;
    for (const { start, end, bytes, offset } of recordsOf(batch)) {
      if (!reader.open(bytes, start, end)) continue;
      oldestUs ??= reader.receivedUs;
      if (wanted.equals(reader.id)) return { reader, partition, offset, before: offset - begin, oldestUs };
    }
    from = batch.last + 1;
  }
  return null;
}

/** How much of a partition waits to be processed; null where this node has no log. */
export async function lagOf(
  plane: Plane,
  partition: number,
): Promise<{ messages: number; seconds: number; committed: number } | null> {
  const { log, processorsGroup } = plane;
  if (log === null) return null;
  const [{ earliest, next }, { offset }] = await Promise.all([
    log.extent(partition),
    log.committed(processorsGroup, partition),
  ]);
  const committed = Math.max(earliest, offset);
  const messages = Math.max(0, next - committed);
  const first = messages === 0 ? null : await recordAt(log, partition, committed);
  const seconds = first === null ? 0 : Math.max(0, Date.now() - first.receivedUs / 1_000) / 1_000;
  return { messages, seconds: Math.round(seconds * 10) / 10, committed };
}

async function recordAt(log: Log, partition: number, from: number): Promise<EnvelopeReader | null> {
  const batch = await log.peek(partition, from, { bytesMax: 1 });
  if (batch === null) return null;
  const reader = new EnvelopeReader();
  for (const { start, end, bytes } of recordsOf(batch)) if (reader.open(bytes, start, end)) return reader;
  return null;
}

/** Which message one repeats: the nearest before it with its key, publisher and channel, as long as the log has both.
 *  @returns null where that is not known, as it is too far back */
export async function findRepeated(log: Log, partition: number, offset: number): Promise<string | null> {
  if (partition >= log.partitionCount) return null;
  const { earliest, next } = await log.extent(partition);
  if (offset < earliest || offset >= next) return null;
  const own = await recordAt(log, partition, offset);
  if (own === null || own.dedupKey === '') return null;
  const key = keyOf(own);
  const reader = new EnvelopeReader();
  const endMs = performance.now() + REPEAT_MS_MAX;
  const lowest = Math.max(earliest, offset - REPEAT_RECORDS_MAX);
  for (let to = offset; to > lowest && performance.now() < endMs; ) {
    const begin = Math.max(lowest, to - REPEAT_STEP);
    let found: string | null = null;
    for (let from = begin; from < to; ) {
      const batch = await log.peek(partition, from, { bytesMax: SCAN_BATCH_BYTES });
      if (batch === null) break;
      for (const { start, end, bytes, offset: at } of recordsOf(batch))
        if (at < to && reader.open(bytes, start, end) && keyOf(reader) === key)
          found = Buffer.from(reader.id).toString('hex');
      from = batch.last + 1;
    }
    if (found !== null) return found.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
    to = begin;
  }
  return null;
}

const keyOf = ({ publisher, channel, dedupKey }: EnvelopeReader): string => `${publisher}\n${channel}\n${dedupKey}`;

interface At {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  readonly offset: number;
}

function* recordsOf(batch: NonNullable<Awaited<ReturnType<Log['peek']>>>): Generator<At> {
  const bytes = Buffer.from(batch.bytes.buffer, batch.bytes.byteOffset, batch.bytes.length);
  for (let at = 0, index = 0; index < batch.count; index++) {
    const size = bytes.readUInt32LE(at);
    yield { bytes, start: at + 4, end: at + 4 + size, offset: batch.offsets?.[index] ?? batch.first + index };
    at += 4 + size;
  }
}
