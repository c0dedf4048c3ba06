import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { LogError, type MessageIntake } from '@millrace/core';
import type { Plane } from '../http/plane.ts';
import type { Job } from '../jobs/jobs.ts';
import { askingOf } from '../jobs/rights.ts';
import type { JobWork, StepOutcome, StepProgress } from '../jobs/work.ts';
import { FileFault, type RejectedEntry, rejected } from './entries.ts';
import { entriesOf } from './files/file.ts';
import type { FileSlices } from './files/parquet.ts';
import type { Import, ImportProgress, Imports } from './imports.ts';
import { type ImportMessage, messagesOf, type Stretch, stretchesOf } from './packs.ts';
import { ChannelClosed, Publishers } from './publishers.ts';

/** What is done is kept so often: a node that dies leaves so much to be done again, which the log knows by its keys. */
const KEPT_MS = 1_000;
/** A step ends after so long, so that rights are judged again. */
const STEP_MS = 15_000;
const LOG_WAIT_MS = 500;
const LAG_POLL_MS = 100;
/** Bytes that a packed file may become, against the largest file. */
const UNFOLDED_FACTOR = 20;
/** Stretches that are on their way to the log: a commit of it takes as long for one as for many. */
const IN_FLIGHT_MAX = 16;
const HASHED_BYTES = 1_048_576;
/** A file that no step has gone on with for so long is read by another node. */
const IDLE_MS_MAX = 60_000;

export interface ImportWorkOptions {
  readonly plane: Plane;
  readonly intake: MessageIntake;
  readonly imports: Imports;
  readonly bytesMax: number;
  readonly lagMessagesMax: number;
}

/** A file that is read, and how far.
 *  @shape at: entries that have been taken; share: of its bytes that have been read, above 0 to 1 */
interface Reader {
  readonly stretches: AsyncGenerator<Stretch>;
  at: number;
  readonly share: () => number;
  idle?: NodeJS.Timeout;
}

/** Reads files of imports and puts their readings on the log.
 *  @holds of one import the same messages have the same keys, however often and wherever it is begun anew */
