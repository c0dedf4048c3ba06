import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { TREE_MARK, treeMemory } from './memory.ts';

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** Holds 64 MiB, says so, and ends with whoever started it. */
const HOLD = `
  const held = Buffer.alloc(${64 * 2 ** 20}, 1);
  process.once('disconnect', () => process.exit(held[0]));
  process.send('holds');`;
const START_ONE = `
  const { spawn } = require('node:child_process');
  const child = spawn(process.execPath, ['-e', ${JSON.stringify(HOLD)}], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  child.once('message', () => process.send('holds'));
  process.once('disconnect', () => process.exit());`;

async function start(script: string, environment: Record<string, string> = {}): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['-e', script], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    env: { ...process.env, ...environment },
  });
  children.push(child);
  await once(child, 'message');
  return child;
}

test.runIf(existsSync('/proc/self/smaps_rollup'))(
  'counts what a process started, and what bears its mark though it left the tree',
  async () => {
    const parent = await start(START_ONE);
    await start(HOLD, { [TREE_MARK]: 'memory-test' });
    const tree = treeMemory(parent.pid ?? 0, 'another-mark');
    expect(tree?.processes).toBe(2);
    expect(tree?.anonymous).toBeGreaterThan(64);
    const both = treeMemory(parent.pid ?? 0, 'memory-test');
    expect(both?.processes).toBe(3);
    expect(both?.anonymous).toBeGreaterThan(128);
    expect(both?.cpuSeconds).toBeGreaterThan(0);
  },
);

test('tells null of a process that is gone', () => {
  expect(treeMemory(2 ** 22 + 1, 'no-mark')).toBeNull();
});
