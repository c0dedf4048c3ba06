import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { BackupFile, type BackupManifest, MANIFEST_FILE } from '@millrace/registry';
import { type Client, createClient } from '@millrace/sdk';
import { extract } from 'tar-stream';
import { Failure } from '../control/failure.ts';
import { DEFAULT_ADMIN, localNode } from '../control/profiles.ts';
import { type Call, flag, text, word } from '../control/specification.ts';
import { isSecretOf, parseManifest, readSecret, SECRET_FILE } from './files.ts';

/** The node may wait for what is not stored yet before it begins. */
const HEAD_MS_MAX = 120_000;
const MANIFEST_BYTES_MAX = 1_073_741_824;
const MIB = 1_048_576;

/** Takes a backup. It has its name when it is whole; until then it is called `.part`. */
export async function backUp(call: Call): Promise<void> {
  const given = word(call, 0);
  const name = given === '' ? `millrace-backup-${new Date().toISOString().replace(/[:.]/g, '-')}` : given;
  const secret = flag(call, 'withSecret') ? secretHere(call) : null;
  if (name === '-') {
    if (secret !== null) throw new Failure(2, '--with-secret needs a directory.');
    if (process.stdout.isTTY)
      throw new Failure(2, 'An archive is nothing for a terminal.', 'As: millrace backup - > b.tar');
    const body = await ask(call);
    for await (const bytes of body) await call.output.flushed(bytes);
    call.output.note('Written. Whether it is whole: unpack it, then millrace restore --check.');
    return;
  }
  const target = resolve(name);
  if (existsSync(target) && (!statSync(target).isDirectory() || readdirSync(target).length > 0))
    throw new Failure(5, `${target} is there already.`, 'Name another directory: a backup never overwrites anything.');
  const draft = `${target}.part`;
  // Who takes no more of it leaves: the server would wait, and so would we.
  const leaving = new AbortController();
  const body = await ask(call, AbortSignal.any([call.signal, leaving.signal]));
  // What one that was killed has left.
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(draft, { recursive: true, mode: 0o700 });
  try {
    const manifest = await unpack(body, draft, call);
    if (secret !== null) keepSecret(draft, secret, manifest);
    await sync(draft);
    rmSync(target, { recursive: true, force: true });
    renameSync(draft, target);
    await sync(dirname(target));
    tell(call, target, manifest, secret !== null);
  } catch (error) {
    leaving.abort();
    rmSync(draft, { recursive: true, force: true });
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOSPC')
      throw new Failure(1, `The disk is full: ${target} was not written.`, 'Free space, or name another directory.');
    throw error;
  }
}

async function ask(call: Call, signal = call.signal): Promise<AsyncIterable<Uint8Array>> {
  const client = flag(call, 'local') ? await locally(call) : await call.client();
  const response = await client.transport.stream('POST', '/backups', {
    timeoutMs: HEAD_MS_MAX,
    headers: { accept: 'application/x-tar' },
    anyOrg: true,
    signal,
  });
  if (response.body === null) throw new Failure(6, 'The server answered with nothing.');
  return response.body as unknown as AsyncIterable<Uint8Array>;
}

async function locally(call: Call): Promise<Client> {
  const node = localNode(text(call, 'dataDir'));
  if (node === null) {
    const where = text(call, 'dataDir') ?? (process.env.MILLRACE_DATA_DIR || './data');
    throw new Failure(6, `No node of yours runs on ${where}.`, 'Start one (millrace start), or say where: --data-dir');
  }
  const { token } = await createClient({ url: node.url }).logIn(
    process.env.MILLRACE_ADMIN_EMAIL || DEFAULT_ADMIN,
    node.password,
  );
  return createClient({ url: node.url, token, timeoutMs: HEAD_MS_MAX });
}

