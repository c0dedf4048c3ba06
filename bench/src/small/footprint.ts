import { readFileSync } from 'node:fs';

/** Memory that a tree of processes would take on a machine of its own.
 *  @units MiB
 *  @shape anonymous: what the kernel can not take back (no swap): heaps, stacks, shared memory, written pages of files.
 *         files: pages of programs and libraries that are in memory, each file once; the kernel drops them when it must */
export interface Footprint {
  readonly total: number;
  readonly anonymous: number;
  readonly files: number;
  /** By process: its command (PostgreSQL's taken together), its anonymous memory. */
  readonly byProgram: Readonly<Record<string, number>>;
}

const HEADER = /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ (\S+) (\d+)\s*(.*)$/;

/** Unlike PSS, which shares a library's pages out among all who map them, this does not get less because a neighbour
 *  outside of the tree runs the same library.
 *  @returns null where the system does not tell (no /proc) */
export function footprint(pids: Iterable<number>): Footprint | null {
  let anonymous = 0;
  const files = new Map<string, number>();
  const byProgram: Record<string, number> = {};
  for (const pid of pids) {
    const maps = readText(`/proc/${pid}/smaps`);
    if (maps === '') continue;
    const own = readMaps(maps);
    anonymous += own.anonymous;
    const program = readText(`/proc/${pid}/comm`).trim();
    byProgram[program] = (byProgram[program] ?? 0) + own.anonymous / 1_024;
    // Which pages of a file two processes have in common is not told: at least the larger share is there.
    for (const [file, size] of own.files) files.set(file, Math.max(files.get(file) ?? 0, size));
  }
  if (anonymous === 0) return null;
  const fileKib = [...files.values()].reduce((sum, size) => sum + size, 0);
  return { total: (anonymous + fileKib) / 1_024, anonymous: anonymous / 1_024, files: fileKib / 1_024, byProgram };
}

/** @units KiB */
export function readMaps(text: string): { anonymous: number; files: Map<string, number> } {
  const files = new Map<string, number>();
  let anonymous = 0;
  let file: string | null = null;
  let rss = 0;
  for (const line of text.split('\n')) {
    const head = HEADER.exec(line);
    if (head !== null) {
      // Shared memory is a deleted file of no device (/dev/zero, /SYSV…): nothing but memory holds it.
      const [, , inode, name = ''] = head;
      file = inode === '0' || /^\/dev\/|^\/SYSV|^\/memfd/.test(name) ? null : name;
    } else if (line.startsWith('Rss:')) {
      rss = kib(line);
    } else if (line.startsWith('Pss:')) {
      if (file === null) anonymous += kib(line);
    } else if (line.startsWith('Anonymous:') && file !== null) {
      const written = kib(line);
      anonymous += written;
      files.set(file, (files.get(file) ?? 0) + rss - written);
    }
  }
  return { anonymous, files };
}

const kib = (line: string): number => Number(/(\d+) kB/.exec(line)?.[1] ?? 0);

/** Processes end while they are looked at. */
function readText(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
