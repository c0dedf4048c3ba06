import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RegistryError } from '../error.ts';
import { processIdentity, sleep } from './process.ts';

interface Owner {
  readonly pid: number;
  readonly started: string;
  readonly token: string;
}

/** Time that a slower process has to notice that it lost a race for a dead owner's place. */
const RACE_MS = 50;

/** Takes a directory for this process, until `release`. A dead owner's claim is void, also when its process id has
 *  been given to another process.
 *  @throws RegistryError POSTGRES_IN_USE while another process, or another part of this one, owns it */
export async function claimDirectory(directory: string): Promise<{ release(): void }> {
  const path = join(directory, 'owner.json');
  const mine: Owner = {
    pid: process.pid,
    started: processIdentity(process.pid) ?? '',
    token: randomBytes(12).toString('hex'),
  };
  for (let attempt = 0; attempt < 10; attempt++) {
    try {
      writeFileSync(path, JSON.stringify(mine), { flag: 'wx', mode: 0o600 });
      if (attempt > 0) await sleep(RACE_MS);
      const owner = readOwner(path);
      if (owner?.token === mine.token) return { release: () => release(path, mine.token) };
      throw inUse(directory, owner);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const owner = readOwner(path);
    if (owner !== null && processIdentity(owner.pid) === owner.started) throw inUse(directory, owner);
    if (owner === null) await sleep(RACE_MS);
    rmSync(path, { force: true });
  }
  throw inUse(directory, null);
}

function release(path: string, token: string): void {
  if (readOwner(path)?.token === token) rmSync(path, { force: true });
}

function inUse(directory: string, owner: Owner | null): RegistryError {
  return new RegistryError('POSTGRES_IN_USE', 'later', {
    directory,
    pid: owner?.pid ?? null,
    advice: 'stop the other instance, or start this one on another data directory',
  });
}

function readOwner(path: string): Owner | null {
  try {
    const owner: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return typeof owner === 'object' && owner !== null && 'token' in owner ? (owner as Owner) : null;
  } catch {
    return null;
  }
}
