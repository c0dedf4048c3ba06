import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { siblingUrl } from '@millrace/core';
import { BenchError } from './errors.ts';
import { onCore } from './pinning.ts';

/** A floor or the load generator in a process of its own, so that nothing it does is paid for by another.
 *  It gets its options as JSON in its first argument, tells `ready` or its result by one message, and ends when
 *  told to or when its parent goes away. */
export interface Child<Message> {
  readonly pid: number;
  /** What it told. */
  readonly message: Message;
  stderr(): string;
  stop(): Promise<void>;
}

const running = new Set<ChildProcess>();

/** Ends every child of this module at once; who waits for one is told CHILD_FAILED. */
export function killChildren(): void {
  for (const child of running) child.kill('SIGKILL');
}

/** Starts a child from a file beside `caller` and waits for its first message.
 *  @param core  the one it runs on; null: wherever the system puts it
 *  @throws BenchError CHILD_FAILED when it ends without one, or none comes within `msMax` */
export async function startChild<Message>(
  caller: string,
  stem: string,
  options: unknown,
  msMax: number,
  core: number | null = null,
): Promise<Child<Message>> {
  const file = fileURLToPath(siblingUrl(caller, stem));
  const [command, given] = onCore(core, process.execPath, [...process.execArgv, file, JSON.stringify(options)]);
  const child = spawn(command, given, {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    serialization: 'json',
  });
  running.add(child);
  child.once('close', () => running.delete(child));
  const stderr = tailOf(child);
  const message = await new Promise<Message>((resolve, reject) => {
    const fail = (problem: string): void => {
      clearTimeout(timer);
      child.kill('SIGKILL');
      reject(new BenchError('CHILD_FAILED', 'never', { child: stem, problem, stderr: stderr() }));
    };
    const timer = setTimeout(() => fail(`told nothing for ${msMax} ms`), msMax);
    child.once('error', (error) => fail(error.message));
    const ended = (code: number | null, signal: string | null): void => fail(`ended with ${signal ?? code}`);
    child.once('exit', ended);
    child.once('message', (told) => {
      clearTimeout(timer);
      child.off('exit', ended);
      resolve(told as Message);
    });
  });
  return { pid: child.pid ?? 0, message, stderr, stop: () => stopProcess(child, 5_000) };
}

/** Runs a child to its result. */
export async function runChild<Message>(
  caller: string,
  stem: string,
  options: unknown,
  msMax: number,
  core: number | null = null,
): Promise<Message> {
  const child = await startChild<Message>(caller, stem, options, msMax, core);
  await child.stop();
  return child.message;
}

/** SIGTERM, then SIGKILL after `msMax`. Resolves when the process is gone. */
export async function stopProcess(child: ChildProcess, msMax: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const timer = setTimeout(() => child.kill('SIGKILL'), msMax);
  child.kill('SIGTERM');
  await gone;
  clearTimeout(timer);
}

const TAIL_SIZE = 2_000;

/** The last of what a process wrote on stderr. */
export function tailOf(child: ChildProcess): () => string {
  let tail = '';
  child.stderr?.setEncoding('utf8');
  child.stderr?.on('data', (text: string) => {
    tail = (tail + text).slice(-TAIL_SIZE);
  });
  return () => tail.trim();
}
