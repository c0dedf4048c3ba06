import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';

const STDERR_CHARS_MAX = 10_000;
const END_MS_MAX = 10_000;
/** Children of this process that still run: none outlives it. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A client program that runs beside the test and tells what it sees line by line. */
export class Program {
  stderr = '';
  readonly #child: ChildProcess;
  readonly #ended: Promise<string>;

  /** @param onLine gets each line of standard output  @param onEnd is called when the program is over, with how */
  constructor(words: readonly string[], onLine: (line: string) => void, onEnd: (how: string) => void = () => {}) {
    const child = spawn(words[0] ?? '', words.slice(1), { stdio: 'pipe' });
    this.#child = child;
    running.add(child);
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-STDERR_CHARS_MAX);
    });
    child.stdin.on('error', () => {});
    createInterface({ input: child.stdout, crlfDelay: Number.POSITIVE_INFINITY }).on('line', onLine);
    this.#ended = new Promise((resolve) => {
      const over = (how: string): void => {
        running.delete(child);
        resolve(how);
        onEnd(`${words[0]} ended with ${how}: ${this.stderr.slice(-500)}`);
      };
      child.once('error', (error) => over(String(error)));
      child.once('close', (code, signal) => over(String(code ?? signal)));
    });
  }

  write(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Ends it, by force if it does not go. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), END_MS_MAX);
    await this.#ended;
    clearTimeout(timer);
  }
}

/** Runs a program to its end with these bytes as its input.
 *  @throws when it fails, with what it wrote to standard error */
export async function runToEnd(words: readonly string[], input: Uint8Array, msMax = 30_000): Promise<string> {
  const child = spawn(words[0] ?? '', words.slice(1), { stdio: 'pipe' });
  running.add(child);
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-STDERR_CHARS_MAX);
  });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), msMax);
  try {
    const code = await new Promise<number | string | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (exit, signal) => resolve(exit ?? signal));
    });
    if (code !== 0) throw new Error(`${words[0]} ended with ${code}: ${stderr} ${stdout.slice(-500)}`);
    return stdout;
  } finally {
    clearTimeout(timer);
    running.delete(child);
  }
}

/** @returns why a program can't be used, or null */
export function missingProgram(program: string, ...words: readonly string[]): string | null {
  const { error } = spawnSync(program, words, { stdio: 'ignore', timeout: 20_000 });
  return error === undefined ? null : `${program} is not installed`;
}

const PYTHONS = ['/usr/bin/python3', 'python3', 'python'];

/** The first Python that has a module: Debian's packages are for Debian's own.  @returns null if none has */
export function pythonWith(module: string): string | null {
  const has = (python: string): boolean =>
    spawnSync(python, ['-c', `import ${module}`], { stdio: 'ignore', timeout: 20_000 }).status === 0;
  return PYTHONS.find(has) ?? null;
}
