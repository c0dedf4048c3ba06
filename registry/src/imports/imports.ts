import { isUuid, uuidV7 } from '@millrace/core';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { Clauses, type Listed } from '../inventory/page.ts';
import type { RejectedEntry } from './entries.ts';
import type { FileSlices } from './files/parquet.ts';
import type { ImportRequest } from './request.ts';

export const importStatuses = ['uploading', 'running', 'done', 'failed', 'cancelled'] as const;
export type ImportStatus = (typeof importStatuses)[number];
export interface Import {
  readonly id: string;
  readonly org: string;
  readonly channel: string;
  readonly request: ImportRequest;
  readonly sha256: string;
  readonly attempt: number;
  readonly status: ImportStatus;
  readonly job: string | null;
  readonly reason: string | null;
  /** Of the file, as far as it has come. @units bytes */
  readonly size: number;
  /** Entries of the file that have been worked off. */
  readonly entries: number;
  readonly rows: number;
  readonly readings: number;
  readonly messages: number;
  readonly rejected: number;
  /** Where its messages stand in the log; null: there are none. */
  readonly partition: number | null;
  readonly firstOffset: number | null;
  readonly lastOffset: number | null;
  readonly createdAt: Date;
  readonly finishedAt: Date | null;
}
/** What an import has done since it was asked last. */
export interface ImportProgress {
  readonly entries: number;
  readonly rows: number;
  readonly readings: number;
  readonly messages: number;
  readonly rejected: readonly RejectedEntry[];
  readonly partition: number | null;
  readonly firstOffset: number | null;
  readonly lastOffset: number | null;
}

export interface Imports {
  get(id: string): Promise<Import | null>;
  list(query: {
    org: string;
    offset: number;
    limit: number;
    status?: ImportStatus | undefined;
  }): Promise<Listed<Import>>;
  errors(id: string, offset: number, limit: number): Promise<Listed<{ line: number; reason: string; text: string }>>;
  /** The import of this file: what there is of it, or a new one that waits for the file. One that failed or was
   *  cancelled waits for it anew, and goes on where it was.
   *  @param force beside one that is finished  @throws RegistryError REGISTRY_FULL */
  open(
    of: Pick<Import, 'org' | 'channel' | 'request' | 'sha256'> & { digest: string; force: boolean },
  ): Promise<Import>;
  /** Keeps a part of the file; the same part again replaces it.
   *  @returns the import; null if it waits for no file  @throws RegistryError REGISTRY_FULL beyond the largest file */
  part(id: string, place: number, bytes: Uint8Array): Promise<Import | null>;
  /** Places and sizes of the parts that are there, in order. */
  parts(id: string): Promise<{ readonly place: number; readonly size: number }[]>;
  file(id: string): Promise<FileSlices>;
  /** In the transaction that submits the job. @returns false if it waits for no file */
  startIn(tx: ChangeSession, id: string, job: string): Promise<boolean>;
  /** @returns false if somebody else has gone on with it meanwhile */
  progress(of: Import, progress: ImportProgress): Promise<boolean>;
  /** It is over: its file is forgotten. */
  end(
    id: string,
    status: Exclude<ImportStatus, 'uploading' | 'running'>,
    reason: string | null,
  ): Promise<Import | null>;
  /** The thing of an organisation by its id, its external id or its name.  @returns why there is none */
  thing(org: string, reference: string): Promise<{ readonly id: string; readonly groups: readonly string[] } | string>;
}

/** Rejected rows that are kept in full. */
export const ERRORS_KEPT = 1_000;
/** Imports of one organisation that wait for their file. */
const UPLOADING_PER_ORG_MAX = 10;
export const PARTS_MAX = 1_048_576;
const COLUMNS = `id, org, channel, request, sha256, attempt, status, job, reason, size, entries, rows, readings, messages,
  rejected, partition, first_offset AS "firstOffset", last_offset AS "lastOffset", created_at AS "createdAt",
  finished_at AS "finishedAt"`;