/** @throws Failure unless every file came as the manifest says */
async function unpack(body: AsyncIterable<Uint8Array>, directory: string, call: Call): Promise<BackupManifest> {
  const came = new Map<string, { readonly bytes: number; readonly sha256: string }>();
  let manifest: BackupManifest | null = null;
  let bytesTotal = 0;
  const archive = extract();
  const source = Readable.from(body, { objectMode: false });
  source.on('error', () => archive.destroy(new Failure(6, 'The backup broke off.', BROKEN)));
  source.pipe(archive);
  for await (const entry of archive) {
    const { name, size = 0, type } = entry.header;
    const isManifest = name === MANIFEST_FILE;
    if (type !== 'file' || (!isManifest && !BackupFile.shape.path.safeParse(name).success) || size > MANIFEST_BYTES_MAX)
      throw new Failure(1, 'The server sent something that is no part of a backup.');
    const path = join(directory, name);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const file = await open(path, 'wx', 0o600);
    const hash = createHash('sha256');
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of entry as AsyncIterable<Buffer>) {
        hash.update(chunk);
        if (isManifest) chunks.push(chunk);
        await file.writeFile(chunk);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    if (isManifest) manifest = parseManifest(Buffer.concat(chunks).toString(), MANIFEST_FILE);
    else came.set(name, { bytes: size, sha256: hash.digest('hex') });
    bytesTotal += size;
    if (process.stderr.isTTY && !call.output.json)
      process.stderr.write(`\r\u001b[K${came.size} files, ${(bytesTotal / MIB).toFixed(1)} MiB: ${name}`);
  }
  if (process.stderr.isTTY && !call.output.json) process.stderr.write('\r\u001b[K');
  if (manifest === null) throw new Failure(6, 'The backup broke off before its manifest.', BROKEN);
  for (const { path, bytes, sha256 } of manifest.files) {
    const file = came.get(path);
    if (file?.bytes !== bytes || file.sha256 !== sha256)
      throw new Failure(1, `${path} did not come as it was sent.`, 'Nothing was kept. Take it again.');
    came.delete(path);
  }
  if (came.size > 0) throw new Failure(1, `The manifest does not know ${[...came.keys()][0]}.`);
  return manifest;
}

const BROKEN = 'Nothing was kept. Take it again; the log of the node says what went wrong.';

function secretHere(call: Call): string {
  const directory = text(call, 'dataDir') ?? (process.env.MILLRACE_DATA_DIR || './data');
  const found = process.env.MILLRACE_SECRET || readSecret(join(directory, SECRET_FILE));
  if (found) return found;
  throw new Failure(2, `There is no secret in ${directory}.`, 'Set MILLRACE_SECRET, or say where it is: --data-dir');
}

function keepSecret(directory: string, secret: string, manifest: BackupManifest): void {
  if (!isSecretOf(secret, manifest))
    throw new Failure(1, "This machine's secret is not that of the installation.", 'Leave out --with-secret.');
  writeFileSync(join(directory, SECRET_FILE), `${secret}\n`, { mode: 0o600 });
}

/** What is in it survives a power cut. */
async function sync(directory: string): Promise<void> {
  for (const { name } of readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory()))
    if (directory.endsWith('.part')) await sync(join(directory, name));
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function tell(call: Call, directory: string, manifest: BackupManifest, withSecret: boolean): void {
  const rows = (store: 'registry' | 'readings'): number =>
    manifest.tables.filter((table) => table.store === store).reduce((sum, table) => sum + table.rows, 0);
  const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  if (call.output.json) {
    call.output.one({
      directory,
      id: manifest.id,
      taken: manifest.taken,
      bytes,
      rows: { registry: rows('registry'), readings: rows('readings') },
      behind: manifest.log.behind,
      secret: withSecret,
    });
    return;
  }
  call.output.note(
    `${directory}: ${rows('registry')} rows of the registry and ${rows('readings')} of readings and messages, ${(bytes / MIB).toFixed(1)} MiB, as of ${manifest.taken}.`,
  );
  if (manifest.log.behind > 0)
    call.output.note(`${manifest.log.behind} messages were acknowledged and not stored yet: they are not in it.`);
  call.output.note(
    withSecret
      ? 'The secret is in it: whoever has this directory can read every key.'
      : 'The secret is not in it, and without it keys can not be read: keep MILLRACE_SECRET (or the file "secret" of the data directory) elsewhere.',
  );
}