export function importWork({ plane, intake, imports, bytesMax, lagMessagesMax }: ImportWorkOptions): JobWork {
  /** Files that the next step goes on with. */
  const readers = new Map<string, Reader>();

  const close = async (id: string): Promise<void> => {
    const reader = readers.get(id);
    clearTimeout(reader?.idle);
    readers.delete(id);
    await reader?.stretches.return(undefined).catch(() => undefined);
  };

  async function readerOf(found: Import): Promise<Reader> {
    const open = readers.get(found.id);
    clearTimeout(open?.idle);
    if (open?.at === found.entries) return open;
    await close(found.id);
    const file = await imports.file(found.id);
    await checkFile(file, found);
    let readTo = 1;
    const watched: FileSlices = {
      size: file.size,
      read(from, to) {
        // The end of a Parquet file is read first.
        if (from <= readTo || to < file.size) readTo = Math.max(readTo, to);
        return file.read(from, to);
      },
    };
    const entries = entriesOf(watched, found.request.mapping, bytesMax * UNFOLDED_FACTOR);
    const share = (): number => readTo / Math.max(1, file.size);
    const reader: Reader = { stretches: stretchesOf(entries, found.entries), at: found.entries, share };
    readers.set(found.id, reader);
    return reader;
  }

  async function step(job: Job, signal: AbortSignal, told: StepProgress): Promise<StepOutcome> {
    const { id } = job.input as { id: string };
    const found = await imports.get(id);
    // Its last step was done, and not kept.
    if (found?.status === 'done') return { kind: 'done', ...figures(found), result: resultOf(found) };
    if (found?.status !== 'running') return { kind: 'failed', reason: 'The import is gone.' };
    const asking = await askingOf(job, plane);
    if (asking === null) return { kind: 'failed', reason: 'Who asked for it may not do this any more.' };
    const publishers = new Publishers(plane, imports, asking, found);
    try {
      const reader = await readerOf(found);
      const run = new Run(found, intake, publishers, signal);
      const beganMs = performance.now();
      let keptMs = beganMs;
      let current = found;
      const keep = async (): Promise<void> => {
        if (!(await imports.progress(current, run.progress))) throw new Error('somebody else goes on with the import');
        const kept = await imports.get(id);
        if (kept === null) throw new Error('the import is gone');
        current = kept;
        run.forget();
        keptMs = performance.now();
        told({ done: current.entries, total: Math.ceil(current.entries / reader.share()) });
      };
      for (;;) {
        signal.throwIfAborted();
        const next = await reader.stretches.next().catch(async (error: unknown) => {
          // What stands before the fault is on its way, and counts.
          await run.settled();
          if (run.progress.entries !== current.entries) await keep();
          throw error;
        });
        if (next.done === true) {
          await run.settled();
          if (run.progress.entries !== current.entries) await keep();
          await close(id);
          await imports.end(id, 'done', null);
          return { kind: 'done', ...figures(current), total: current.entries, result: resultOf(current) };
        }
        await run.put(next.value);
        reader.at = next.value.ordinal + next.value.entries.length;
        await paced(found, run.rowsTaken, performance.now() - beganMs, signal);
        const now = performance.now();
        if (now - keptMs < KEPT_MS) continue;
        await keep();
        await caughtUp(current, signal);
        if (now - beganMs < STEP_MS) continue;
        await run.settled();
        await keep();
        reader.idle = setTimeout(() => void close(id), IDLE_MS_MAX).unref();
        return { kind: 'more', ...figures(current) };
      }
    } catch (error) {
      await close(id);
      if (!(error instanceof FileFault || error instanceof ChannelClosed)) throw error;
      const kept = await imports.get(id);
      return {
        kind: 'failed',
        reason: error.message,
        ...(kept === null ? {} : { ...figures(kept), result: resultOf(kept) }),
      };
    }
  }

  /** Waits while too much of its partition is not processed: what others publish there must not wait behind it. */
  async function caughtUp({ partition }: Import, signal: AbortSignal): Promise<void> {
    const { log, processorsGroup } = plane;
    if (log === null || partition === null) return;
    for (;;) {
      const [{ next }, { offset }] = await Promise.all([
        log.extent(partition),
        log.committed(processorsGroup, partition),
      ]);
      // Where nobody has ever processed there is nothing to wait for.
      if (offset < 0 || next - offset <= lagMessagesMax) return;
      await sleep(LAG_POLL_MS, undefined, { signal });
    }
  }

  return {
    step,
    async ended(job) {
      const { id } = job.input as { id: string };
      await close(id);
      if (job.status !== 'done' && job.status !== 'failed' && job.status !== 'cancelled') return;
      await imports.end(id, job.status, job.reason);
    },
  };
}

/** Of a stretch that is on its way to the log. */
interface InFlight {
  readonly stretch: Stretch;
  readonly messages: readonly ImportMessage[];
  readonly bad: RejectedEntry[];
  readonly appended: Promise<(Place | RejectedEntry[] | null)[]>;
}
interface Place {
  readonly partition: number;
  readonly offset: number;
}

/** One step's work, and what it has come to since it was kept last. */
class Run {
  readonly #import: Import;
  readonly #intake: MessageIntake;
  readonly #publishers: Publishers;
  readonly #signal: AbortSignal;
  #progress: ImportProgress & { rejected: RejectedEntry[] };
  rowsTaken = 0;
  readonly #inFlight: InFlight[] = [];

  constructor(found: Import, intake: MessageIntake, publishers: Publishers, signal: AbortSignal) {
    this.#import = found;
    this.#intake = intake;
    this.#publishers = publishers;
    this.#signal = signal;
    this.#progress = nothingSince(found.entries);
  }

  get progress(): ImportProgress {
    return this.#progress;
  }

  /** It has been kept. */
  forget(): void {
    this.#progress = nothingSince(this.#progress.entries);
  }

