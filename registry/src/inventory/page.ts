/** How a list is asked for. Bounds are checked at the border. */
export interface ListQuery {
  readonly org: string;
  readonly offset: number;
  readonly limit: number;
  /** Part of the name, in any case. */
  readonly name?: string | undefined;
  readonly tag?: string | undefined;
  /** What the metadata must contain. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  readonly order: 'created' | 'updated' | 'name' | 'id';
  readonly direction: 'asc' | 'desc';
}
export interface Listed<T> {
  readonly total: number;
  readonly offset: number;
  readonly limit: number;
  readonly items: readonly T[];
}

const ORDER_COLUMN = { created: 'created_at', updated: 'updated_at', name: 'name', id: 'id' } as const;

/** The conditions and order of a list, over a table with org, name, tags and metadata.
 *  @holds only constants reach the text; the asker's words travel as values */
export function listClauses(query: ListQuery): { where: string; order: string; values: unknown[] } {
  const values: unknown[] = [query.org];
  const conditions = ['org = $1'];
  const add = (condition: (place: string) => string, value: unknown): void => {
    values.push(value);
    conditions.push(condition(`$${values.length}`));
  };
  if (query.name !== undefined && query.name !== '')
    add((place) => `name ILIKE ${place}`, `%${query.name.replaceAll(/[\\%_]/g, '\\$&')}%`);
  if (query.tag !== undefined) add((place) => `${place} = ANY (tags)`, query.tag);
  if (query.metadata !== undefined) add((place) => `metadata @> ${place}::jsonb`, JSON.stringify(query.metadata));
  const direction = query.direction === 'asc' ? 'ASC' : 'DESC';
  const column = ORDER_COLUMN[query.order];
  const order = column === 'id' ? `id ${direction}` : `${column} ${direction}, id ${direction}`;
  return { where: conditions.join(' AND '), order, values };
}
