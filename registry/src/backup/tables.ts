import type { Session } from '../database/database.ts';

/** A table of the registry, with the columns that are written down. */
export interface RegistryTable {
  readonly name: string;
  readonly columns: readonly string[];
}
export interface Sequence {
  readonly name: string;
  readonly value: string;
  readonly called: boolean;
}

/** What is of the running nodes, not of the installation; each is made anew. */
const OF_NODES: ReadonlySet<string> = new Set([
  // The restore makes its own.
  'migrations',
  'restores',
  // Nodes that live.
  'session_nodes',
  'nodes',
  // Who is connected with them, and where their groups stand in a log that a restore begins anew.
  'mqtt_clients',
  'mqtt_share_members',
  'mqtt_share_cursors',
  // Which of them looks after stored data.
  'store_upkeep',
  // Where a partition's rows are in a ClickHouse cluster; another cluster has other shards.
  'log_shards',
  // How far webhooks have come in that log, and which node delivers them.
  'webhook_states',
  // Files that are being imported: who sends one again goes on where it was.
  'import_parts',
]);

/** The tables in an order in which each comes after those that it refers to. What is not logged (tickets, states) is not
 *  worth keeping. */
export async function tablesOf(session: Session): Promise<RegistryTable[]> {
  const found = await session.query<{ name: string; columns: string[]; refers: string[] }>(
    `SELECT c.relname AS name,
       (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns,
       coalesce((SELECT array_agg(DISTINCT r.relname::text) FROM pg_constraint k JOIN pg_class r ON r.oid = k.confrelid
        WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.confrelid <> c.oid), '{}') AS refers
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'registry' AND c.relkind = 'r' AND c.relpersistence = 'p' ORDER BY c.relname`,
  );
  const left = new Map(found.filter(({ name }) => !OF_NODES.has(name)).map((table) => [table.name, table]));
  const ordered: RegistryTable[] = [];
  while (left.size > 0) {
    const free = [...left.values()].filter(({ refers }) => !refers.some((name) => left.has(name)));
    if (free.length === 0) throw new Error(`these tables refer to each other: ${[...left.keys()].join(', ')}`);
    for (const { name, columns } of free) {
      ordered.push({ name, columns });
      left.delete(name);
    }
  }
  return ordered;
}

export async function sequencesOf(session: Session): Promise<Sequence[]> {
  const names = await session.query<{ name: string }>(
    `SELECT sequencename AS name FROM pg_sequences WHERE schemaname = 'registry' ORDER BY 1`,
  );
  const sequences: Sequence[] = [];
  for (const { name } of names) {
    const [at] = await session.query<Omit<Sequence, 'name'>>(
      `SELECT last_value::text AS value, is_called AS called FROM registry.${identifier(name)}`,
    );
    if (at !== undefined) sequences.push({ name, ...at });
  }
  return sequences;
}

export const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`;
