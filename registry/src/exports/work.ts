import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type AnswerBytes, type RowsQuestion, StoreError, type StreamOptions } from '@millrace/core';
import type { Asking } from '../http/identity.ts';
import type { Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import type { Job } from '../jobs/jobs.ts';
import { askingOf } from '../jobs/rights.ts';
import type { JobWork, StepOutcome } from '../jobs/work.ts';
import { questionOf } from '../readings/question.ts';
import { readableChannels } from '../readings/rights.ts';
import type { Export, ExportFile, Part } from './export-store.ts';
import { ExportFailure } from './failure.ts';
import { contentTypeOf, nameOf } from './files.ts';
import { writePart } from './part-file.ts';
import { sqlAnswer } from './sql-answer.ts';

/** Parts at most: beyond, each has more rows. */
const PARTS_MAX = 1_000;

/** Where an export stands: the part that is next, and the rows of those before it. */
interface State {
  readonly next: number;
  readonly rows: number;
}

/** Makes an export part by part: first it is cut into parts, then each becomes a file. A part that was made is not made
 *  again, whichever node goes on. */
export function createExportWork(plane: Plane): JobWork {
  const { exports } = plane.registry;

  async function step(job: Job, signal: AbortSignal, told: (rows: number) => void): Promise<StepOutcome> {
    const found = await exports.store.get(job.id);
    if (found === null) return { kind: 'failed', reason: 'It was deleted.' };
    const asking = await askingOf(job, plane);
    if (asking === null) return { kind: 'failed', reason: LOST };
    await judge(found, asking);
    if (found.plan.parts === undefined) return cut(found, signal);
    const { next, rows } = (job.state as State | null) ?? { next: 0, rows: 0 };
    const parts = found.plan.parts;
    const part = parts[next];
    if (part === undefined) return { kind: 'done', done: rows };
    const file = await makePart(found, asking, part, next, rows, signal, (written) => told(rows + written));
    const sum = rows + file.rows;
    const isLast = next + 1 === parts.length || sum >= limitOf(found);
    return { kind: isLast ? 'done' : 'more', done: sum, state: { next: next + 1, rows: sum } satisfies State };
  }

  /** What is asked for must be theirs to read still: all of it, as it was when they asked. */
  async function judge({ org, question, plan }: Export, asking: Asking): Promise<void> {
    if ('sql' in question) return;
    const { subtopics } = question.query;
    await readableChannels(asking, plane, { channels: plan.channels, subtopics, org: async () => org });
  }

  async function cut(found: Export, signal: AbortSignal): Promise<StepOutcome> {
    const rows = rowsOf(found);
    // In any other order than that of time, a range of time is no part of the answer.
    if (rows === null || rows.order !== 'time') {
      await exports.store.keepParts(found.id, [{}]);
      return { kind: 'more', state: { next: 0, rows: 0 } };
    }
    let slices = await plane.questions.slices(rows, exports.fileRows, signal);
    if (slices.length > PARTS_MAX) {
      const total = slices.reduce((sum, slice) => sum + slice.rows, 0);
      slices = await plane.questions.slices(rows, Math.ceil((2 * total) / PARTS_MAX), signal);
    }
    const parts = slices.map(
      ({ fromUs, toUs }): Part => ({
        ...(fromUs === undefined ? {} : { fromUs: String(fromUs) }),
        ...(toUs === undefined ? {} : { toUs: String(toUs) }),
      }),
    );
    if (rows.direction === 'desc') parts.reverse();
    await exports.store.keepParts(found.id, parts.length === 0 ? [{}] : parts);
    const total = Math.min(
      limitOf(found),
      slices.reduce((sum, slice) => sum + slice.rows, 0),
    );
    return { kind: 'more', total, state: { next: 0, rows: 0 } };
  }

  async function makePart(
    found: Export,
    asking: Asking,
    part: Part,
    index: number,
    rowsBefore: number,
    signal: AbortSignal,
    told: (rows: number) => void,
  ): Promise<ExportFile> {
    const here = exports.place();
    if (here === null) throw new ExportFailure('The node has no directory for files: ask who runs it.');
    const { place, room } = here;
    const made = (await exports.store.files(found.id)).find((file) => file.part === index);
    // Its traces: it was made, but not kept that the next one is due.
    if (made !== undefined) return made;
    const name = nameOf(found, index);
    const path = place.fileOf(found.id, name);
    const { org } = found;
    const isFile = found.destination === 'download';
    const claim = await room.enter(org, await exports.store.taken(org, place.id));
    try {
      const answer = await answerOf(found, asking, part, rowsBefore, signal);
      const written = await writePart(path, answer, { ...found, signal, take: claim.take, told });
      const file = { part: index, name, place: isFile ? place.id : null, url: null, ...written };
      if (isFile) {
        await exports.store.keepFile(found.id, file);
        return file;
      }
      const sent = { ...file, url: await send(found, path, file, signal) };
      await exports.store.keepFile(found.id, sent);
      await rm(path, { force: true });
      return sent;
    } finally {
      claim.leave();
    }
  }

  function urlOf({ org, prefix, id }: Export, name: string): string {
    if (exports.bucket === null) throw new ExportFailure('The node knows no bucket: ask who runs it.');
    return exports.bucket.urlOf(org, [prefix, id, name].filter((each) => each !== '').join('/'));
  }

  async function send(found: Export, path: string, file: { name: string; sha256: string }, signal: AbortSignal) {
    const url = urlOf(found, file.name);
    await exports.bucket?.put(url, path, { contentType: contentTypeOf(found), sha256: file.sha256 }, signal);
    return url;
  }

  async function answerOf(
    found: Export,
    asking: Asking,
    part: Part,
    rowsBefore: number,
    signal: AbortSignal,
  ): Promise<AnswerBytes> {
    const { question } = found;
    if ('sql' in question)
      return sqlAnswer(asking, plane, { org: found.org, question: question.sql }, found.format, signal);
    const { time } = question.query;
    const options: StreamOptions = {
      format: found.format,
      signal,
      urgency: 'background',
      ...(time === undefined ? {} : { time }),
    };
    const rows = rowsOf(found);
    if (rows === null) {
      const { org, plan } = found;
      const asked = questionOf(question.query, { org, ...plan }, true);
      if (asked.kind === 'rows') throw new TypeError('no question of series');
      return plane.questions.seriesRows(asked.question, options);
    }
    const { fromUs, toUs } = part;
    const limit = limitOf(found);
    return plane.questions.rows(
      {
        ...rows,
        ...(fromUs === undefined ? {} : { fromUs: BigInt(fromUs) }),
        ...(toUs === undefined ? {} : { toUs: BigInt(toUs) }),
        ...(Number.isFinite(limit) ? { limit: limit - rowsBefore } : {}),
      },
      options,
    );
  }

  return {
    async step(job, signal, told) {
      try {
        return await step(job, signal, (done) => told({ done }));
      } catch (error) {
        const reason = signal.aborted ? null : reasonOf(error);
        if (reason === null) throw error;
        return { kind: 'failed', reason };
      }
    },

    async ended({ id, status, state }) {
      const here = exports.place();
      if (status === 'done') return;
      if (here !== null) await rm(join(here.place.directory, id), { recursive: true, force: true });
      for (const { url } of await exports.store.files(id)) if (url !== null) await exports.bucket?.delete(url);
      // It may have been sent, and its node have died before that was kept.
      const found = await exports.store.get(id);
      if (found?.destination === 's3')
        await exports.bucket?.delete(urlOf(found, nameOf(found, (state as State | null)?.next ?? 0)));
    },
  };
}

const LOST = 'Who asked for it may not read all of it any more.';

/** Why it ends for good; null: what failed may do next time. */
function reasonOf(error: unknown): string | null {
  if (error instanceof ExportFailure) return error.message;
  // What this node can not do now, another may, or this one later.
  if (error instanceof Refusal && error.status >= 429) return null;
  if (error instanceof Refusal) return [403, 404].includes(error.status) ? LOST : error.message;
  if (!(error instanceof StoreError) || error.retry !== 'never') return null;
  const { problem, advice } = error.facts as { readonly problem?: string; readonly advice?: string };
  if (error.code === 'STORE_QUERY_INVALID') return `It can not be answered: ${problem ?? 'the question is wrong'}.`;
  if (error.code === 'STORE_QUERY_TOO_EXPENSIVE') return `It takes too much: ${advice ?? 'ask for less'}.`;
  return null;
}

/** The question of an export of readings as they are, without those that came after it was asked for. */
function rowsOf({ org, question, plan }: Export): RowsQuestion | null {
  if ('sql' in question) return null;
  const asked = questionOf(question.query, { org, ...plan });
  return asked.kind === 'rows' ? { ...asked.question, receivedBeforeUs: BigInt(plan.nowMs) * 1_000n } : null;
}

const limitOf = (found: Export): number => rowsOf(found)?.limit ?? Number.POSITIVE_INFINITY;
