import { closeSync, linkSync, openSync, readFileSync, realpathSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { LogError } from '@millrace/core';

const held = new Set<string>();

/** Makes sure that one engine at a time writes to a directory, also across processes. What a killed process left behind
 *  is recognised by the process's start time and taken over.
 *  @throws LogError LOG_UNREACHABLE naming the process that holds it
 *  @holds processes that share the directory see each other's process ids (not so between containers) */
export function lockDirectory(directory: string): () => void {
  const path = join(realpathSync(directory), 'lock');
  if (held.has(path)) throw locked(path, process.pid);
  const own = `${path}.${process.pid}.${held.size}`;
  const file = openSync(own, 'w', 0o644);
  writeSync(file, `${process.pid} ${startTime(process.pid)}\n`);
  closeSync(file);
  try {
    for (let attempt = 0; attempt < 10; attempt++) {
      try {
        linkSync(own, path);
        held.add(path);
        return () => {
          if (held.delete(path)) unlinkQuietly(path);
        };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const found = readQuietly(path);
      if (found === null) continue;
      const holder = liveHolder(found);
      if (holder !== null) throw locked(path, holder);
      // Only one of several that find it stale gets to move it away; whoever moved a fresh one puts it back.
      const aside = `${own}.stale`;
      try {
        renameSync(path, aside);
      } catch {
        continue;
      }
      if (readQuietly(aside) !== found) linkSync(aside, path);
      unlinkQuietly(aside);
    }
    throw locked(path, -1);
  } finally {
    unlinkQuietly(own);
  }
}

function locked(path: string, pid: number): LogError {
  return new LogError('LOG_UNREACHABLE', 'never', {
    problem: 'the log is open in another process',
    pid,
    lock: path,
    todo: 'stop that process, or use another data directory',
  });
}

function liveHolder(lock: string): number | null {
  const [pid, started] = lock.trim().split(' ');
  const number = Number(pid);
  if (!Number.isInteger(number) || number <= 0) return null;
  if (startTime(number) !== started) return null;
  try {
    process.kill(number, 0);
    return number;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? number : null;
  }
}

/** When a process started, in the kernel's words; "0" where that cannot be told. */
function startTime(pid: number): string {
  const stat = readQuietly(`/proc/${pid}/stat`);
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '0';
}

function readQuietly(path: string): string | null {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return null;
  }
}

function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It is gone already.
  }
}
