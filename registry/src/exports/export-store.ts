import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import type { Listed } from '../inventory/page.ts';
import { isOpen, type Job, STATUS_OF_JOB } from '../jobs/jobs.ts';
import type { ReadingsQueryBody } from '../readings/schemas.ts';
import type { ExportCompression, ExportFormat, SqlQuestion } from './schemas.ts';

export type ExportQuestion = { readonly query: ReadingsQueryBody } | { readonly sql: SqlQuestion };
/** A part of an export: a range of time, in µs since 1970 as text; all that is asked for where there is none. */
export interface Part {
  readonly fromUs?: string;
  readonly toUs?: string;
}
/** What the question came to when it was asked: it stays so until the end. */
export interface ExportPlan {
  readonly channels: readonly string[];
  readonly publishers?: readonly string[];
  /** Channels of the organisation that who asked may not read, where none were named. */
  readonly leftOut: number;
  readonly nowMs: number;
  /** Set by the first step. */
  readonly parts?: readonly Part[];
}
export interface NewExport {
  readonly name: string;
  readonly question: ExportQuestion;
  readonly plan: ExportPlan;
  readonly format: ExportFormat;
  readonly compression: ExportCompression | null;
  /** Whether text that a spreadsheet takes for a formula is made harmless. */
  readonly spreadsheet: boolean;
  readonly destination: 'download' | 's3';
  /** Of objects in the bucket. */
  readonly prefix: string;
  readonly keptSeconds: number;
}
export interface Export extends NewExport, Pick<Job, 'status' | 'actor' | 'done' | 'total' | 'reason'> {
  readonly id: string;
  readonly org: string;
  readonly createdAt: Date;
  readonly finishedAt: Date | null;
  /** When its files go; null while it is not done. */
  readonly expiresAt: Date | null;
  readonly expired: boolean;
}
export interface ExportFile {
  readonly part: number;
  readonly name: string;
  readonly place: string | null;
  readonly url: string | null;
  readonly bytes: number;
  readonly rows: number;
  readonly sha256: string;
}
export interface ExportListQuery {
  readonly org: string;
  readonly offset: number;
  readonly limit: number;
}

export interface ExportStore {
  /** In the transaction of its job. */
  insert(tx: ChangeSession, job: Job, made: NewExport): Promise<void>;
  get(id: string): Promise<Export | null>;
  list(query: ExportListQuery): Promise<Listed<Export>>;
  files(id: string): Promise<ExportFile[]>;
  keepParts(id: string, parts: readonly Part[]): Promise<void>;
  keepFile(id: string, file: ExportFile): Promise<void>;
  /** What its files take in a place: those of an organisation, and all.  @units bytes */
  taken(org: string, place: string): Promise<{ org: number; all: number }>;
  /** Of these, those whose files somebody may still ask for. */
  alive(ids: readonly string[]): Promise<string[]>;
  /** Writes down who took a file. */
  taking(one: Export, file: string): Promise<void>;
  delete(id: string): Promise<boolean>;
}

const EXPIRES = `jobs.finished_at + exports.kept_seconds * interval '1 second'`;
const IS_ALIVE = `(jobs.status = 'stepping' OR (jobs.status = 'done' AND ${EXPIRES} > now()))`;
const COLUMNS = `exports.id, exports.org, exports.name, question, plan, format, compression, spreadsheet, destination, prefix,
  kept_seconds AS "keptSeconds", ${STATUS_OF_JOB} AS status, actor, done, total, reason, created_at AS "createdAt",
  finished_at AS "finishedAt", CASE WHEN jobs.status = 'done' THEN ${EXPIRES} END AS "expiresAt",
  coalesce(jobs.status = 'done' AND ${EXPIRES} <= now(), false) AS expired`;
const FROM = 'registry.exports JOIN registry.jobs ON jobs.id = exports.id';

export function createExportStore(session: Session, feed: ChangeFeed): ExportStore {
  return {
    async insert(tx, { id, org }, made) {
      await tx.query(
        `INSERT INTO registry.exports (id, org, name, question, plan, format, compression, spreadsheet, destination, prefix, kept_seconds)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
        [
          id,
          org,
          made.name,
          JSON.stringify(made.question),
          JSON.stringify(made.plan),
          made.format,
          made.compression,
          made.spreadsheet,
          made.destination,
          made.prefix,
          made.keptSeconds,
        ],
      );
      const { name, format, destination } = made;
      tx.audit({ action: 'exports.create', entity: 'exports', id, org, detail: { name, format, destination } });
    },

    async get(id) {
      const [found] = await session.query<Export>(`SELECT ${COLUMNS} FROM ${FROM} WHERE exports.id = $1`, [id]);
      return found ?? null;
    },

    async list({ org, offset, limit }) {
      const [items, [count]] = await Promise.all([
        session.query<Export>(
          `SELECT ${COLUMNS} FROM ${FROM} WHERE exports.org = $1 ORDER BY created_at DESC, exports.id DESC OFFSET $2 LIMIT $3`,
          [org, offset, limit],
        ),
        session.query<{ total: number }>('SELECT count(*)::integer AS total FROM registry.exports WHERE org = $1', [
          org,
        ]),
      ]);
      return { total: count?.total ?? 0, offset, limit, items };
    },

    files: (id) =>
      session.query<ExportFile>(
        'SELECT part, name, place, url, bytes, rows, sha256 FROM registry.export_files WHERE export = $1 ORDER BY part',
        [id],
      ),

    async keepParts(id, parts) {
      await session.query(
        `UPDATE registry.exports SET plan = plan || jsonb_build_object('parts', $2::jsonb) WHERE id = $1`,
        [id, JSON.stringify(parts)],
      );
    },

    async keepFile(id, { part, name, place, url, bytes, rows, sha256 }) {
      await session.query(
        `INSERT INTO registry.export_files (export, part, name, place, url, bytes, rows, sha256)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (export, part) DO UPDATE
         SET place = $4, url = $5, bytes = $6, rows = $7, sha256 = $8, made_at = now()`,
        [id, part, name, place, url, bytes, rows, sha256],
      );
    },

    async taken(org, place) {
      const [row] = await session.query<{ org: number; all: number }>(
        `SELECT coalesce(sum(bytes) FILTER (WHERE exports.org = $1), 0) AS org,
           coalesce(sum(bytes) FILTER (WHERE place = $2), 0) AS all
         FROM registry.export_files JOIN ${FROM} ON export = exports.id
         WHERE place IS NOT NULL AND ${IS_ALIVE}`,
        [org, place],
      );
      return row ?? { org: 0, all: 0 };
    },

    async alive(ids) {
      const sql = `SELECT exports.id FROM ${FROM} WHERE exports.id = ANY ($1::uuid[]) AND ${IS_ALIVE}`;
      return (await session.query<{ id: string }>(sql, [ids])).map(({ id }) => id);
    },

    taking: ({ id, org }, file) =>
      feed.transaction(async (tx) => {
        tx.audit({ action: 'exports.download', entity: 'exports', id, org, detail: { file } });
      }),

    delete: (id) =>
      feed.transaction(async (tx) => {
        const [gone] = await tx.query<{ org: string; name: string }>(
          'DELETE FROM registry.exports WHERE id = $1 RETURNING org, name',
          [id],
        );
        if (gone === undefined) return false;
        tx.audit({ action: 'exports.delete', entity: 'exports', id, org: gone.org, detail: { name: gone.name } });
        return true;
      }),
  };
}

/** Whether more of it is to come. */
export const isUnderWay = ({ status }: Pick<Export, 'status'>): boolean => isOpen(status);
