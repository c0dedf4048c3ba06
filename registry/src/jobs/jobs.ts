import { type Credentials, isUuid, uuidV7 } from '@millrace/core';
import { type Actor, currentActor } from '../audit/actor.ts';
import type { ChangeFeed } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { Clauses, type Listed } from '../inventory/page.ts';

/** Jobs that make the lines of a request, and those that are carried out step by step (work.ts). Their names are the
 *  actions that who asks for them must be allowed. */
export const lineKinds = ['things.create', 'channels.create'] as const;
export const stepKinds = ['exports.create', 'imports.create', 'deletions.create', 'deadletters.replay'] as const;
export type LineKind = (typeof lineKinds)[number];
export type StepKind = (typeof stepKinds)[number];
export type JobKind = LineKind | StepKind;
export type JobStatus = 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';
export interface Job {
  readonly id: string;
  readonly org: string;
  readonly kind: JobKind;
  readonly status: JobStatus;
  /** What `total`, `done` and `failed` count: `items` of the lines of a request. */
  readonly unit: string;
  /** 0 while it is not known. */
  readonly total: number;
  /** What has been worked off, and how much of it could not be made. */
  readonly done: number;
  readonly failed: number;
  readonly actor: Actor;
  /** That its lines name; null: none. */
  readonly groups: readonly (string | null)[];
  readonly reason: string | null;
  /** Of a job step by step: what was asked for, where it stands, what it came to. `input` and `state` are null in lists. */
  readonly input: unknown;
  readonly state: unknown;
  readonly result: unknown;
  readonly createdAt: Date;
  readonly finishedAt: Date | null;
}
/** What became of one line. */
export interface JobResult {
  /** Of the request, from 1. */
  readonly line: number;
  readonly id?: string;
  readonly key?: string;
  readonly error?: string;
}
export interface JobListQuery {
  readonly org: string;
  readonly offset: number;
  readonly limit: number;
  readonly status?: JobStatus | undefined;
}

export interface JobStore {
  /** Keeps what shall be made; it is worked off from now on, whatever happens to this node.
   *  @throws RegistryError REGISTRY_FULL if the org has too many that are not finished */
  create(org: string, kind: LineKind, items: readonly unknown[]): Promise<Job>;
  get(id: string): Promise<Job | null>;
  list(query: JobListQuery): Promise<Listed<Job>>;
  /** In the order of the lines, as far as it has come. */
  results(job: Job, offset: number, limit: number): Promise<Listed<JobResult>>;
  errors(job: Job, offset: number, limit: number): Promise<Listed<JobResult>>;
  /** Ends a job whose maker may not do any more what it does; what was made stays. */
  stopUnlawful(id: string): Promise<void>;
  /** What was made stays.  @returns null if there is no such job; one that is finished is given as it is */
  cancel(id: string): Promise<Job | null>;
  /** Ids of those that are not finished, the oldest first; none of organisations that are frozen. */
  open(limit: number): Promise<string[]>;
  /** Forgets the results of jobs that finished long ago, later the jobs. */
  sweep(): Promise<void>;
}

/** What is made in one transaction. */
const CHUNK_LINES = 1_000;
const CHUNK_CHARACTERS = 4 * 1024 * 1024;
const OPEN_PER_ORG_MAX = 10;
const RESULTS_KEPT = `interval '24 hours'`;
const JOBS_KEPT = `interval '30 days'`;
const SWEPT_MAX = 200;
export const STATUS_OF_JOB = `CASE WHEN status <> 'stepping' THEN status WHEN started THEN 'running' ELSE 'waiting' END`;
export const isOpen = (status: JobStatus): boolean => status === 'waiting' || status === 'running';
const LIST_COLUMNS = `id, org, kind, ${STATUS_OF_JOB} AS status, unit, total, done, failed, actor, groups, reason, result,
  created_at AS "createdAt", finished_at AS "finishedAt"`;
export const JOB_COLUMNS = `${LIST_COLUMNS}, input, state`;
/** Of what makes lines: the rest is the steps' own (step-store.ts). */
const OPEN_LINES = `status IN ('waiting', 'running')`;
const OPEN = `status IN ('waiting', 'running', 'stepping')`;

