import { type Command, type CommandKind, type CommandState, type Commands, isUuid } from '@millrace/core';
import type { ChangeSession } from '../changes.ts';
import { RegistryError } from '../error.ts';
import { type Listed, type ListQuery, listRows } from '../inventory/page.ts';
import type { Parts, Topic } from '../parts.ts';
import { COMMAND_COLUMNS, CommandQueue, type CommandRecord, type CommandRow, FREE, isFullSweep } from './queue.ts';
import { Waiting } from './waiting.ts';

export interface CommandListQuery extends ListQuery {
  readonly thing: string;
  readonly kind?: CommandKind | undefined;
  readonly states?: readonly CommandState[] | undefined;
}
/** What people want of devices, and what became of it. */
export interface CommandStore extends Commands, Topic {
  /** The same as `put`, of somebody who asks for it: it stands in the audit.  @throws as `put`; REGISTRY_CONFLICT */
  submit(command: Command): Promise<CommandRecord>;
  get(id: string): Promise<CommandRecord | null>;
  list(query: CommandListQuery): Promise<Listed<CommandRecord>>;
  /** Ends one that nobody has taken.  @returns null if it is gone; false if it is too late */
  cancel(id: string): Promise<boolean | null>;
  /** Resolves when it has ended, or is gone, at the latest after `ms`. */
  ended(command: Pick<Command, 'id' | 'org'>, ms: number, signal?: AbortSignal): Promise<void>;
  /** This node is going down: nobody waits any more, and who asks from now on does not. */
  answerNow(): void;
}

const SWEEP_MS = 5_000;
const CANCEL = `UPDATE registry.commands SET state = 'cancelled', settled_at = now(), lease_until = NULL
  WHERE id = $1 AND ${FREE} RETURNING org, thing, kind`;

export function createCommands({ database, feed, credentials, config, metrics, logger }: Parts): CommandStore {
  const queue = new CommandQueue(database, credentials, {
    waitingMax: config.MILLRACE_COMMANDS_PER_THING_MAX,
    keptMax: config.MILLRACE_COMMANDS_KEPT_PER_THING_MAX,
  });
  const waiting = new Waiting(database, logger);
  const counted = metrics.counter('millrace_commands_total', 'Commands to devices, by kind and what became of them.', [
    'kind',
    'state',
  ]);
  metrics.gauge('millrace_commands_waiting', 'Requests that wait for the end of a command.', [], (gauge) =>
    gauge.set(waiting.count),
  );
  let timer: NodeJS.Timeout | undefined;
  let sweeping: Promise<void> = Promise.resolve();
  let stopped = false;

  async function insert(tx: ChangeSession, command: Command): Promise<CommandRecord | null> {
    const record = await queue.insert(tx, command);
    if (record !== null) counted.inc({ kind: record.kind, state: 'queued' });
    return record;
  }

  async function sweep(): Promise<void> {
    try {
      for (let more = true; more && !stopped; ) {
        const expired = await queue.expire();
        for (const { id, kind } of expired) {
          counted.inc({ kind, state: 'expired' });
          waiting.tell(id);
        }
        const forgotten = await queue.forget(config.MILLRACE_COMMANDS_RETENTION_DAYS);
        more = isFullSweep(expired.length) || isFullSweep(forgotten);
      }
    } catch (error) {
      logger.warn({ err: error }, 'can not end what has expired; tries again');
    }
  }
  const schedule = (): void => {
    if (stopped) return;
    timer = setTimeout(() => {
      sweeping = sweep().finally(schedule);
    }, SWEEP_MS);
    timer.unref();
  };

  return {
    put: async (command) => (await feed.transaction((tx) => insert(tx, command))) !== null,
    take: (thing, kinds, leaseMs, max) => queue.take(thing, kinds, leaseMs, max),
    takeAny: (kinds, leaseMs, max, share) => queue.takeAny(kinds, leaseMs, max, share),

    async settle(id, outcome, thing) {
      const settled = await queue.settle(id, outcome, thing ?? null);
      if (settled === null) return false;
      counted.inc(settled);
      waiting.tell(id);
      return true;
    },

    onQueued: (listener) =>
      feed.onChange(({ entity, id }) => {
        if (entity === 'command') listener(id);
      }),

    submit: (command) =>
      feed.transaction(async (tx) => {
        const record = await insert(tx, command);
        if (record === null) throw new RegistryError('REGISTRY_CONFLICT', 'never', { field: 'id' });
        const { id, org, thing, kind } = record;
        // Never what is written: it may be a secret.
        const { path } = record.arguments;
        const detail = { thing, kind, ...(path === undefined ? {} : { path }) };
        tx.audit({ action: 'commands.create', entity: 'commands', id, org, detail });
        return record;
      }),

    async get(id) {
      if (!isUuid(id)) return null;
      const sql = `SELECT ${COMMAND_COLUMNS} FROM registry.commands WHERE id = $1`;
      const [row] = await database.query<CommandRow>(sql, [id]);
      return row === undefined ? null : queue.opened(row);
    },

    async list(query) {
      const { items, ...page } = await listRows<CommandRow>(
        database,
        'registry.commands',
        COMMAND_COLUMNS,
        query,
        (clauses) => {
          clauses.add('thing = ?', query.thing);
          if (query.kind !== undefined) clauses.add('kind = ?', query.kind);
          if (query.states !== undefined) clauses.add('state = ANY (?::text[])', query.states);
        },
      );
      return { ...page, items: items.map((row) => queue.opened(row)) };
    },

    async cancel(id) {
      const cancelled = await feed.transaction(async (tx) => {
        const [row] = await tx.query<{ org: string; thing: string; kind: string }>(CANCEL, [id]);
        if (row === undefined)
          return (await tx.query('SELECT 1 FROM registry.commands WHERE id = $1', [id])).length > 0 ? false : null;
        const { org, thing, kind } = row;
        tx.audit({ action: 'commands.cancel', entity: 'commands', id, org, detail: { thing, kind } });
        return row;
      });
      if (cancelled === null || cancelled === false) return cancelled;
      counted.inc({ kind: cancelled.kind, state: 'cancelled' });
      waiting.tell(id);
      return true;
    },

    ended: (command, ms, signal) => waiting.ended(command, ms, signal),
    answerNow: () => waiting.stop(),

    async start() {
      schedule();
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      waiting.stop();
      await sweeping;
    },
  };
}

export { commandRoutes } from './command-routes.ts';
