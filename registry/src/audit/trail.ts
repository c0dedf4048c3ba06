import { type AuditTrail, type Denial, type Logger, type Metrics, protocolNames, uuidV7 } from '@millrace/core';
import type { Session } from '../database/database.ts';
import type { Topic } from '../parts.ts';
import { type Actor, currentActor } from './actor.ts';
import type { Audited } from './audit.ts';
import { withoutSecrets } from './changed-fields.ts';
import { countEntries, type EntryCursor, type EntryFilter, type EntryPage, readEntries } from './entries.ts';
import { Retention } from './retention.ts';

export interface Audit extends AuditTrail {
  /** Of something that no transaction wrote down and no route refused, as a wrong password. Written soon; never waits,
   *  never throws. */
  note(audited: Audited & { readonly outcome: 'done' | 'denied' }, actor?: Actor): void;
  /** Writes what was gathered on this node, as far as the database lets it. */
  flush(): Promise<void>;
  /** Deletes what is older than it is kept. */
  trim(): Promise<void>;
  /** The newest first. */
  entries(
    filter: EntryFilter,
    page: { offset?: number; limit: number; after?: EntryCursor | null },
  ): Promise<EntryPage>;
  /** At most one more than COUNTED_MAX. */
  count(filter: EntryFilter): Promise<number>;
}
export interface AuditOptions {
  readonly session: Session;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly retentionDays: number;
  /** How often what was gathered is written: denials of one kind in between become one line. */
  readonly flushMs?: number;
  /** How often is looked for what is too old. */
  readonly trimMs?: number;
  readonly now: () => number;
}

const FLUSH_MS = 5_000;
const TRIM_MS = 600_000;
/** Lines that wait to be written; beyond it they are counted only. */
const WAITING_MAX = 10_000;
const ROWS_MAX = 1_000;
const TEXT_CHARACTERS_MAX = 1_024;
const COUNT_MAX = 2_000_000_000;

interface Line {
  readonly id: string;
  readonly atMs: number;
  readonly org: string | null;
  readonly action: string;
  readonly entity: string;
  readonly entity_id: string;
  readonly outcome: 'done' | 'denied';
  readonly actor_kind: string;
  readonly actor: string | null;
  readonly actor_name: string | null;
  readonly via: string | null;
  readonly address: string | null;
  readonly protocol: string | null;
  count: number;
  readonly detail: Record<string, unknown>;
}

const INSERT = `INSERT INTO registry.audit
    (id, at, org, action, entity, entity_id, outcome, actor_kind, actor, actor_name, via, address, protocol, count, detail)
  SELECT id, to_timestamp("atMs" / 1000), org, action, entity, entity_id, outcome, actor_kind, actor, actor_name, via, address,
    protocol, count, detail
  FROM jsonb_to_recordset($1) AS line (id uuid, "atMs" float8, org uuid, action text, entity text, entity_id text, outcome text,
    actor_kind text, actor text, actor_name text, via text, address text, protocol text, count integer, detail jsonb)
  ON CONFLICT (id) DO NOTHING`;

/** The part of the audit that no transaction writes: refusals, and notes of what changed nothing.
 *  Denials of one kind (who, what, where, why, how) within a flush become one line with their number, so a device that
 *  knocks a thousand times a second costs one row each five seconds. What can't be written waits, within a bound. */
export function createAudit(options: AuditOptions): Audit & Topic {
  return new Trail(options);
}

class Trail implements Audit, Topic {
  readonly #options: AuditOptions;
  readonly #retention: Retention;
  readonly #dropped;
  #lines = new Map<string, Line>();
  #noted = 0;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #trimmedMs = 0;
  #stopped = false;

