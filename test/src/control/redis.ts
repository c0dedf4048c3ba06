import { spawnSync } from 'node:child_process';
import { Program } from '../bridge/clients/program.ts';
import { eventually, freePort } from '../millrace.ts';

/** A Redis of a test's own, that forgets everything when it ends. */
export class OwnRedis {
  readonly password = 'a-password-of-redis';
  readonly port: number;
  /** As it is now. */
  #password: string = this.password;
  #program: Program | null = null;

  private constructor(port: number) {
    this.port = port;
  }

  /** Whether there is a program to start.  @throws when there must be one */
  static isMissing(): boolean {
    if (spawnSync('redis-server', ['--version']).error === undefined) return false;
    if (process.env.MILLRACE_TEST_NO_SKIP === '1') throw new Error('redis-server is missing: .ci/run gets it');
    return true;
  }

  static async start(): Promise<OwnRedis> {
    const redis = new OwnRedis(await freePort());
    await redis.again();
    return redis;
  }

  get url(): string {
    return `redis://:${this.password}@127.0.0.1:${this.port}/0`;
  }

  /** On the same port. */
  async again(): Promise<void> {
    this.#password = this.password;
    const settings = { port: this.port, bind: '127.0.0.1', save: '', appendonly: 'no', requirepass: this.password };
    const words = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
    let output = '';
    this.#program = new Program(['redis-server', ...words], (line) => {
      output += `${line}\n`;
    });
    await eventually('redis-server is ready', 30_000, async () => output.includes('Ready to accept connections'));
  }

  /** Of who connects from now on. */
  changePassword(to: string): void {
    const words = ['-p', String(this.port), 'config', 'set', 'requirepass', to];
    const environment = { ...process.env, REDISCLI_AUTH: this.#password };
    const { status, stdout } = spawnSync('redis-cli', words, { env: environment, encoding: 'utf8' });
    if (status !== 0 || !stdout.includes('OK')) throw new Error(`redis-cli: ${stdout}`);
    this.#password = to;
  }

  async end(): Promise<void> {
    await this.#program?.end('SIGKILL');
    this.#program = null;
  }
}
