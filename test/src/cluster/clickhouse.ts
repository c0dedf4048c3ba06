import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { steadyPort } from '@millrace/log/testing';
import { type ClickHouseShell, startClickHouseShell } from '@millrace/storage/testing';

const ASK_MS_MAX = 60_000;

/** ClickHouse behind HTTP, at one address through kills. */
export class ClickHouseServer {
  readonly directory = mkdtempSync(join(tmpdir(), 'millrace-clickhouse-'));
  #port = 0;
  #shell: ClickHouseShell | undefined;

  get port(): number {
    return this.#port;
  }

  async start(): Promise<void> {
    if (this.#port === 0) this.#port = await steadyPort();
    this.#shell = await startClickHouseShell(this.directory, this.#port);
  }

  async kill(): Promise<void> {
    await this.#shell?.stop('SIGKILL');
    this.#shell = undefined;
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    if (this.#shell !== undefined) process.kill(this.#shell.pid, signal);
  }

  /** Rows of a question, past any relay.  @param parameters bound as `{name:Type}` */
  async rows<Row extends readonly unknown[]>(
    question: string,
    parameters: Readonly<Record<string, string>> = {},
  ): Promise<Row[]> {
    const url = new URL(`http://127.0.0.1:${this.#port}/?database=millrace`);
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(`param_${name}`, value);
    const response = await fetch(url, {
      method: 'POST',
      body: `${question} FORMAT JSONCompactEachRow`,
      signal: AbortSignal.timeout(ASK_MS_MAX),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(text);
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Row);
  }

  async dispose(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}
