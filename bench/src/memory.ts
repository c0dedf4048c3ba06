import { readdirSync, readFileSync } from 'node:fs';

/** Memory of a process and all that it started.
 *  @units MiB
 *  @shape pss: proportional set size, shared pages counted once over the tree: what the tree takes from the machine.
 *         anonymous: the part of pss that is not backed by files (the log's mapping is, and the kernel may take it back).
 *         rss: the sum of every process's resident size, shared pages counted each time */
export interface TreeMemory {
  readonly pss: number;
  readonly anonymous: number;
  readonly rss: number;
  readonly processes: number;
  /** User and system time that the living processes have taken.  @units s */
  readonly cpuSeconds: number;
}

/** The kernel's unit for process times; 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** An environment variable with a value of its own marks what a benchmark started, so that a server which left the
 *  tree (re-parented to init) is still found. */
export const TREE_MARK = 'BENCH_TREE';

/** @returns null where the system does not tell (no /proc) */
export function treeMemory(root: number, mark: string): TreeMemory | null {
  const pids = treeOf(root, mark);
  let pss = 0;
  let anonymous = 0;
  let rss = 0;
  let processes = 0;
  let ticks = 0;
  for (const pid of pids) {
    const text = readText(`/proc/${pid}/smaps_rollup`);
    if (text === '') continue;
    pss += field(text, 'Pss');
    anonymous += field(text, 'Pss_Anon') + field(text, 'Pss_Shmem');
    rss += field(text, 'Rss');
    const stat = statFields(pid);
    ticks += Number(stat[11]) + Number(stat[12]);
    processes++;
  }
  if (processes === 0) return null;
  return {
    pss: pss / 1_024,
    anonymous: anonymous / 1_024,
    rss: rss / 1_024,
    processes,
    cpuSeconds: ticks / TICKS_PER_SECOND,
  };
}

/** State, parent, … of /proc/<pid>/stat: `pid (command) state parent …`, where the command may hold anything, so what
 *  follows its last `)` counts. */
function statFields(pid: number): string[] {
  const text = readText(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** Process ids of the tree. */
export function treeOf(root: number, mark: string): Set<number> {
  const children = new Map<number, number[]>();
  const found = new Set<number>([root]);
  for (const name of listing('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const parent = Number(statFields(pid)[1]);
    const siblings = children.get(parent);
    if (siblings === undefined) children.set(parent, [pid]);
    else siblings.push(pid);
    if (readText(`/proc/${pid}/environ`).includes(`${TREE_MARK}=${mark}\0`)) found.add(pid);
  }
  // A Set gives what is added while it is walked.
  for (const pid of found) for (const child of children.get(pid) ?? []) found.add(child);
  return found;
}

function field(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0);
}

function listing(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** Processes end while they are looked at. */
function readText(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
