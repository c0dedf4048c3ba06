import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createCredentials } from '@millrace/policy';
import { BACKUP_FORMAT, type BackupFile, BackupManifest, MANIFEST_FILE, SECRET_PROOF } from '@millrace/registry';
import { Failure } from '../control/failure.ts';

export const SECRET_FILE = 'secret';
const TOLD_MAX = 5;

/** @throws Failure when there is none, it is damaged, or a newer program wrote it */
export function readManifest(directory: string): BackupManifest {
  const path = join(directory, MANIFEST_FILE);
  if (!existsSync(directory)) throw new Failure(1, `There is no ${directory}.`, 'Name the directory of a backup.');
  if (!statSync(directory).isDirectory())
    throw new Failure(
      1,
      `${directory} is a file: a restore reads a directory.`,
      `Unpack the archive: mkdir -m 700 backup && tar -C backup -xf ${directory}`,
    );
  if (!existsSync(path))
    throw new Failure(
      1,
      `${directory} is no backup: there is no ${MANIFEST_FILE}.`,
      'It is written last; without it the backup was cut short. Take another one.',
    );
  return parseManifest(readFileSync(path, 'utf8'), path);
}

export function parseManifest(text: string, path: string): BackupManifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Failure(1, `${path} is damaged: it is no JSON.`, 'Use another copy of the backup.');
  }
  const { format, program } = (value ?? {}) as { format?: unknown; program?: unknown };
  if (typeof format === 'number' && format > BACKUP_FORMAT)
    throw new Failure(
      1,
      `The backup has format ${format}; this program reads formats up to ${BACKUP_FORMAT}.`,
      `Use millrace ${typeof program === 'string' ? program : 'of the version that made it'} or newer.`,
    );
  const read = BackupManifest.safeParse(value);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  throw new Failure(1, `${path} is damaged: ${issue?.path.join('.')}: ${issue?.message}.`, 'Use another copy.');
}

/** Reads every file once.  @throws Failure that tells what is missing or damaged */
export async function checkFiles(
  directory: string,
  files: readonly BackupFile[],
  told: (done: number, total: number) => void,
): Promise<void> {
  const problems: string[] = [];
  for (const [index, file] of files.entries()) {
    const problem = await problemOf(join(directory, file.path), file);
    if (problem !== null) problems.push(`${file.path}: ${problem}`);
    told(index + 1, files.length);
  }
  if (problems.length === 0) return;
  const more = problems.length > TOLD_MAX ? `; and ${problems.length - TOLD_MAX} more` : '';
  throw new Failure(
    1,
    `The backup is damaged: ${problems.slice(0, TOLD_MAX).join('; ')}${more}.`,
    'Nothing was restored. Use another copy of the backup.',
  );
}

async function problemOf(path: string, { bytes, sha256 }: BackupFile): Promise<string | null> {
  if (!existsSync(path)) return 'is missing';
  const { size } = statSync(path);
  if (size !== bytes) return `has ${size} bytes instead of ${bytes}`;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) hash.update(chunk);
  return hash.digest('hex') === sha256 ? null : 'is not what was written (SHA-256)';
}

/** Whether this is the secret of the installation that the backup is of. @param secret hex */
export const isSecretOf = (secret: string, manifest: BackupManifest): boolean =>
  createCredentials({ secret: Buffer.from(secret, 'hex') }).digest(SECRET_PROOF) === manifest.secret;

/** The secret in a file, hex; null if there is none. */
export function readSecret(path: string): string | null {
  if (!existsSync(path)) return null;
  const text = readFileSync(path, 'utf8').trim();
  return /^[0-9a-f]{64}$/i.test(text) ? text : null;
}
