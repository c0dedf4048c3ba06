import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';

// In a process of its own: a thread's priority can't be raised again.
const SCRIPT = `
import { getPriority } from 'node:os';
import { readdirSync, readFileSync, mkdtempSync, rmSync } from 'node:fs';
import { Session } from 'chdb';
import { yieldEngineThreads } from ${JSON.stringify(new URL('./priority.ts', import.meta.url).href)};
const directory = mkdtempSync('/tmp/millrace-priority-');
const session = new Session(directory);
await session.queryAsync('SELECT 1');
const end = yieldEngineThreads();
const look = () => readdirSync('/proc/self/task').flatMap((task) => {
  try {
    return [[readFileSync('/proc/self/task/' + task + '/comm', 'utf8').trim(), getPriority(Number(task))]];
  } catch {
    return []; // It has ended meanwhile.
  }
});
// A thread that begins just now is found at the next look.
const endMs = performance.now() + 20_000;
let seen = look();
while (performance.now() < endMs && seen.some(([name, nice]) => name !== seen[0][0] && nice !== 10)) {
  await new Promise((resolve) => setTimeout(resolve, 50));
  seen = look();
}
end();
session.close();
rmSync(directory, { recursive: true, force: true });
console.log(JSON.stringify(seen));
process.exit(0);
`;

test.runIf(process.platform === 'linux')("the engine's threads give way to Node's", () => {
  const child = spawnSync(
    process.execPath,
    ['--import', 'tsx', '--conditions=source', '--input-type=module', '-e', SCRIPT],
    { encoding: 'utf8', cwd: new URL('../..', import.meta.url).pathname },
  );
  expect(child.stderr).toBe('');
  const seen = JSON.parse(child.stdout) as [name: string, nice: number][];
  const own = seen[0]?.[0];
  expect(seen.filter(([name, nice]) => name === own && nice !== 0)).toEqual([]);
  const engine = seen.filter(([name]) => name !== own);
  expect(engine.length).toBeGreaterThan(0);
  expect(engine.filter(([, nice]) => nice !== 10)).toEqual([]);
});