  constructor(options: AuditOptions) {
    const { metrics } = options;
    this.#options = options;
    this.#retention = new Retention(options);
    this.#dropped = metrics.counter('millrace_audit_dropped_total', 'Lines of the audit that were not kept.', [
      'reason',
    ]);
  }

  async start(): Promise<void> {
    this.#options.metrics.gauge(
      'millrace_audit_waiting_lines',
      'Lines of the audit that wait to be written.',
      [],
      (gauge) => gauge.set(this.#lines.size),
    );
    this.#schedule();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#writing;
    await this.flush();
  }

  entries(...[filter, page]: Parameters<Audit['entries']>): Promise<EntryPage> {
    return readEntries(this.#options.session, filter, page);
  }

  count(filter: EntryFilter): Promise<number> {
    return countEntries(this.#options.session, filter);
  }

  denied({ principal, org, object, action, reason, context }: Denial): void {
    const { subject, scope } = principal;
    const protocol = protocolNames[context.protocol] ?? 'unknown';
    const key = `${subject.id}\n${org ?? ''}\n${action}\n${reason}\n${protocol}\n${object}`;
    const known = this.#lines.get(key);
    if (known !== undefined) {
      if (known.count < COUNT_MAX) known.count++;
      return;
    }
    const [entity = '', id = ''] = object.split('/', 2);
    this.#add(key, {
      id: uuidV7(),
      atMs: this.#options.now(),
      org,
      action: kept(action),
      entity: kept(entity),
      entity_id: kept(id),
      outcome: 'denied',
      actor_kind: subject.kind,
      actor: subject.id,
      actor_name: subject.kind === 'user' ? subject.email : null,
      via: scope?.id ?? null,
      address: kept(context.remoteAddress),
      protocol,
      count: 1,
      detail: { reason, object: kept(object) },
    });
  }

  note({ action, entity, id, org, outcome, detail = {} }: Parameters<Audit['note']>[0], actor = currentActor()): void {
    this.#add(`note ${this.#noted++}`, {
      id: uuidV7(),
      atMs: this.#options.now(),
      org,
      action: kept(action),
      entity: kept(entity),
      entity_id: kept(id),
      outcome,
      actor_kind: actor.kind,
      actor: actor.id,
      actor_name: actor.name === null ? null : kept(actor.name),
      via: actor.via,
      address: actor.address === null ? null : kept(actor.address),
      protocol: actor.protocol,
      count: 1,
      detail: keptDetail(detail),
    });
  }

  /** Writes what was gathered. One at a time; what can't be written stays for the next. */
  flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  #add(key: string, line: Line): void {
    if (this.#lines.size >= WAITING_MAX) this.#dropped.inc({ reason: 'full' });
    else this.#lines.set(key, line);
  }

  async #write(): Promise<void> {
    const { session, logger } = this.#options;
    const lines = this.#lines;
    if (lines.size === 0) return;
    this.#lines = new Map();
    const all = [...lines];
    for (let from = 0; from < all.length; from += ROWS_MAX) {
      const batch = all.slice(from, from + ROWS_MAX);
      try {
        await session.query(INSERT, [JSON.stringify(batch.map(([, line]) => line))]);
      } catch (error) {
        logger.warn({ err: error, lines: all.length - from }, 'can not write the audit; tries again');
        if (isLater(error)) return this.#keep(all.slice(from));
        this.#dropped.inc({ reason: 'refused' }, batch.length);
      }
    }
  }

  /** What was not written comes before what was gathered meanwhile. */
  #keep(unwritten: readonly (readonly [string, Line])[]): void {
    const since = this.#lines;
    this.#lines = new Map(unwritten);
    for (const [key, line] of since) {
      const known = this.#lines.get(key);
      if (known === undefined) this.#add(key, line);
      else known.count = Math.min(COUNT_MAX, known.count + line.count);
    }
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      void this.flush()
        .then(() => this.#trimInTime())
        .finally(() => this.#schedule());
    }, this.#options.flushMs ?? FLUSH_MS);
    this.#timer.unref();
  }

  trim(): Promise<void> {
    return this.#retention.trim(() => this.#stopped);
  }

  async #trimInTime(): Promise<void> {
    const now = performance.now();
    if (this.#stopped || now - this.#trimmedMs < (this.#options.trimMs ?? TRIM_MS)) return;
    this.#trimmedMs = now;
    await this.trim().catch((error) =>
      this.#options.logger.warn({ err: error }, 'can not trim the audit; tries again'),
    );
  }
}

const isLater = (error: unknown): boolean => error instanceof Error && 'retry' in error && error.retry === 'later';

/** As PostgreSQL can keep it: well-formed, without U+0000, bounded. */
const kept = (text: string): string => wellFormed(text.slice(0, TEXT_CHARACTERS_MAX)).replaceAll('\0', '\u{fffd}');

const wellFormed = (text: string): string => Buffer.from(text, 'utf8').toString('utf8');

function keptDetail(detail: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const text = JSON.stringify(withoutSecrets(detail), (_, value) => (typeof value === 'string' ? kept(value) : value));
  return JSON.parse(text) as Record<string, unknown>;
}
