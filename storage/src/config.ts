import { z } from 'zod';

const count = (min: number, max: number, standard: number) =>
  z.coerce.number().int().min(min).max(max).default(standard);

/** What the store is told by its environment. */
export const StorageConfig = z.object({
  MILLRACE_CLICKHOUSE_URL: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe('A ClickHouse server (http or https, user and password inside); unset: ClickHouse inside this process.'),
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
  MILLRACE_STORE_QUERIES_MAX: count(1, 64, 8).describe('Queries that run at the same time; more wait.'),
  MILLRACE_STORE_QUERIES_WAITING_MAX: count(0, 10_000, 256).describe('Queries that wait; more are refused (503).'),
  MILLRACE_STORE_QUERY_SECONDS_MAX: count(1, 3_600, 10).describe('A query that takes longer is ended.'),
  MILLRACE_STORE_QUERY_BYTES_MAX: count(16_777_216, 1_099_511_627_776, 536_870_912).describe(
    'A query that needs more memory (bytes) is ended.',
  ),
  MILLRACE_STORE_MEMORY_BYTES_MAX: count(268_435_456, 1_099_511_627_776, 2_147_483_648).describe(
    'Memory (bytes) of the embedded engine as a whole.',
  ),
  MILLRACE_STORE_CACHE_BYTES_MAX: count(8_388_608, 1_099_511_627_776, 67_108_864).describe(
    'Memory (bytes) of the embedded engine for marks and primary indexes, each.',
  ),
});
export type StorageConfig = Readonly<z.infer<typeof StorageConfig>>;
