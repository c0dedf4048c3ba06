import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createLogger, type Started } from '@millrace/core';
import { type EmbeddedPostgres, embeddedPostgres } from '@millrace/registry';
import pg from 'pg';
import { Millrace, Rest } from '../millrace.ts';

export const ADMIN = { email: 'admin@example.org', password: 'correct horse battery' };
const SECRET = '5a'.repeat(32);

/** A PostgreSQL of its own process that can be stopped and started again, at the same address. */
export class OwnPostgres {
  readonly directory = mkdtempSync(join(tmpdir(), 'millrace-postgres-'));
  #started: Started<EmbeddedPostgres> | undefined;

  constructor() {
    // mkdtemp makes 0700, which PostgreSQL's own user could not pass.
    chmodSync(this.directory, 0o755);
  }

  /** @returns its URL */
  async start(): Promise<string> {
    const logger = createLogger({ level: 'silent' });
    this.#started = await embeddedPostgres({ directory: join(this.directory, 'postgres'), logger }).start();
    return this.#started.value.url;
  }

  async stop(): Promise<void> {
    await this.#started?.stop();
    this.#started = undefined;
  }

  /** What a query gives as `count`. */
  async counts(sql: string): Promise<number[]> {
    const client = new pg.Client({ connectionString: this.#started?.value.url ?? '' });
    await client.connect();
    try {
      const { rows } = await client.query<{ count: string }>(sql);
      return rows.map(({ count }) => Number(count));
    } finally {
      await client.end();
    }
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Sends a signal to the server and all that it has started. */
  signal(signal: NodeJS.Signals): void {
    const [pid] = readFileSync(join(this.cluster, 'postmaster.pid'), 'utf8').split('\n').map(Number);
    if (pid === undefined) throw new Error('there is no server');
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
    for (const each of [pid, ...children]) {
      try {
        process.kill(each, signal);
      } catch {
        // A connection that has ended meanwhile.
      }
    }
  }

  /** Where it keeps its data: as root, it is another user's. */
  get cluster(): string {
    const postgres = join(this.directory, 'postgres');
    const location = join(postgres, 'location');
    return join(existsSync(location) ? readFileSync(location, 'utf8').trim() : postgres, 'cluster');
  }

  async dispose(): Promise<void> {
    const place = dirname(this.cluster);
    await this.stop();
    // What it had started may still be writing its last.
    const gone = { recursive: true, force: true, maxRetries: 20, retryDelay: 100 };
    rmSync(place, gone);
    rmSync(this.directory, gone);
  }
}

/** Two built nodes on one database with one secret; each has a log of its own. */
export class TwoNodes {
  readonly postgres = new OwnPostgres();
  readonly #settings: Readonly<Record<string, string>>;
  #nodes: readonly [Millrace, Millrace] | undefined;

  constructor(settings: Readonly<Record<string, string>> = {}) {
    this.#settings = settings;
  }

  /** Both at once. */
  async start(): Promise<this> {
    const settings = {
      MILLRACE_POSTGRES_URL: await this.postgres.start(),
      MILLRACE_SECRET: SECRET,
      MILLRACE_ADMIN_EMAIL: ADMIN.email,
      MILLRACE_ADMIN_PASSWORD: ADMIN.password,
      ...this.#settings,
    };
    this.#nodes = [new Millrace(settings), new Millrace(settings)];
    await Promise.all(this.#nodes.map((node) => node.start()));
    return this;
  }

  get a(): Millrace {
    return this.#both[0];
  }
  get b(): Millrace {
    return this.#both[1];
  }
  get #both(): readonly [Millrace, Millrace] {
    if (this.#nodes === undefined) throw new Error('they are not started');
    return this.#nodes;
  }

  /** Rows of the registry's database. @param from what stands behind FROM */
  async counted(from: string): Promise<number> {
    return (await this.postgres.counts(`SELECT count(*) AS count FROM ${from}`))[0] ?? 0;
  }

  async dispose(): Promise<void> {
    await Promise.allSettled((this.#nodes ?? []).map((node) => node.dispose()));
    await this.postgres.dispose();
  }
}

/** Logs in at a node. */
export async function logIn(node: Millrace, who: { readonly email: string; readonly password: string }): Promise<Rest> {
  const { token } = await new Rest(node.url, '').json<{ token: string }>('POST', '/tokens', who);
  return new Rest(node.url, `Bearer ${token}`);
}
