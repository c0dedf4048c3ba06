import type { Session } from '../database/database.ts';
import { type Cursor, cursorText, type Listed, type ListOrder, parseCursor } from '../inventory/page.ts';

/** How a list of people's matters is asked for. Bounds are checked at the border. */
export interface ListRequest {
  readonly offset: number;
  readonly limit: number;
  readonly order: ListOrder;
  readonly direction: 'asc' | 'desc';
  /** Where the page before ended. */
  readonly after?: Cursor | undefined;
}
export type Page<T> = Listed<T>;

/** @throws Refusal 400 if the cursor is none of ours */
export function requestOf(query: {
  readonly offset?: number | undefined;
  readonly limit?: number | undefined;
  readonly order?: ListOrder | undefined;
  readonly dir?: 'asc' | 'desc' | undefined;
  readonly cursor?: string | undefined;
}): ListRequest {
  const after = query.cursor === undefined ? undefined : parseCursor(query.cursor);
  return {
    offset: query.offset ?? 0,
    limit: query.limit ?? 10,
    order: after?.order ?? query.order ?? 'created',
    direction: after?.direction ?? query.dir ?? 'desc',
    after,
  };
}

/** What is listed. @holds nothing here but `values` comes from a client */
export interface Source {
  readonly columns: string;
  readonly from: string;
  readonly id: string;
  readonly order: Readonly<Record<Exclude<ListOrder, 'id'>, string>>;
}

/** Conditions whose values travel beside them. */
export class Conditions {
  readonly values: unknown[] = [];
  readonly texts: string[] = ['true'];

  /** @param text by the places of the values, as `$1` */
  add(text: (...places: string[]) => string, ...values: readonly unknown[]): this {
    const places = values.map((value) => `$${this.values.push(value)}`);
    this.texts.push(text(...places));
    return this;
  }

  toString(): string {
    return this.texts.join(' AND ');
  }
}

/** Part of a text, in any case. */
export const containing = (part: string): string => `%${part.replaceAll(/[\\%_]/g, '\\$&')}%`;

/** A page of what may be joined from several tables, with the same cursors as things and channels have. */
export async function listPage<T extends object>(
  session: Session,
  { columns, from, id, order }: Source,
  conditions: Conditions,
  { offset, limit, order: by, direction, after }: ListRequest,
): Promise<Page<T>> {
  const counted = { where: String(conditions), values: [...conditions.values] };
  const column = by === 'id' ? id : order[by];
  const isTime = by === 'created' || by === 'updated';
  if (after !== undefined) {
    const given = (place: string): string => {
      if (by === 'id') return `${place}::uuid`;
      return isTime ? `timestamptz 'epoch' + ${place}::bigint * interval '1 microsecond'` : `${place}::text`;
    };
    const beyond = direction === 'asc' ? '>' : '<';
    conditions.add(
      (value, last) => `(${column}, ${id}) ${beyond} (${given(value ?? '')}, ${last}::uuid)`,
      by === 'id' ? after.id : after.value,
      after.id,
    );
  }
  const forward = direction === 'asc' ? 'ASC' : 'DESC';
  const shown = isTime ? `((extract(epoch FROM ${column}) * 1000000)::bigint)::text` : `(${column})::text`;
  const { values } = conditions;
  const [rows, [count]] = await Promise.all([
    session.query<T & { cursorId: string; cursorValue: string }>(
      `SELECT ${columns}, ${id} AS "cursorId", ${shown} AS "cursorValue" FROM ${from} WHERE ${conditions}
       ORDER BY ${column} ${forward}, ${id} ${forward} OFFSET $${values.length + 1} LIMIT $${values.length + 2}`,
      [...values, offset, limit + 1],
    ),
    session.query<{ total: number }>(
      `SELECT count(*)::integer AS total FROM ${from} WHERE ${counted.where}`,
      counted.values,
    ),
  ]);
  const last = rows[limit - 1];
  return {
    total: count?.total ?? 0,
    offset,
    limit,
    items: rows.slice(0, limit).map(({ cursorId: _, cursorValue: __, ...item }) => item as unknown as T),
    ...(rows.length <= limit || last === undefined
      ? {}
      : { cursor: cursorText({ order: by, direction, value: last.cursorValue, id: last.cursorId }) }),
  };
}
