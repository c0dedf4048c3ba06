import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { Assembly, createMetrics, type Log, MillraceError } from '@millrace/core';
import { openLog } from '@millrace/log';
import {
  type BackupFile,
  type BackupManifest,
  embeddedPostgres,
  openRegistryRestore,
  type RegistryRestore,
} from '@millrace/registry';
import { openStoreRestore, type StoreRestore } from '@millrace/storage';
import { type Config, loadConfig } from '../../config.ts';
import { type DataDirectory, takeDataDirectory, writeWhole } from '../../data-directory.ts';
import { createLogger } from '../../log-output.ts';
import { messagesTopic } from '../../messages-topic.ts';
import { Failure } from '../control/failure.ts';
import { type Call, flag, text, word } from '../control/specification.ts';
import { environmentWith } from '../flags.ts';
import { checkFiles, isSecretOf, readManifest, readSecret, SECRET_FILE } from './files.ts';
import { rewind, rewindOf } from './kept-log.ts';

const PIECE_BYTES_MAX = 1_073_741_824;
const NEWLINE = 10;
const unzip = promisify(gunzip);

/** Fills an empty installation. Whatever can be found wrong is found before anything is written; what is cut short
 *  afterwards is known as such, and done again from its beginning. */
export async function restore(call: Call): Promise<void> {
  try {
    await restoreFrom(resolve(word(call, 0)), call);
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error;
    const { problem, advice } = error.facts;
    throw new Failure(1, String(problem ?? error.message), typeof advice === 'string' ? advice : null);
  }
}

async function restoreFrom(directory: string, call: Call): Promise<void> {
  const manifest = readManifest(directory);
  await checkFiles(directory, manifest.files, (done, total) => call.output.progress('checked', done, total));
  if (flag(call, 'check')) {
    tell(call, manifest, 'The backup is whole');
    return;
  }
  const dataDir = text(call, 'dataDir');
  const config = loadConfig(environmentWith(dataDir === undefined ? {} : { dataDir }));
  const { secret, isNew } = secretFor(config, directory, manifest);
  const target = await takeDataDirectory(config.node.MILLRACE_DATA_DIR, secret);
  const assembly = new Assembly();
  try {
    const installation = await openInstallation(config, target, assembly);
    try {
      const keepsLog = flag(call, 'keepLog');
      await assertEmpty(installation, keepsLog);
      if (isNew) writeWhole(target.file(SECRET_FILE), `${secret}\n`);
      await fill(installation, directory, manifest, keepsLog, call);
    } finally {
      await installation.store.close();
      await installation.registry.close();
    }
    tell(call, manifest, 'Restored');
    if (config.node.MILLRACE_SECRET !== undefined) call.output.note('Start the nodes with the same MILLRACE_SECRET.');
  } finally {
    await assembly.stop();
    await target.release();
  }
}

interface Installation {
  readonly registry: RegistryRestore;
  readonly store: StoreRestore;
  readonly log: Log;
}

async function openInstallation(config: Config, target: DataDirectory, assembly: Assembly): Promise<Installation> {
  const logger = createLogger('warn');
  const tools = { logger, metrics: createMetrics() };
  const url =
    config.registry.MILLRACE_POSTGRES_URL ??
    (await assembly.start(embeddedPostgres({ directory: target.file('postgres'), logger }))).url;
  const log = openLog(config.log, { directory: target.file('log'), ...tools });
  const { messages } = await assembly.start(messagesTopic(log, config.log));
  return {
    registry: openRegistryRestore({ url, ...tools }),
    store: await openStoreRestore(config.storage, target.file('clickhouse')),
    log: messages,
  };
}

