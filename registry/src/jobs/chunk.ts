import type { Credentials } from '@millrace/core';
import type { z } from 'zod';
import { actingAs } from '../audit/actor.ts';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import { registryError, type Session } from '../database/database.ts';
import { refusalOf } from '../http/refusal.ts';
import { issuesText } from '../http/route.ts';
import { newChannel } from '../inventory/channel-answers.ts';
import type { Channels } from '../inventory/channels.ts';
import { NewChannelBody, NewThingBody } from '../inventory/schemas.ts';
import { newThing } from '../inventory/thing-answers.ts';
import type { Things } from '../inventory/things.ts';
import { aboutChunk, JOB_COLUMNS, type Job, type JobResult, type LineKind, lineKinds } from './jobs.ts';

export interface ChunkOptions {
  readonly session: Session;
  readonly feed: ChangeFeed;
  readonly credentials: Credentials;
  readonly things: Things;
  readonly channels: Channels;
  /** @see Jobs.guard  @returns null while nobody here can tell */
  rights(job: Job): Promise<'held' | 'lost' | null>;
  stopUnlawful(job: string): Promise<void>;
  /** There is a job step by step. */
  told(): void;
}
/** How one kind of job makes lines of it. */
interface Maker<T> {
  readonly schema: z.ZodType<T>;
  make(tx: ChangeSession, org: string, lines: readonly T[]): Promise<Omit<JobResult, 'line'>[]>;
}
interface Line<T> {
  readonly line: number;
  readonly value: T;
}

/** Works off the next chunk of a job, in one transaction with its progress: a node that dies in it leaves the chunk to be
 *  done, one that dies after it leaves it done. Two that work on one job take turns at its row.
 *  @returns false when there is nothing more to do, or not now */
export type ChunkWork = (job: string) => Promise<boolean>;

export function createChunkWork(options: ChunkOptions): ChunkWork {
  const { session, feed, credentials, things, channels } = options;
  const makers: Readonly<Record<LineKind, Maker<never>>> = {
    'things.create': {
      schema: NewThingBody,
      make: async (tx, org, lines) =>
        (await things.createIn(tx, org, lines.map(newThing))).map(({ thing, key }) => ({ id: thing.id, key })),
    } satisfies Maker<z.output<typeof NewThingBody>> as unknown as Maker<never>,
    'channels.create': {
      schema: NewChannelBody,
      make: async (tx, org, lines) =>
        (await channels.createIn(tx, org, lines.map(newChannel))).map(({ id }) => ({ id })),
    } satisfies Maker<z.output<typeof NewChannelBody>> as unknown as Maker<never>,
  };

  async function next(tx: ChangeSession, id: string): Promise<boolean> {
    const [job] = await tx.query<Job>(
      `SELECT ${JOB_COLUMNS} FROM registry.jobs WHERE id = $1 AND status IN ('waiting', 'running') FOR UPDATE`,
      [id],
    );
    if (job === undefined) return false;
    const [chunk] = await tx.query<{ place: number; first: number; input: string }>(
      'SELECT place, first, input FROM registry.job_chunks WHERE job = $1 AND input IS NOT NULL ORDER BY place LIMIT 1',
      [id],
    );
    if (chunk === undefined) {
      await tx.query(`UPDATE registry.jobs SET status = 'done', finished_at = now() WHERE id = $1`, [id]);
      const { org, kind, done, failed } = job;
      tx.audit({ action: 'jobs.finish', entity: 'jobs', id, org, detail: { kind, done, failed } });
      return false;
    }
    const { place, first } = chunk;
    const items = JSON.parse(credentials.decrypt(chunk.input, aboutChunk('input', id, place))) as unknown[];
    const results = await makeAll(tx, job.org, makers[job.kind as LineKind], items, first);
    const errors = results.filter(({ error }) => error !== undefined);
    await tx.query(
      'UPDATE registry.job_chunks SET input = NULL, results = $3, errors = $4 WHERE job = $1 AND place = $2',
      [
        id,
        place,
        credentials.encrypt(JSON.stringify(results), aboutChunk('results', id, place)),
        JSON.stringify(errors),
      ],
    );
    await tx.query(
      `UPDATE registry.jobs SET status = 'running', done = done + $2, failed = failed + $3, breakdowns = 0 WHERE id = $1`,
      [id, results.length, errors.length],
    );
    return true;
  }

  return async (id) => {
    const sql = `SELECT ${JOB_COLUMNS}, (SELECT frozen FROM registry.orgs WHERE orgs.id = org) AS frozen FROM registry.jobs WHERE id = $1`;
    const [job] = await session.query<Job & { readonly frozen: boolean }>(sql, [id]);
    if (job === undefined) return false;
    if (!lineKinds.some((kind) => kind === job.kind)) {
      options.told();
      return false;
    }
    // A frozen organisation's goes on when it is unfrozen: it is looked for again and again.
    if (job.frozen) return false;
    const rights = await options.rights(job);
    if (rights === null) return false;
    if (rights === 'lost') {
      await options.stopUnlawful(id);
      return false;
    }
    // The audit is written at the end of the transaction: all of it is in the name of who asked for the job.
    return actingAs(job.actor, () => feed.transaction((tx) => next(tx, id)));
  };
}

async function makeAll<T>(
  tx: ChangeSession,
  org: string,
  maker: Maker<T>,
  items: readonly unknown[],
  before: number,
): Promise<JobResult[]> {
  const results: JobResult[] = [];
  const right: Line<T>[] = [];
  for (const [index, item] of items.entries()) {
    const checked = maker.schema.safeParse(item);
    const line = before + index + 1;
    if (checked.success) right.push({ line, value: checked.data });
    else results.push({ line, error: issuesText(checked.error) });
  }
  await makeSome(tx, org, maker, right, results);
  return results.sort((one, other) => one.line - other.line);
}

/** All at once; where that is refused, each half for itself, down to the lines that are to blame. */
async function makeSome<T>(
  tx: ChangeSession,
  org: string,
  maker: Maker<T>,
  lines: readonly Line<T>[],
  results: JobResult[],
): Promise<void> {
  const [first] = lines;
  if (first === undefined) return;
  const values = lines.map(({ value }) => value);
  const made = await attempt(tx, (inner) => maker.make(inner, org, values));
  if (typeof made !== 'string') {
    for (const [index, { line }] of lines.entries()) results.push({ line, ...made[index] });
    return;
  }
  if (lines.length === 1) {
    results.push({ line: first.line, error: made });
    return;
  }
  const middle = Math.ceil(lines.length / 2);
  await makeSome(tx, org, maker, lines.slice(0, middle), results);
  await makeSome(tx, org, maker, lines.slice(middle), results);
}

/** A part of a transaction that may be refused without the whole: what it would tell is told only if it is not.
 *  @returns why it was refused, for people  @throws what is no refusal */
async function attempt<T extends object>(
  tx: ChangeSession,
  work: (tx: ChangeSession) => Promise<T>,
): Promise<T | string> {
  const told: (() => void)[] = [];
  const inner: ChangeSession = {
    query: tx.query,
    changed: (...change) => told.push(() => tx.changed(...change)),
    audit: (audited) => told.push(() => tx.audit(audited)),
  };
  await tx.query('SAVEPOINT attempt');
  try {
    const value = await work(inner);
    await tx.query('RELEASE SAVEPOINT attempt');
    for (const tell of told) tell();
    return value;
  } catch (cause) {
    const error = registryError(cause);
    const refusal = refusalOf(error);
    if (refusal === null || refusal.status >= 500) throw error;
    await tx.query('ROLLBACK TO SAVEPOINT attempt');
    return refusal.message;
  }
}