/** What a chunk's text is sealed for: one can not be passed off as another. */
export const aboutChunk = (what: 'input' | 'results', job: string, place: number): string =>
  `job ${job} ${place} ${what}`;

export function createJobStore(session: Session, feed: ChangeFeed, credentials: Credentials): JobStore {
  const get = async (id: string): Promise<Job | null> =>
    (await session.query<Job>(`SELECT ${JOB_COLUMNS} FROM registry.jobs WHERE id = $1`, [id]))[0] ?? null;
  return {
    get,

    create: (org, kind, items) =>
      feed.transaction(async (tx) => {
        await refuseTooMany(tx, org, lineKinds);
        const id = uuidV7();
        const [job] = await tx.query<Job>(
          `INSERT INTO registry.jobs (id, org, kind, total, actor, groups) VALUES ($1, $2, $3, $4, $5, $6::uuid[]) RETURNING ${JOB_COLUMNS}`,
          [id, org, kind, items.length, JSON.stringify(currentActor()), groupsOf(items)],
        );
        if (job === undefined) throw new RegistryError('REGISTRY_NOT_FOUND', 'never', { org });
        for (const [place, { first, lines }] of chunksOf(items).entries()) {
          const input = credentials.encrypt(`[${lines.join(',')}]`, aboutChunk('input', id, place));
          await tx.query(
            'INSERT INTO registry.job_chunks (job, place, first, count, input) VALUES ($1, $2, $3, $4, $5)',
            [id, place, first, lines.length, input],
          );
        }
        tx.audit({ action: 'jobs.create', entity: 'jobs', id, org, detail: { kind, total: items.length } });
        return job;
      }),

    async list({ org, offset, limit, status }) {
      const clauses = new Clauses();
      clauses.add('org = ?', org);
      if (status !== undefined) clauses.add(`${STATUS_OF_JOB} = ?`, status);
      const { where, values } = clauses;
      const [items, [count]] = await Promise.all([
        session.query<Job>(
          `SELECT ${LIST_COLUMNS}, NULL AS input, NULL AS state FROM registry.jobs WHERE ${where} ORDER BY created_at DESC, id DESC
           OFFSET $${values.length + 1} LIMIT $${values.length + 2}`,
          [...values, offset, limit],
        ),
        session.query<{ total: number }>(`SELECT count(*)::integer AS total FROM registry.jobs WHERE ${where}`, values),
      ]);
      return { total: count?.total ?? 0, offset, limit, items };
    },

    async results(job, offset, limit) {
      const chunks = await session.query<{ place: number; results: string }>(
        `SELECT place, results FROM registry.job_chunks
         WHERE job = $1 AND first < $2 AND first + count > $3 AND results IS NOT NULL ORDER BY place`,
        [job.id, offset + limit, offset],
      );
      const lines = chunks.flatMap(
        ({ place, results }) =>
          JSON.parse(credentials.decrypt(results, aboutChunk('results', job.id, place))) as JobResult[],
      );
      const items = lines.filter(({ line }) => line > offset && line <= offset + limit);
      return { total: job.done, offset, limit, items };
    },

    async errors(job, offset, limit) {
      const items = await session.query<JobResult>(
        `SELECT line, error FROM registry.job_chunks, jsonb_to_recordset(errors) AS told (line integer, error text)
         WHERE job = $1 ORDER BY line OFFSET $2 LIMIT $3`,
        [job.id, offset, limit],
      );
      return { total: job.failed, offset, limit, items };
    },

    stopUnlawful: (id) =>
      feed.transaction(async (tx) => {
        const [job] = await tx.query<Job>(
          `UPDATE registry.jobs SET status = 'failed', finished_at = now(), due_at = NULL, reason = 'Who asked for it may not do this any more.'
           WHERE id = $1 AND ${OPEN} RETURNING ${JOB_COLUMNS}`,
          [id],
        );
        if (job === undefined) return;
        await tx.query('DELETE FROM registry.job_chunks WHERE job = $1 AND results IS NULL', [id]);
        const { org, kind, done, total } = job;
        tx.audit({ action: 'jobs.stop', entity: 'jobs', id, org, detail: { kind, done, total } });
      }),

    cancel: (id) =>
      feed.transaction(async (tx) => {
        const [job] = await tx.query<Job>(
          `UPDATE registry.jobs SET status = 'cancelled', finished_at = now(), due_at = NULL WHERE id = $1 AND ${OPEN}
           RETURNING ${JOB_COLUMNS}`,
          [id],
        );
        if (job === undefined)
          return (await tx.query<Job>(`SELECT ${JOB_COLUMNS} FROM registry.jobs WHERE id = $1`, [id]))[0] ?? null;
        await tx.query('DELETE FROM registry.job_chunks WHERE job = $1 AND results IS NULL', [id]);
        const { org, kind, done, total } = job;
        tx.audit({ action: 'jobs.cancel', entity: 'jobs', id, org, detail: { kind, done, total } });
        return job;
      }),

    async open(limit) {
      const sql = `SELECT id FROM registry.jobs WHERE ${OPEN_LINES}
        AND NOT EXISTS (SELECT 1 FROM registry.orgs WHERE orgs.id = org AND frozen) ORDER BY created_at LIMIT $1`;
      return (await session.query<{ id: string }>(sql, [limit])).map(({ id }) => id);
    },

    async sweep() {
      const chunks = `DELETE FROM registry.job_chunks WHERE (job, place) IN (
           SELECT job, place FROM registry.job_chunks JOIN registry.jobs ON jobs.id = job
           WHERE finished_at < now() - ${RESULTS_KEPT} LIMIT ${SWEPT_MAX} FOR UPDATE OF job_chunks SKIP LOCKED) RETURNING 1`;
      const jobs = `DELETE FROM registry.jobs WHERE id IN (SELECT id FROM registry.jobs
           WHERE finished_at < now() - ${JOBS_KEPT} AND NOT unsettled LIMIT ${SWEPT_MAX} FOR UPDATE SKIP LOCKED) RETURNING 1`;
      for (const sql of [chunks, jobs]) while ((await session.query(sql)).length === SWEPT_MAX);
    },
  };
}

