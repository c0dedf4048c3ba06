import type { DirectoryChange, DirectoryEntity, Logger, Metrics } from '@millrace/core';
import { type Audited, writeAudit } from './audit/audit.ts';
import type { Database, Session } from './database/database.ts';
import { LOCKS } from './database/migrate.ts';

export type Change = Omit<DirectoryChange, 'version'>;
/** A transaction whose changes are told to all nodes when it commits. */
export interface ChangeSession extends Session {
  changed(entity: DirectoryEntity, id: string, org: string | null, voids: readonly string[]): void;
  /** Writes the change down in the audit, with who asked for it, when it commits. */
  audit(audited: Audited): void;
}
export interface ChangeFeedOptions {
  readonly database: Database;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly pollMs: number;
}

/** How long a change is kept for nodes that cannot reach the database. */
const KEPT_MS = 3_600_000;
const TRIM_MS = 600_000;
const BATCH_ROWS_MAX = 5_000;
const POLLS_A_CHECK = 20;

interface ChangeRow {
  readonly version: string;
  readonly entity: DirectoryEntity;
  readonly id: string;
  readonly org: string | null;
  readonly voids: string[];
}

/** The transactional outbox and its follower.
 *
 *  A change's version is drawn under a lock that is held until the commit, so versions become visible in their order:
 *  who has seen version n will never see a lower one appear. The lock is taken last, so it costs one statement and the
 *  commit: control-plane changes of the whole cluster are serialised there, those of one bulk request together.
 *  @holds listeners are called in order of version; a local change is applied before `transaction` resolves */
