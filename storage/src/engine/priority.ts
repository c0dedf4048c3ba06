import { readdirSync, readFileSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

const TASKS = '/proc/self/task';
const NICE = 10;
const EVERY_MS = 1_000;

/** Keeps the engine's threads behind those that take and acknowledge messages: a merge can wait, a device can not.
 *  On Linux a thread has a priority of its own, and lowering it needs no right; elsewhere this does nothing. The engine
 *  names its threads, Node's bear the name of the process. New ones are looked for once a second.
 *  @returns ends it */
export function yieldEngineThreads(): () => void {
  const own = nameOf(process.pid);
  if (own === null) return () => {};
  const known = new Set<string>();
  const look = (): void => {
    const tasks = readdirSync(TASKS);
    for (const task of tasks) {
      if (known.has(task) || task === String(process.pid)) continue;
      const name = nameOf(task);
      // Node's threads may come to run the engine under the same name: only a name of the engine's is final.
      if (name === null || name === own) continue;
      try {
        if (getPriority(Number(task)) < NICE) setPriority(Number(task), NICE);
        known.add(task);
      } catch {
        // It has ended.
      }
    }
    if (known.size > tasks.length * 4) known.clear();
  };
  look();
  const timer = setInterval(look, EVERY_MS).unref();
  return () => clearInterval(timer);
}

function nameOf(task: string | number): string | null {
  try {
    return readFileSync(`${TASKS}/${task}/comm`, 'utf8').trim();
  } catch {
    return null;
  }
}