/** @throws RegistryError REGISTRY_FULL if the org has too many of these that are not finished */
export async function refuseTooMany(session: Session, org: string, kinds: readonly JobKind[]): Promise<void> {
  const [open] = await session.query<{ count: number }>(
    `SELECT count(*)::integer AS count FROM registry.jobs WHERE org = $1 AND kind = ANY ($2) AND ${OPEN}`,
    [org, kinds],
  );
  if ((open?.count ?? 0) >= OPEN_PER_ORG_MAX)
    throw new RegistryError('REGISTRY_FULL', 'later', { jobs: OPEN_PER_ORG_MAX });
}

/** The groups that items name. They need not be checked yet: what is no id of a group is refused with its line, later. */
export function groupsOf(items: readonly unknown[]): (string | null)[] {
  const groups = new Set<string | null>();
  for (const item of items) {
    const group = (item as { group_id?: unknown } | null)?.group_id;
    groups.add(typeof group === 'string' && isUuid(group) ? group.toLowerCase() : null);
  }
  return [...groups];
}

interface Chunk {
  /** Lines before it. */
  readonly first: number;
  /** As JSON. */
  readonly lines: readonly string[];
}

function chunksOf(items: readonly unknown[]): Chunk[] {
  const chunks: Chunk[] = [];
  let lines: string[] = [];
  let characters = 0;
  for (const [index, item] of items.entries()) {
    const text = JSON.stringify(item);
    if (lines.length === CHUNK_LINES || (lines.length > 0 && characters + text.length > CHUNK_CHARACTERS)) {
      chunks.push({ first: index - lines.length, lines });
      lines = [];
      characters = 0;
    }
    lines.push(text);
    characters += text.length;
  }
  if (lines.length > 0) chunks.push({ first: items.length - lines.length, lines });
  return chunks;
}
