import { z } from 'zod';

/** Of the format; a program reads those up to its own. */
export const BACKUP_FORMAT = 1;
export const MANIFEST_FILE = 'manifest.json';
const SIZE_MAX = 1_073_741_824;

const name = z.string().regex(/^[a-z][a-z0-9_]{0,62}$/);
const count = z.int().min(0);

/** A part of a table: rows of text, compressed by gzip. */
export const BackupFile = z.object({
  path: z
    .string()
    .regex(/^(registry|readings)\/[a-z][a-z0-9_]{0,62}(\/[A-Za-z0-9]{1,32})?\/\d{6,9}\.tsv\.gz$/)
    .describe('Below the directory of the backup.'),
  store: z.enum(['registry', 'readings']),
  table: name,
  rows: count,
  bytes: count.max(SIZE_MAX).describe('Of the file.'),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type BackupFile = z.infer<typeof BackupFile>;

const Table = z.object({
  store: z.enum(['registry', 'readings']),
  table: name,
  part: z.string().max(32),
  columns: z.array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,62}$/)).min(1),
  clears: z.boolean().describe('What is in the table must go before this is loaded.'),
  rows: count,
});

/** What a backup says of itself; the last that is written. */
export const BackupManifest = z.object({
  format: z.literal(BACKUP_FORMAT),
  id: z.uuid(),
  program: z.string(),
  taken: z.iso.datetime().describe('When its moment was.'),
  finished: z.iso.datetime(),
  secret: z.string().describe('Digest by the secret: tells whether a secret is the one.'),
  schema: z.object({ registry: count, readings: count }),
  log: z.object({
    positions: z
      .array(z.object({ partition: count, offset: count, renumbered: count }))
      .describe('Of each partition: the first offset that is not in it, and the number that its rows bear here.'),
    behind: count.describe('Messages that were acknowledged and not stored at that moment: they are not in it.'),
  }),
  sequences: z.array(z.object({ name, value: z.string().regex(/^-?\d{1,19}$/), called: z.boolean() })),
  tables: z.array(Table).describe('In the order in which they are loaded.'),
  files: z.array(BackupFile),
});
export type BackupManifest = z.infer<typeof BackupManifest>;

/** What the secret's digest in a backup is made of. */
export const SECRET_PROOF = 'millrace backup';