  /** @returns once there is room for another; what is durable counts as progress, in the order of the file */
  async put(stretch: Stretch): Promise<void> {
    const { messages, rejected: bad } = messagesOf(stretch);
    const appended = Promise.all(messages.map((message) => this.#message(message)));
    // Heard when its turn comes; until then it is nobody's fault.
    appended.catch(() => undefined);
    this.#inFlight.push({ stretch, messages, bad, appended });
    this.rowsTaken += stretch.entries.length;
    if (this.#inFlight.length >= IN_FLIGHT_MAX) await this.#settleFirst();
  }

  /** @returns once all of it is durable */
  async settled(): Promise<void> {
    while (this.#inFlight.length > 0) await this.#settleFirst();
  }

  async #settleFirst(): Promise<void> {
    const first = this.#inFlight.shift();
    if (first === undefined) return;
    const { stretch, messages, bad, appended } = first;
    const done = await appended;
    let { rows, readings, messages: count, partition, firstOffset, lastOffset } = this.#progress;
    for (const [index, message] of messages.entries()) {
      const place = done[index];
      if (Array.isArray(place)) {
        for (const each of place) bad.push(each);
        continue;
      }
      rows += message.rows.length;
      readings += message.readings;
      count++;
      if (place === null || place === undefined) continue;
      partition = place.partition;
      firstOffset = Math.min(firstOffset ?? place.offset, place.offset);
      lastOffset = Math.max(lastOffset ?? place.offset, place.offset);
    }
    bad.sort((a, b) => a.line - b.line);
    this.#progress = {
      entries: stretch.ordinal + stretch.entries.length,
      rows,
      readings,
      messages: count,
      rejected: [...this.#progress.rejected, ...bad],
      partition,
      firstOffset,
      lastOffset,
    };
  }

  /** @returns where it stands; null if it was only tried; its rows if they are rejected */
  async #message(message: ImportMessage): Promise<Place | RejectedEntry[] | null> {
    const { id, org, channel, request } = this.#import;
    const subtopic = message.subtopic ?? request.subtopic;
    const spoken = await this.#publishers.judge(message.publisher ?? request.publisher, subtopic);
    if (spoken.kind === 'no') return refused(message, spoken.reason);
    if (request.dryRun) return null;
    const { contentType, payload, key } = message;
    const dedupKey = `import:${id}:${key}`;
    const { publisher } = spoken;
    for (;;) {
      try {
        return await this.#intake.append({ org, channel, subtopic, publisher, contentType, payload, dedupKey });
      } catch (error) {
        if (!(error instanceof LogError)) throw error;
        if (error.code === 'LOG_RECORD_TOO_LARGE') return refused(message, 'it is larger than a message may be');
        if (error.retry === 'never') throw error;
        await sleep(LOG_WAIT_MS, undefined, { signal: this.#signal });
      }
    }
  }
}

const nothingSince = (entries: number): ImportProgress & { rejected: RejectedEntry[] } => ({
  entries,
  rows: 0,
  readings: 0,
  messages: 0,
  rejected: [],
  partition: null,
  firstOffset: null,
  lastOffset: null,
});

const refused = ({ rows }: ImportMessage, reason: string): RejectedEntry[] =>
  rows.map((row) => rejected(row.line, reason, row.kind === 'row' ? shownRow(row.readings) : ''));

const shownRow = (readings: readonly { readonly name: string; readonly value: unknown }[]): string =>
  readings
    .slice(0, 10)
    .map(({ name, value }) => `${name}=${String(value)}`)
    .join(' ');

const figures = ({ entries, rejected: failed }: Import): { done: number; failed: number } => ({
  done: entries,
  failed,
});

const resultOf = (found: Import) => ({
  import: found.id,
  rows: found.rows,
  readings: found.readings,
  messages: found.messages,
  rejected: found.rejected,
});

/** @throws FileFault when it is not the file that was announced */
async function checkFile(file: FileSlices, { sha256 }: Import): Promise<void> {
  const hash = createHash('sha256');
  for (let from = 0; from < file.size; from += HASHED_BYTES)
    hash.update(await file.read(from, Math.min(from + HASHED_BYTES, file.size)));
  if (hash.digest('hex') !== sha256)
    throw new FileFault('what came is not the file that was announced (its SHA-256 differs): send it anew');
}

/** Keeps to the rate that was asked for, and lets others have their turn of the loop. */
async function paced({ request }: Import, rows: number, tookMs: number, signal: AbortSignal): Promise<void> {
  const { rowsPerSecondMax } = request;
  const earlyMs = rowsPerSecondMax === null ? 0 : (rows / rowsPerSecondMax) * 1_000 - tookMs;
  if (earlyMs > 0) await sleep(earlyMs, undefined, { signal });
  else await new Promise((resolve) => setImmediate(resolve));
}
