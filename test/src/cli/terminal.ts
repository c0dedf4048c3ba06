import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Millrace, Ran } from '../millrace.ts';

export const MAIN = new URL('../../../app/bin/millrace.cjs', import.meta.url).pathname;

export interface RunOptions {
  readonly stdin?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

/** Somebody at a terminal of their own: no settings but theirs, a home of their own. */
export class Terminal {
  readonly home = mkdtempSync(join(tmpdir(), 'millrace-home-'));
  readonly #environment: Readonly<Record<string, string>>;

  /** @param node its data directory is `./data` to this terminal */
  constructor(node: Millrace | null, environment: Readonly<Record<string, string>> = {}) {
    this.#environment = {
      XDG_CONFIG_HOME: this.home,
      TZ: 'UTC',
      ...(node === null ? {} : { MILLRACE_DATA_DIR: node.directory }),
      ...environment,
    };
  }

  run(words: readonly string[], { stdin, environment }: RunOptions = {}): Promise<Ran> {
    const inherited = Object.entries(process.env).filter(
      ([name]) => !name.startsWith('MILLRACE_') && name !== 'NODE_OPTIONS' && name !== 'COLUMNS',
    );
    const child = spawn(process.execPath, [MAIN, ...words], {
      cwd: this.home,
      env: { ...Object.fromEntries(inherited), ...this.#environment, ...environment },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    // It may end without reading.
    child.stdin.on('error', () => undefined);
    child.stdin.end(stdin ?? '');
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve({ code, stdout, stderr }));
    });
  }

  /** Runs what must succeed.  @returns its JSON */
  async json<T>(words: readonly string[], options: RunOptions = {}): Promise<T> {
    const { stdout } = await this.ok([...words, '--json'], options);
    return JSON.parse(stdout) as T;
  }

  async ok(words: readonly string[], options: RunOptions = {}): Promise<Ran> {
    const ran = await this.run(words, options);
    if (ran.code !== 0) throw new Error(`millrace ${words.join(' ')}: ${ran.code}\n${ran.stdout}${ran.stderr}`);
    return ran;
  }

  file(name: string, content: string): string {
    const path = join(this.home, name);
    writeFileSync(path, content);
    return path;
  }

  get profilesFile(): string {
    return join(this.home, 'millrace', 'profiles.json');
  }

  get profiles(): { current: string; profiles: Record<string, Record<string, string>> } {
    return JSON.parse(readFileSync(this.profilesFile, 'utf8'));
  }

  dispose(): void {
    rmSync(this.home, { recursive: true, force: true });
  }
}