/** @throws Failure that says what was found */
async function assertEmpty({ registry, store, log }: Installation, keepsLog: boolean): Promise<void> {
  const kept = await registry.contents();
  // A restore that was cut short is cleared away; what is beside it may be somebody's who works with it.
  const stored = kept === null ? await store.storedCount() : 0;
  const found = kept !== null ? { ...kept, ...(await store.contents()) } : stored > 0 ? { message_log: stored } : {};
  const told = Object.entries(found).map(([table, count]) => `${table}: ${count}`);
  let messageCount = 0;
  for (let partition = 0; partition < log.partitionCount; partition++)
    messageCount += (await log.extent(partition)).next;
  if (messageCount > 0 && !keepsLog) told.push(`messages on the log: ${messageCount}`);
  if (told.length === 0) return;
  throw new Failure(
    5,
    `The installation is not empty (${told.join(', ')}). Nothing was written.`,
    'Restore into a new data directory (--data-dir), or into engines without a database of Millrace; --keep-log if only the log is still there.',
  );
}

async function fill(
  installation: Installation,
  directory: string,
  manifest: BackupManifest,
  keepsLog: boolean,
  call: Call,
): Promise<void> {
  const { registry, store, log } = installation;
  const kept = keepsLog ? await rewindOf(log, manifest) : null;
  let done = 0;
  const read = async (file: BackupFile): Promise<Buffer> => {
    const rows = await unzip(readFileSync(join(directory, file.path)), { maxOutputLength: PIECE_BYTES_MAX });
    let count = 0;
    for (let at = rows.indexOf(NEWLINE); at !== -1; at = rows.indexOf(NEWLINE, at + 1)) count++;
    if (count !== file.rows)
      throw new Failure(1, `${file.path} has ${count} rows instead of ${file.rows}.`, 'Use another copy.');
    call.output.progress('restored', ++done, manifest.files.length);
    return rows;
  };
  await registry.begin(manifest);
  call.output.note('Restoring. Until it has ended no node starts here; cut short, it is run again.');
  await store.begin(manifest.schema.readings);
  for (const table of manifest.tables) {
    if (table.store !== 'readings') continue;
    if (table.clears) await store.clear(table.table);
    const of = `readings/${table.table}/${table.part}/`;
    for (const file of manifest.files.filter(({ path }) => path.startsWith(of)))
      await store.load({ name: table.table, columns: table.columns }, await read(file), `${manifest.id}-${file.path}`);
  }
  await store.finish();
  if (kept !== null) {
    await rewind(log, kept);
    if (kept.lost > 0) call.output.note(`${kept.lost} messages that came after the backup are no longer on the log.`);
  }
  await registry.load(manifest, kept === null ? log.partitionCount : null, async function* (table) {
    for (const file of manifest.files) if (file.store === 'registry' && file.table === table) yield await read(file);
  });
}

/** The secret that the installation will have: the configured one, that of the data directory, or the backup's own.
 *  @throws Failure when there is none, or it is another than that of the backup */
function secretFor(config: Config, backup: string, manifest: BackupManifest): { secret: string; isNew: boolean } {
  const file = join(resolve(config.node.MILLRACE_DATA_DIR), SECRET_FILE);
  const given = config.node.MILLRACE_SECRET ?? readSecret(file);
  const own = readSecret(join(backup, SECRET_FILE));
  const secret = given ?? own;
  if (secret === null)
    throw new Failure(
      1,
      'The secret is not in the backup, and none is configured. Nothing was written.',
      `Set MILLRACE_SECRET to that of the installation, or write it to ${file} (mode 0600).`,
    );
  if (!isSecretOf(secret, manifest))
    throw new Failure(
      1,
      `The secret ${config.node.MILLRACE_SECRET === undefined ? `in ${existsSync(file) ? file : backup}` : 'MILLRACE_SECRET'} is not that of the installation that the backup is of: no key could be read. Nothing was written.`,
      'Put the right one there; it was in MILLRACE_SECRET, or in the file "secret" of the old data directory.',
    );
  return { secret, isNew: given === null };
}

function tell(call: Call, { id, taken, tables, program }: BackupManifest, what: string): void {
  const rows = tables.reduce((sum, table) => sum + table.rows, 0);
  if (call.output.json) call.output.one({ id, taken, program, rows });
  else call.output.note(`${what}: ${rows} rows, as of ${taken} (made by millrace ${program}).`);
}
