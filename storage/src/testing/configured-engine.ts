import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { siblingUrl } from '@millrace/core';

/** ClickHouse's engine with a configuration of its own, in a process of its own. It knows clusters, macros and a Keeper;
 *  since nothing can fetch parts from it, it takes no inserts into replicated tables. */
export class ConfiguredEngine {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  constructor(directory: string, config: string | null, environment: Readonly<Record<string, string>> = {}) {
    const program = fileURLToPath(siblingUrl(import.meta.url, './configured-engine-process'));
    this.#child = spawn(process.execPath, [...process.execArgv, program, directory, config ?? ''], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, ...environment },
    });
    const { stdout } = this.#child;
    if (stdout === null) throw new Error('no pipe');
    this.#answers = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }
  async ask<Row extends unknown[]>(statement: string): Promise<Row[]> {
    this.#child.stdin?.write(`${JSON.stringify(statement)}\n`);
    const { value } = await this.#answers.next();
    if (value === undefined) throw new Error('the engine has ended');
    const answer = JSON.parse(value as string) as { rows?: Row[]; error?: string };
    if (answer.rows === undefined) throw new Error(answer.error);
    return answer.rows;
  }
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    await new Promise((resolve) => this.#child.once('exit', resolve).kill('SIGKILL'));
  }
}

export async function askOnce(
  directory: string,
  config: string | null,
  environment: Readonly<Record<string, string>>,
  statements: readonly string[],
): Promise<unknown[][][]> {
  const engine = new ConfiguredEngine(directory, config, environment);
  try {
    const answers: unknown[][][] = [];
    for (const statement of statements) answers.push(await engine.ask(statement));
    return answers;
  } finally {
    await engine.stop();
  }
}
