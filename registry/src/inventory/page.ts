import { isUuid } from '@millrace/core';
import type { Session } from '../database/database.ts';
import { Refusal } from '../http/refusal.ts';

/** How a list is asked for. Bounds are checked at the border. */
export interface ListQuery {
  readonly org: string;
  readonly offset: number;
  readonly limit: number;
  /** Part of the name, in any case. */
  readonly name?: string | undefined;
  /** All of them. */
  readonly tags?: readonly string[] | undefined;
  /** What the metadata must contain. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  readonly status?: 'enabled' | 'disabled' | 'all' | undefined;
  readonly order: ListOrder;
  readonly direction: 'asc' | 'desc';
  /** Where the page before ended. */
  readonly after?: Cursor | undefined;
}
export type ListOrder = 'created' | 'updated' | 'name' | 'id';
export interface Listed<T> {
  readonly total: number;
  readonly offset: number;
  readonly limit: number;
  readonly items: readonly T[];
  /** Shown again, gives the next page; absent when this was the last. */
  readonly cursor?: string;
}
/** The last row of a page.  @shape value: of what is ordered by; times in µs since 1970, as text */
export interface Cursor {
  readonly order: ListOrder;
  readonly direction: 'asc' | 'desc';
  readonly value: string;
  readonly id: string;
}

/** How a list can be ordered: the column, the text of its value that a cursor carries, and what makes a value of it. */
const ORDERS: Readonly<Record<ListOrder, { column: string; shown: string; given: (place: string) => string }>> = {
  created: timeOrder('created_at'),
  updated: timeOrder('updated_at'),
  name: { column: 'name', shown: 'name', given: (place) => `${place}::text` },
  id: { column: 'id', shown: `''`, given: () => '' },
};

/** Microseconds, as PostgreSQL keeps times: with less, rows of one millisecond would be left out or come twice. */
function timeOrder(column: string) {
  return {
    column,
    shown: `((extract(epoch FROM ${column}) * 1000000)::bigint)::text`,
    given: (place: string) => `timestamptz 'epoch' + ${place}::bigint * interval '1 microsecond'`,
  };
}

/** Conditions that are put together.  @holds only constants reach the text; the asker's words travel as values */
export class Clauses {
  readonly values: unknown[] = [];
  readonly #conditions: string[] = [];

  /** @param condition with `?` for each place of the value */
  add(condition: string, value?: unknown): void {
    if (value !== undefined) this.values.push(value);
    this.#conditions.push(condition.replaceAll('?', `$${this.values.length}`));
  }
  get where(): string {
    return this.#conditions.length === 0 ? 'true' : this.#conditions.join(' AND ');
  }
}

/** What is asked of every list, over a table with org, name, tags, metadata and, for a status, enabled. */
export function listClauses(query: ListQuery): Clauses {
  const clauses = new Clauses();
  clauses.add('org = ?', query.org);
  if (query.name !== undefined && query.name !== '')
    clauses.add('name ILIKE ?', `%${query.name.replaceAll(/[\\%_]/g, '\\$&')}%`);
  if (query.tags !== undefined && query.tags.length > 0) clauses.add('tags @> ?::text[]', query.tags);
  // No operator of jsonb holds the mark of a place but `?` itself, which is not used.
  if (query.metadata !== undefined) clauses.add('metadata @> ?::jsonb', JSON.stringify(query.metadata));
  if (query.status === 'enabled') clauses.add('enabled');
  if (query.status === 'disabled') clauses.add('NOT enabled');
  return clauses;
}

/** A page of a table's rows, and how many there are in all.
 *  @param more further conditions
 *  @holds rows that are added or removed meanwhile neither hide nor repeat others while pages are turned by cursor */
export async function listRows<T extends { readonly id: string }>(
  session: Session,
  table: string,
  columns: string,
  query: ListQuery,
  more: (clauses: Clauses) => void = () => undefined,
): Promise<Listed<T>> {
  const { offset, limit, order, direction, after } = query;
  const clauses = listClauses(query);
  more(clauses);
  const counted = { where: clauses.where, values: [...clauses.values] };
  const { column, shown, given } = ORDERS[order];
  const forward = direction === 'asc' ? 'ASC' : 'DESC';
  const than = direction === 'asc' ? '>' : '<';
  if (after !== undefined && order === 'id') clauses.add(`id ${than} ?::uuid`, after.id);
  if (after !== undefined && order !== 'id') {
    const { values } = clauses;
    values.push(after.value, after.id);
    clauses.add(`(${column}, id) ${than} (${given(`$${values.length - 1}`)}, $${values.length}::uuid)`);
  }
  const sorted = order === 'id' ? `id ${forward}` : `${column} ${forward}, id ${forward}`;
  const places = clauses.values.length;
  const [rows, [count]] = await Promise.all([
    session.query<T & { cursorValue: string }>(
      `SELECT ${columns}, ${shown} AS "cursorValue" FROM ${table} WHERE ${clauses.where}
       ORDER BY ${sorted} OFFSET $${places + 1} LIMIT $${places + 2}`,
      [...clauses.values, offset, limit + 1],
    ),
    session.query<{ total: number }>(
      `SELECT count(*)::integer AS total FROM ${table} WHERE ${counted.where}`,
      counted.values,
    ),
  ]);
  const items = rows.slice(0, limit).map(({ cursorValue: _, ...row }) => row as unknown as T);
  const last = rows[limit - 1];
  return {
    total: count?.total ?? 0,
    offset,
    limit,
    items,
    ...(rows.length <= limit || last === undefined
      ? {}
      : { cursor: cursorText({ order, direction, value: last.cursorValue, id: last.id }) }),
  };
}

/** As clients see it: to be shown again, not to be read. */
export const cursorText = ({ order, direction, value, id }: Cursor): string =>
  Buffer.from(JSON.stringify([order, direction, value, id])).toString('base64url');

/** @throws Refusal 400 if it is none of ours */
export function parseCursor(text: string): Cursor {
  const wrong = new Refusal(400, 'The parameter "cursor" is wrong: it must be what the page before gave.');
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    throw wrong;
  }
  if (!Array.isArray(parts) || parts.length !== 4 || !parts.every((part) => typeof part === 'string')) throw wrong;
  const [order, direction, value, id] = parts as [string, string, string, string];
  if (!Object.hasOwn(ORDERS, order) || (direction !== 'asc' && direction !== 'desc') || !isUuid(id)) throw wrong;
  const isTime = order === 'created' || order === 'updated';
  if (isTime ? !/^\d{1,17}$/.test(value) : value.includes('\0')) throw wrong;
  return { order: order as ListOrder, direction, value, id };
}

/** A page as it is answered.  @param items what the rows are called */
export function pageAnswer<T, A>(
  { total, offset, limit, items, cursor }: Listed<T>,
  name: string,
  answer: (item: T) => A,
): Record<string, unknown> {
  return { total, offset, limit, ...(cursor === undefined ? {} : { cursor }), [name]: items.map(answer) };
}
