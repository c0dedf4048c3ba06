import { isUuid } from '@millrace/core';
import type { Session } from '../database/database.ts';
import { Refusal } from '../http/refusal.ts';

/** One line of the audit. */
export interface Entry {
  readonly id: string;
  readonly at: Date;
  readonly org: string | null;
  readonly action: string;
  readonly entity: string;
  readonly entityId: string;
  readonly outcome: 'done' | 'denied';
  readonly actorKind: 'user' | 'thing' | 'system' | 'nobody';
  readonly actor: string | null;
  readonly actorName: string | null;
  readonly via: string | null;
  readonly address: string | null;
  readonly protocol: string | null;
  readonly count: number;
  readonly detail: Readonly<Record<string, unknown>>;
}
export interface EntryFilter {
  /** null: of the whole installation. */
  readonly org: string | null;
  readonly entity?: string | undefined;
  readonly id?: string | undefined;
  readonly actor?: string | undefined;
  /** How the action begins. */
  readonly action?: string | undefined;
  readonly outcome?: 'done' | 'denied' | undefined;
  readonly from?: Date | undefined;
  readonly to?: Date | undefined;
}
/** Where a page ended.  @shape at: µs since 1970, as text */
export interface EntryCursor {
  readonly at: string;
  readonly id: string;
}
export interface EntryPage {
  readonly entries: readonly Entry[];
  /** null: there is no more. */
  readonly next: EntryCursor | null;
}

const COLUMNS = `id, at, org, action, entity, entity_id AS "entityId", outcome, actor_kind AS "actorKind", actor,
  actor_name AS "actorName", via, address, protocol, count, detail`;
/** So far is counted. */
export const COUNTED_MAX = 10_000;

interface Clauses {
  readonly where: string;
  readonly values: unknown[];
}

/** @holds only constants reach the text; the asker's words travel as values */
function clausesOf(filter: EntryFilter): Clauses {
  const values: unknown[] = [];
  const conditions: string[] = ['true'];
  const add = (condition: (place: string) => string, value: unknown): void => {
    if (value === undefined || value === null) return;
    values.push(value);
    conditions.push(condition(`$${values.length}`));
  };
  add((place) => `org = ${place}`, filter.org);
  add((place) => `entity = ${place}`, filter.entity);
  add((place) => `entity_id = ${place}`, filter.id);
  add((place) => `actor = ${place}`, filter.actor);
  add((place) => `starts_with(action, ${place})`, filter.action);
  add((place) => `outcome = ${place}`, filter.outcome);
  add((place) => `at >= ${place}`, filter.from);
  add((place) => `at < ${place}`, filter.to);
  return { where: conditions.join(' AND '), values };
}

/** The newest first. */
export async function readEntries(
  session: Session,
  filter: EntryFilter,
  { offset = 0, limit, after = null }: { offset?: number; limit: number; after?: EntryCursor | null },
): Promise<EntryPage> {
  const { where, values } = clausesOf(filter);
  const beyond =
    after === null
      ? ''
      : `AND (at, id) < (timestamptz 'epoch' + $${values.push(after.at)}::bigint * interval '1 microsecond', $${values.push(after.id)}::uuid)`;
  const rows = await session.query<Entry & { us: string }>(
    `SELECT ${COLUMNS}, (extract(epoch FROM at) * 1000000)::bigint::text AS us FROM registry.audit WHERE ${where} ${beyond}
     ORDER BY at DESC, id DESC OFFSET $${values.length + 1} LIMIT $${values.length + 2}`,
    [...values, offset, limit + 1],
  );
  const last = rows[limit - 1];
  return {
    entries: rows.slice(0, limit).map(({ us: _, ...entry }) => entry),
    next: rows.length > limit && last !== undefined ? { at: last.us, id: last.id } : null,
  };
}

/** How many there are, as far as is counted. */
export async function countEntries(session: Session, filter: EntryFilter): Promise<number> {
  const { where, values } = clausesOf(filter);
  const [row] = await session.query<{ total: number }>(
    `SELECT count(*)::integer AS total FROM (SELECT 1 FROM registry.audit WHERE ${where} LIMIT ${COUNTED_MAX + 1}) AS found`,
    values,
  );
  return row?.total ?? 0;
}

export const cursorText = ({ at, id }: EntryCursor): string => Buffer.from(`${at} ${id}`).toString('base64url');

/** @throws Refusal 400 if it is none of ours */
export function parseCursor(text: string): EntryCursor {
  const [at = '', id = '', ...rest] = Buffer.from(text, 'base64url').toString('utf8').split(' ');
  if (rest.length === 0 && /^\d{1,17}$/.test(at) && isUuid(id)) return { at, id };
  throw new Refusal(400, 'The parameter "cursor" is wrong: it must be what the page before gave.');
}
