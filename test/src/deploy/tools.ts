import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export const ROOT = new URL('../../../', import.meta.url).pathname;
const SOURCE = new URL('./tools/', import.meta.url).pathname;
const BUILT = join(ROOT, '.ci/deploy-tools/deploy-tools');
const CACHED_GO = join(ROOT, '.ci/go/bin/go');
const GO = existsSync(CACHED_GO) ? CACHED_GO : 'go';
export const BUILD_MS_MAX = 540_000;
const OUTPUT_BYTES_MAX = 64 * 2 ** 20;

/** Why deploy-tools can't be had here, or null. @see .ci/run */
export const missingDeployTools: string | null = missing('go', [GO, 'version']);

/** Why a program is missing, or null.  @throws where nothing may be skipped */
export function missing(name: string, command: readonly string[]): string | null {
  const [program = '', ...words] = command;
  if (spawnSync(program, words, { encoding: 'utf8' }).status === 0) return null;
  if (process.env.MILLRACE_TEST_NO_SKIP === '1') throw new Error(`${name} is missing: .ci/run gets it`);
  return `${name} is missing`;
}

/** Makes deploy-tools where they are older than their source. It takes minutes the first time. */
export async function buildDeployTools(): Promise<void> {
  const changed = Math.max(...['main.go', 'go.mod', 'go.sum'].map((name) => statSync(join(SOURCE, name)).mtimeMs));
  if (existsSync(BUILT) && statSync(BUILT).mtimeMs >= changed) return;
  mkdirSync(join(BUILT, '..'), { recursive: true });
  const draft = `${BUILT}.${process.pid}`;
  // Not in this thread: vitest takes a worker that is silent for a minute for a dead one.
  await promisify(execFile)(GO, ['build', '-ldflags=-s', '-o', draft, '.'], {
    cwd: SOURCE,
    env: { ...process.env, CGO_ENABLED: '0', GOTOOLCHAIN: 'local' },
    timeout: BUILD_MS_MAX,
  });
  renameSync(draft, BUILT);
}

export interface Told<T> {
  /** What it understood; null if it did not. */
  readonly value: T | null;
  readonly problem: string;
}

/** Asks deploy-tools.  @param environment variables that a compose file may name */
export function ask<T>(
  words: readonly string[],
  options: { readonly input?: string; readonly environment?: Readonly<Record<string, string>> } = {},
): Told<T> {
  const { status, stdout, stderr } = spawnSync(BUILT, words, {
    encoding: 'utf8',
    maxBuffer: OUTPUT_BYTES_MAX,
    input: options.input ?? '',
    env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '/', ...options.environment },
  });
  return { value: status === 0 ? (JSON.parse(stdout) as T) : null, problem: stderr };
}

/** A text as a file for as long as `use` takes. */
export function withFile<T>(name: string, text: string, use: (file: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-deploy-'));
  try {
    const file = join(directory, name);
    writeFileSync(file, text);
    return use(file);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Files below a directory that git knows or would. */
export function filesOf(directory: string): string[] {
  return execFileSync('git', ['ls-files', '-co', '--exclude-standard', directory], { cwd: ROOT, encoding: 'utf8' })
    .split('\n')
    .filter((name) => name !== '' && existsSync(join(ROOT, name)));
}

export const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
