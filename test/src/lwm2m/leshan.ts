import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { missingProgram, Program } from '../bridge/clients/program.ts';
import { eventually } from '../millrace.ts';

const SOURCES = new URL('../../lwm2m-client/', import.meta.url).pathname;
const FILES = ['pom.xml', 'TestClient.java'];

/** Eclipse Leshan comes from Maven Central; the program around it is compiled here. */
export const missingLeshan: string | null =
  missingProgram('java', '-version') ?? missingProgram('javac', '-version') ?? missingProgram('mvn', '-v');

/** The jars and the compiled program, once a machine.  @returns its class path */
export async function leshanClassPath(): Promise<string> {
  const hash = createHash('sha256');
  for (const file of FILES) hash.update(readFileSync(join(SOURCES, file)));
  const cache = process.env.MILLRACE_TEST_CACHE ?? join(homedir(), '.cache', 'millrace-test');
  const home = join(cache, `leshan-${hash.digest('hex').slice(0, 16)}`);
  if (!existsSync(home)) {
    mkdirSync(cache, { recursive: true });
    const work = mkdtempSync(join(cache, 'compiling-'));
    for (const file of FILES) cpSync(join(SOURCES, file), join(work, file));
    const run = promisify(execFile);
    await run('mvn', ['-q', '-B', '-DoutputDirectory=lib', 'dependency:copy-dependencies'], { cwd: work });
    await run('javac', ['-cp', join(work, 'lib', '*'), '-d', join(work, 'classes'), join(work, 'TestClient.java')]);
    if (existsSync(home)) rmSync(work, { recursive: true });
    else renameSync(work, home);
  }
  return `${join(home, 'classes')}:${join(home, 'lib', '*')}`;
}

const PATIENCE_MS = 60_000;

/** A client on Eclipse Leshan. */
export class LeshanClient {
  readonly lines: string[] = [];
  ended: string | null = null;
  readonly #program: Program;

  constructor(classPath: string, words: readonly string[]) {
    this.#program = new Program(
      [
        'java',
        '-Xmx128m',
        '-XX:TieredStopAtLevel=1',
        '-Dorg.slf4j.simpleLogger.defaultLogLevel=error',
        '-cp',
        classPath,
        'TestClient',
        ...words,
      ],
      (line) => this.lines.push(line),
      (how) => {
        this.ended = how;
      },
    );
  }

  tell(line: string): void {
    this.#program.write(line);
  }

  /** Waits until it has said something that begins so, for the n-th time.  @returns the whole line */
  async said(start: string, times = 1): Promise<string> {
    try {
      return await eventually(`the client to say ${start}`, PATIENCE_MS, async () => {
        const found = this.lines.filter((line) => line.startsWith(start))[times - 1];
        return found ?? (this.ended === null ? false : `ended: ${this.ended}`);
      });
    } catch (error) {
      throw new Error(`${String(error)}; it said ${this.lines.join(' | ')}`);
    }
  }

  async end(): Promise<void> {
    await this.#program.end('SIGKILL');
  }
}