export function createImports(session: Session, feed: ChangeFeed, bytesMax: number): Imports {
  const get = async (id: string, on: Session = session): Promise<Import | null> =>
    (await on.query<Import>(`SELECT ${COLUMNS} FROM registry.imports WHERE id = $1`, [id]))[0] ?? null;
  const parts = (id: string): Promise<{ place: number; size: number }[]> =>
    session.query('SELECT place, size FROM registry.import_parts WHERE import = $1 ORDER BY place', [id]);

  return {
    get: (id) => get(id),

    async list({ org, offset, limit, status }) {
      const clauses = new Clauses();
      clauses.add('org = ?', org);
      if (status !== undefined) clauses.add('status = ?', status);
      const { where, values } = clauses;
      const [items, [count]] = await Promise.all([
        session.query<Import>(
          `SELECT ${COLUMNS} FROM registry.imports WHERE ${where} ORDER BY created_at DESC, id DESC
           OFFSET $${values.length + 1} LIMIT $${values.length + 2}`,
          [...values, offset, limit],
        ),
        session.query<{ total: number }>(
          `SELECT count(*)::integer AS total FROM registry.imports WHERE ${where}`,
          values,
        ),
      ]);
      return { total: count?.total ?? 0, offset, limit, items };
    },

    async errors(id, offset, limit) {
      const [items, [count]] = await Promise.all([
        session.query<{ line: number; reason: string; text: string }>(
          'SELECT line, reason, text FROM registry.import_errors WHERE import = $1 ORDER BY place OFFSET $2 LIMIT $3',
          [id, offset, limit],
        ),
        session.query<{ total: number }>(
          'SELECT count(*)::integer AS total FROM registry.import_errors WHERE import = $1',
          [id],
        ),
      ]);
      return { total: count?.total ?? 0, offset, limit, items };
    },

    open: ({ org, channel, request, sha256, digest, force }) =>
      feed.transaction(async (tx) => {
        // Two who ask at once get the same.
        await tx.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`import ${org} ${sha256} ${digest}`]);
        await forgetAbandoned(tx);
        const [latest] = await tx.query<Import>(
          `SELECT ${COLUMNS} FROM registry.imports WHERE org = $1 AND channel = $2 AND sha256 = $3 AND digest = $4
           ORDER BY attempt DESC LIMIT 1`,
          [org, channel, sha256, digest],
        );
        if (latest?.status === 'uploading' || latest?.status === 'running') return latest;
        if (latest?.status === 'done' && !force) return latest;
        const [open] = await tx.query<{ count: number }>(
          `SELECT count(*)::integer AS count FROM registry.imports WHERE org = $1 AND status = 'uploading'`,
          [org],
        );
        if ((open?.count ?? 0) >= UPLOADING_PER_ORG_MAX)
          throw new RegistryError('REGISTRY_FULL', 'later', { imports: UPLOADING_PER_ORG_MAX });
        if (latest !== undefined && latest.status !== 'done') {
          const [again] = await tx.query<Import>(
            `UPDATE registry.imports SET status = 'uploading', job = NULL, reason = NULL, size = 0, request = $2,
               finished_at = NULL, updated_at = now() WHERE id = $1 RETURNING ${COLUMNS}`,
            [latest.id, JSON.stringify(request)],
          );
          return again as Import;
        }
        const id = uuidV7();
        const [made] = await tx.query<Import>(
          `INSERT INTO registry.imports (id, org, channel, request, digest, sha256, attempt, status)
           VALUES ($1, $2, $3, $4, $5, $6, $7, 'uploading') RETURNING ${COLUMNS}`,
          [id, org, channel, JSON.stringify(request), digest, sha256, latest === undefined ? 0 : latest.attempt + 1],
        );
        if (made === undefined) throw new RegistryError('REGISTRY_NOT_FOUND', 'never', { org });
        tx.audit({ action: 'imports.create', entity: 'imports', id, org, detail: { channel, sha256 } });
        return made;
      }),

    part: (id, place, bytes) =>
      feed.transaction(async (tx) => {
        const [held] = await tx.query<{ status: ImportStatus }>(
          'SELECT status FROM registry.imports WHERE id = $1 FOR UPDATE',
          [id],
        );
        if (held?.status !== 'uploading') return null;
        await tx.query(
          `INSERT INTO registry.import_parts (import, place, size, bytes) VALUES ($1, $2, $3, $4)
           ON CONFLICT (import, place) DO UPDATE SET size = excluded.size, bytes = excluded.bytes`,
          [id, place, bytes.length, bytes],
        );
        const [kept] = await tx.query<Import>(
          `UPDATE registry.imports SET updated_at = now(),
             size = (SELECT coalesce(sum(size), 0) FROM registry.import_parts WHERE import = $1)
           WHERE id = $1 RETURNING ${COLUMNS}`,
          [id],
        );
        if ((kept?.size ?? 0) > bytesMax) throw new RegistryError('REGISTRY_FULL', 'never', { bytes: bytesMax });
        return kept ?? null;
      }),

    parts,

    async file(id) {
      const found = await parts(id);
      const ends: number[] = [];
      let size = 0;
      for (const part of found) {
        size += part.size;
        ends.push(size);
      }
      let cached = -1;
      let bytes = new Uint8Array();
      return {
        size,
        async read(from, to) {
          const out = new Uint8Array(to - from);
          let index = ends.findIndex((end) => end > from);
          for (let at = from; at < to && index >= 0 && index < found.length; index++) {
            const begin = index === 0 ? 0 : (ends[index - 1] as number);
            if (cached !== index) {
              const [row] = await session.query<{ bytes: Buffer }>(
                'SELECT bytes FROM registry.import_parts WHERE import = $1 AND place = $2',
                [id, found[index]?.place],
              );
              if (row === undefined) throw new RegistryError('REGISTRY_NOT_FOUND', 'never', { import: id });
              bytes = new Uint8Array(row.bytes);
              cached = index;
            }
            const some = bytes.subarray(at - begin, Math.min(to - begin, bytes.length));
            out.set(some, at - from);
            at += some.length;
          }
          return out;
        },
      };
    },

    async startIn(tx, id, job) {
      const rows = await tx.query(
        `UPDATE registry.imports SET status = 'running', job = $2, updated_at = now()
         WHERE id = $1 AND status = 'uploading' RETURNING 1`,
        [id, job],
      );
      return rows.length > 0;
    },

    progress: ({ id, entries }, done) =>
      feed.transaction(async (tx) => {
        const [kept] = await tx.query<{ before: number }>(
          `UPDATE registry.imports SET entries = $3, rows = rows + $4, readings = readings + $5, messages = messages + $6,
             rejected = rejected + $7, partition = coalesce($8, partition),
             first_offset = coalesce(first_offset, $9), last_offset = coalesce($10, last_offset), updated_at = now()
           WHERE id = $1 AND entries = $2 AND status = 'running' RETURNING rejected - $7 AS before`,
          [
            id,
            entries,
            done.entries,
            done.rows,
            done.readings,
            done.messages,
            done.rejected.length,
            done.partition,
            done.firstOffset,
            done.lastOffset,
          ],
        );
        if (kept === undefined) return false;
        const told = done.rejected.slice(0, Math.max(0, ERRORS_KEPT - kept.before));
        if (told.length > 0)
          await tx.query(
            `INSERT INTO registry.import_errors (import, place, line, reason, text)
             SELECT $1, $2 + place, line, reason, text
             FROM unnest($3::double precision[], $4::text[], $5::text[]) WITH ORDINALITY AS told (line, reason, text, place)
             ON CONFLICT DO NOTHING`,
            [
              id,
              kept.before,
              told.map(({ line }) => line),
              told.map(({ reason }) => reason),
              told.map(({ text }) => text),
            ],
          );
        return true;
      }),

    end: (id, status, reason) =>
      feed.transaction(async (tx) => {
        await tx.query('DELETE FROM registry.import_parts WHERE import = $1', [id]);
        const [ended] = await tx.query<Import>(
          `UPDATE registry.imports SET status = $2, reason = $3, updated_at = now(), finished_at = now()
           WHERE id = $1 AND status IN ('uploading', 'running') RETURNING ${COLUMNS}`,
          [id, status, reason],
        );
        if (ended === undefined) return get(id, tx);
        const { org, channel, rows, rejected } = ended;
        tx.audit({ action: 'imports.finish', entity: 'imports', id, org, detail: { channel, status, rows, rejected } });
        return ended;
      }),

    async thing(org, reference) {
      const found = await session.query<{ id: string; groups: string[] }>(
        `SELECT things.id, coalesce((SELECT above.ancestors || above.id FROM registry.groups AS above
             WHERE above.id = things.group_id), '{}') AS groups
         FROM registry.things WHERE org = $1 AND ${isUuid(reference) ? 'things.id = $2' : '(external_id = $2 OR name = $2)'} LIMIT 2`,
        [org, reference],
      );
      const shown = JSON.stringify(reference.slice(0, 80));
      if (found[0] === undefined) return `there is no thing ${shown} in the organisation`;
      return found.length > 1 ? `several things are called ${shown}: name them by their ids` : found[0];
    },
  };
}

/** Whoever began to send a file a day ago will send it anew. */
async function forgetAbandoned(tx: ChangeSession): Promise<void> {
  const abandoned = `status = 'uploading' AND updated_at < now() - interval '1 day'`;
  await tx.query(`DELETE FROM registry.imports WHERE ${abandoned} AND entries = 0`);
  const [...begun] = await tx.query<{ id: string }>(
    `UPDATE registry.imports SET status = 'cancelled', finished_at = now() WHERE ${abandoned} RETURNING id`,
  );
  if (begun.length > 0)
    await tx.query('DELETE FROM registry.import_parts WHERE import = ANY ($1)', [begun.map(({ id }) => id)]);
}
