import { z } from 'zod';

const count = (min: number, max: number, standard: number) =>
  z.coerce.number().int().min(min).max(max).default(standard);

/** Several addresses, one user. */
function isUrls(text: string): boolean {
  const urls = text.split(',').map((each) => each.trim());
  const users = new Set<string>();
  for (const [index, each] of urls.entries()) {
    if (!URL.canParse(each)) return false;
    const { protocol, username, password } = new URL(each);
    if (protocol !== 'http:' && protocol !== 'https:') return false;
    if (index === 0 || username !== '' || password !== '') users.add(`${username}:${password}`);
  }
  return users.size === 1;
}

/** What the store is told by its environment. */
export const StorageConfig = z.object({
  MILLRACE_CLICKHOUSE_URL: z
    .string()
    .refine(isUrls, 'http or https URLs, comma-separated, with the same user and password')
    .optional()
    .describe(
      'A ClickHouse server (http or https, user and password inside), or several entry points of it or of a cluster, comma-separated; unset: ClickHouse inside this process.',
    ),
  MILLRACE_CLICKHOUSE_CLUSTER: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_.-]{0,62}$/, 'letters, digits, dots, dashes and underscores')
    .optional()
    .describe(
      'The cluster behind the URL, as `remote_servers` of the servers names it: replicated tables, the rows of a partition of the log on one shard. Unset: one server.',
    ),
  MILLRACE_CLICKHOUSE_QUORUM: z
    .union([z.literal('off'), z.literal('auto'), z.coerce.number().int().min(2).max(16)])
    .default('off')
    .describe(
      'Replicas of a shard that must have an insert before it counts as stored: a number, or auto for the majority. off: one, and the others follow; a disk that is lost before they did loses those rows.',
    ),
  MILLRACE_CLICKHOUSE_DATABASE: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]{0,62}$/, 'letters, digits and underscores')
    .default('millrace')
    .describe('The database that holds the tables; made if it does not exist.'),
  MILLRACE_STORE_DURABILITY: z
    .enum(['fsync', 'commit'])
    .default('fsync')
    .describe('fsync: a stored row survives a power cut; commit: only a crash of the process.'),
  MILLRACE_STORE_INSERTS_MAX: count(1, 16, 2).describe('Inserts that run at the same time; more wait.'),
  MILLRACE_STORE_INSERT_SECONDS_MAX: count(1, 3_600, 60).describe(
    'An insert that takes longer counts as unanswered and is tried again.',
  ),
  MILLRACE_STORE_QUERIES_MAX: count(1, 64, 8).describe(
    'Queries that run at the same time; more wait. The embedded engine has a quarter of the threads for blocking calls (UV_THREADPOOL_SIZE) at most.',
  ),
  MILLRACE_STORE_QUERIES_WAITING_MAX: count(0, 10_000, 256).describe('Queries that wait; more are refused (503).'),
  MILLRACE_STORE_QUERY_SECONDS_MAX: count(1, 3_600, 10).describe(
    'A query that takes longer is ended; of a streamed answer, the time that its reader takes does not count.',
  ),
  MILLRACE_STORE_QUERY_BYTES_MAX: count(16_777_216, 1_099_511_627_776, 536_870_912).describe(
    'A query that needs more memory (bytes) is ended.',
  ),
  MILLRACE_STORE_BACKGROUND_MAX: count(1, 16, 1).describe(
    'Queries for work in the background (exports, deletions) that run at the same time, beside the others; more wait.',
  ),
  MILLRACE_STORE_BACKGROUND_SECONDS_MAX: count(1, 86_400, 3_600).describe(
    'A query for work in the background that keeps the engine busy for longer is ended.',
  ),
  MILLRACE_STORE_STALLED_SECONDS_MAX: count(1, 3_600, 60).describe(
    'A streamed answer of which nothing was taken for so long is ended: it holds a place.',
  ),
  MILLRACE_STORE_MEMORY_BYTES_MAX: count(268_435_456, 1_099_511_627_776, 2_147_483_648).describe(
    'Memory (bytes) of the embedded engine as a whole.',
  ),
  MILLRACE_STORE_CACHE_BYTES_MAX: count(8_388_608, 1_099_511_627_776, 67_108_864).describe(
    'Memory (bytes) of the embedded engine for marks and primary indexes, each.',
  ),
});
export type StorageConfig = Readonly<z.infer<typeof StorageConfig>>;