export class ChangeFeed {
  readonly #database: Database;
  readonly #logger: Logger;
  readonly #pollMs: number;
  readonly #listeners = new Set<(change: DirectoryChange) => void>();
  readonly #faults;
  #applied = 0;
  #catchingUp: Promise<void> | null = null;
  #asked: Promise<void> | null = null;
  #polledAt = 0;
  #trimmedAt = 0;
  #polls = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor({ database, logger, metrics, pollMs }: ChangeFeedOptions) {
    this.#database = database;
    this.#logger = logger;
    this.#pollMs = pollMs;
    this.#faults = metrics.counter('millrace_registry_listener_faults_total', 'Listeners of changes that threw.');
  }

  get version(): number {
    return this.#applied;
  }

  /** Since this node last heard of changes. */
  get silentMs(): number {
    return performance.now() - this.#polledAt;
  }

  onChange(listener: (change: DirectoryChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async start(): Promise<void> {
    const rows = await this.#database.query<{ version: string }>(
      'SELECT coalesce(max(version), 0) AS version FROM registry.changes',
    );
    this.#applied = Number(rows[0]?.version ?? 0);
    this.#polledAt = performance.now();
    this.#trimmedAt = performance.now();
    this.#schedule();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#catchingUp?.catch(() => undefined);
  }

  /** Applies what any node had committed before this was called; many who call at once share one question. What can't be
   *  asked now is applied by the poller.  @throws never */
  current(): Promise<void> {
    this.#asked ??= this.#askNext();
    return this.#asked;
  }

  /** Runs a transaction, writes its changes and its audit with it, and applies the changes here before it resolves. */
  async transaction<T>(work: (session: ChangeSession) => Promise<T>): Promise<T> {
    const changes: Change[] = [];
    const audited: Audited[] = [];
    let last = 0;
    const result = await this.#database.transaction(async (session) => {
      const value = await work({
        query: session.query,
        changed: (entity, id, org, voids) => changes.push({ entity, id, org, voids }),
        audit: (one) => audited.push(one),
      });
      if (audited.length > 0) await writeAudit(session, audited);
      if (changes.length > 0) last = await write(session, changes);
      return value;
    });
    const first = last - changes.length + 1;
    if (changes.length > 0 && first === this.#applied + 1) {
      // Nothing lies between what was applied and our own.
      for (const [index, change] of changes.entries()) this.#apply({ ...change, version: first + index });
    } else if (last > this.#applied) {
      try {
        await this.#catchUp(last);
      } catch {
        // Committed, but the database went away since: what we know must not stay memoised. Told again by the poller.
        for (const change of changes) this.#tell({ ...change, version: this.#applied });
      }
    }
    return result;
  }

  /** What is under way may have been asked too early. */
  async #askNext(): Promise<void> {
    // Those of this turn of the loop share the question, too.
    await null;
    while (this.#catchingUp !== null) await this.#catchingUp.catch(() => undefined);
    const asking = this.#catchUp(null);
    this.#asked = null;
    await asking.catch(() => undefined);
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#poll(), this.#pollMs);
  }

  async #poll(): Promise<void> {
    try {
      if (++this.#polls % POLLS_A_CHECK === 0) await this.#noticeRestore();
      await this.#catchUp(null);
      const { silentMs } = this;
      this.#polledAt = performance.now();
      if (silentMs > KEPT_MS / 2)
        this.#tell({ version: this.#applied, entity: 'policy', id: '*', org: null, voids: ['*'] });
      if (performance.now() - this.#trimmedAt > TRIM_MS) {
        this.#trimmedAt = performance.now();
        await this.trim(KEPT_MS);
      }
    } catch (error) {
      this.#logger.warn({ err: error }, 'can not ask the registry for changes; tries again');
    } finally {
      this.#schedule();
    }
  }

  /** A database that was restored from a backup counts from an older version: nothing memoised may stay. */
  async #noticeRestore(): Promise<void> {
    const before = this.#applied;
    const [row] = await this.#database.query<{ last: string }>(
      'SELECT coalesce(max(version), 0) AS last FROM registry.changes',
    );
    const last = Number(row?.last ?? 0);
    if (last >= before) return;
    this.#logger.warn({ before, last }, 'the registry has been restored to an older state; all answers are made anew');
    this.#applied = last;
    this.#tell({ version: last, entity: 'policy', id: '*', org: null, voids: ['*'] });
  }

  /** Forgets old changes, but the newest: it carries the version. */
  async trim(keptMs: number): Promise<void> {
    await this.#database.query(
      `DELETE FROM registry.changes WHERE at < now() - $1 * interval '1 ms' AND version < (SELECT max(version) FROM registry.changes)`,
      [keptMs],
    );
  }

  /** Applies what is committed, in order. One at a time; `until` must be applied when it resolves. */
  async #catchUp(until: number | null): Promise<void> {
    while (this.#catchingUp !== null) {
      await this.#catchingUp.catch(() => undefined);
      if (until !== null && until <= this.#applied) return;
    }
    this.#catchingUp = this.#readOn();
    try {
      await this.#catchingUp;
    } finally {
      this.#catchingUp = null;
    }
  }

  async #readOn(): Promise<void> {
    for (let more = true; more; ) {
      const rows = await this.#database.query<ChangeRow>(
        'SELECT version, entity, id, org, voids FROM registry.changes WHERE version > $1 ORDER BY version LIMIT $2',
        [this.#applied, BATCH_ROWS_MAX],
      );
      for (const row of rows) this.#apply({ ...row, version: Number(row.version) });
      more = rows.length === BATCH_ROWS_MAX;
    }
  }

  /** @holds what was applied while we read is not applied again */
  #apply(change: DirectoryChange): void {
    if (change.version <= this.#applied) return;
    this.#applied = change.version;
    this.#tell(change);
  }

  #tell(change: DirectoryChange): void {
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        this.#faults.inc();
        this.#logger.error({ err: error, version: change.version }, 'a listener of changes threw');
      }
    }
  }
}

/** Takes the lock and draws the versions in one statement: a row can't be made before the lock's row is there.
 *  @returns the last version; they are consecutive and in the order of the changes */
async function write(session: Session, changes: readonly Change[]): Promise<number> {
  const rows = await session.query<{ last: string }>(
    `WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock($2) AS held),
     ordered AS (
       SELECT change.* FROM locked, jsonb_to_recordset($1) AS change (at integer, entity text, id text, org uuid, voids jsonb)
       WHERE locked.held IS NOT NULL ORDER BY at),
     written AS (
       INSERT INTO registry.changes (entity, id, org, voids)
       SELECT entity, id, org, ARRAY(SELECT jsonb_array_elements_text(voids)) FROM ordered
       RETURNING version)
     SELECT max(version) AS last FROM written`,
    [JSON.stringify(changes.map((change, index) => ({ at: index, ...change }))), LOCKS.changes],
  );
  return Number(rows[0]?.last ?? 0);
}
