import {
  type Command,
  type CommandKind,
  type CommandOutcome,
  type CommandShare,
  type CommandState,
  type Credentials,
  FINAL_COMMAND_STATES,
  isUuid,
} from '@millrace/core';
import { currentActor } from '../audit/actor.ts';
import type { ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';

/** A command with what has become of it so far. */
export interface CommandRecord extends Command {
  readonly state: CommandState;
  readonly result: unknown;
  readonly detail: string | null;
  readonly actor: CommandActor;
  readonly attempts: number;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly settledAt: Date | null;
}
/** Who gave it. */
export interface CommandActor {
  readonly kind: 'user' | 'thing' | 'system' | 'nobody';
  readonly id: string | null;
  readonly name: string | null;
}
/** As it stands in the table. */
export interface CommandRow extends Omit<CommandRecord, 'arguments' | 'result' | 'expiresMs'> {
  readonly sealedArguments: string;
  readonly sealedResult: string | null;
}

/** Of one thing. */
export interface CommandLimits {
  readonly waitingMax: number;
  /** That have ended. */
  readonly keptMax: number;
}

export const ARGUMENTS_BYTES_MAX = 64 * 1024;
const RESULT_BYTES_MAX = 64 * 1024;
const DETAIL_CHARACTERS_MAX = 1_024;
const TAKEN_MAX = 64;
/** The year 9999: what lies beyond no clock can be set to. */
const EXPIRES_MS_MAX = 253_402_300_799_000;
/** What was begun in time may end so much later. */
const GRACE = `interval '5 minutes'`;
const SWEPT_MAX = 1_000;

/** @holds over registry.commands under its own name */
export const COMMAND_COLUMNS = `commands.id, commands.org, commands.thing, commands.kind, commands.state,
  commands.arguments AS "sealedArguments", commands.result AS "sealedResult", commands.detail, commands.actor,
  commands.attempts, commands.created_at AS "createdAt", commands.expires_at AS "expiresAt",
  commands.settled_at AS "settledAt"`;

/** Nobody has it: it was never taken, or who took it has said nothing in time. */
export const FREE = `(state = 'queued' OR (state = 'sent' AND lease_until <= now()))`;
/** What the indexes of what waits are of. @holds whatever is free waits */
const WAITS = `(state = 'queued' OR lease_until IS NOT NULL)`;
const OPEN = `state NOT IN ('done', 'failed', 'expired', 'cancelled')`;
/** A thing that is let in, as the gate sees it. */
const LET_IN = `things.enabled AND NOT orgs.frozen
  AND coalesce((SELECT place.active FROM registry.groups AS place WHERE place.id = things.group_id), true)`;

/** Ids of what can be taken, the oldest first.  @holds nodes that take at once take different ones */
const dueSql = (which: string, limit: string): string => `SELECT commands.id FROM registry.commands
    JOIN registry.things ON things.id = commands.thing JOIN registry.orgs ON orgs.id = commands.org
    WHERE ${which} AND ${WAITS} AND ${FREE} AND commands.expires_at > now() AND ${LET_IN}
    ORDER BY commands.created_at, commands.id LIMIT ${limit} FOR UPDATE OF commands SKIP LOCKED`;
/** @shape $2 lease in ms */
const TAKEN = `UPDATE registry.commands SET state = 'sent', attempts = attempts + 1, lease_until = now() + $2 * interval '1 ms'
  FROM due WHERE commands.id = due.id RETURNING ${COMMAND_COLUMNS}`;
/** @shape $1 kinds, $3 how many, $4 the thing */
const TAKE = `WITH due AS (${dueSql('commands.thing = $4 AND commands.kind = ANY ($1::text[])', '$3')}) ${TAKEN}`;
/** From one organisation that has something to the next by the index, however much each has; then some of each, in an
 *  order of chance, so that none is always the last.  @shape $1 kinds, $3 how many, $4 of one organisation, $5 not of these */
const TAKE_ANY = `WITH RECURSIVE owners AS (
    SELECT wanted.kind, (SELECT commands.org FROM registry.commands WHERE commands.kind = wanted.kind AND ${WAITS}
      ORDER BY commands.org, created_at, id LIMIT 1) AS org
    FROM unnest($1::text[]) AS wanted (kind)
    UNION ALL
    SELECT owners.kind, (SELECT commands.org FROM registry.commands
      WHERE commands.kind = owners.kind AND commands.org > owners.org AND ${WAITS}
      ORDER BY commands.org, created_at, id LIMIT 1)
    FROM owners WHERE owners.org IS NOT NULL),
  due AS (
    SELECT one.id
    FROM (SELECT kind, org FROM owners WHERE org IS NOT NULL AND org <> ALL ($5::uuid[]) ORDER BY random()) AS owner
    CROSS JOIN LATERAL (${dueSql('commands.org = owner.org AND commands.kind = owner.kind', '$4')}) AS one LIMIT $3)
  ${TAKEN}`;

const SETTLE = `UPDATE registry.commands SET
    state = CASE WHEN state = 'acknowledged' AND $2 = 'sent' THEN state ELSE $2 END,
    result = coalesce($3, result), detail = coalesce($4, detail), lease_until = NULL,
    settled_at = CASE WHEN $5 THEN now() END
  WHERE id = $1 AND ${OPEN} AND ($6::uuid IS NULL OR thing = $6) RETURNING kind, state`;

const EXPIRE = `UPDATE registry.commands SET state = 'expired', settled_at = now(), lease_until = NULL,
    detail = coalesce(detail, CASE WHEN attempts = 0 THEN 'Nobody could begin it in time.' ELSE 'It came to no end in time.' END)
  WHERE id IN (
    SELECT id FROM registry.commands WHERE settled_at IS NULL AND expires_at <= now()
      AND (${FREE} OR (lease_until IS NULL AND expires_at <= now() - ${GRACE}))
    LIMIT ${SWEPT_MAX} FOR UPDATE SKIP LOCKED) RETURNING id, kind`;
/** Those of one thing beyond its number; a few more than one at a time, should the number have been made smaller. */
const TRIM = `DELETE FROM registry.commands WHERE id IN (
    SELECT id FROM registry.commands WHERE thing = $1 AND settled_at IS NOT NULL
    ORDER BY created_at DESC, id DESC OFFSET $2 LIMIT 16)`;
const FORGET = `DELETE FROM registry.commands WHERE id IN (
    SELECT id FROM registry.commands WHERE settled_at < now() - $1 * interval '1 day'
    LIMIT ${SWEPT_MAX} FOR UPDATE SKIP LOCKED) RETURNING 1`;

/** A command at rest.
 *  @holds what it says to the device, and what that answers, is sealed for this command alone */
export class CommandQueue {
  readonly #session: Session;
  readonly #credentials: Credentials;
  readonly #limits: CommandLimits;

  constructor(session: Session, credentials: Credentials, limits: CommandLimits) {
    this.#session = session;
    this.#credentials = credentials;
    this.#limits = limits;
  }

  /** @returns null if there is one with this id  @throws as Commands.put */
  async insert(tx: ChangeSession, command: Command): Promise<CommandRecord | null> {
    const { id, org, thing, kind, expiresMs } = command;
    const plain = writtenArguments(command.arguments);
    const [there] = await tx.query('SELECT 1 FROM registry.commands WHERE id = $1', [id]);
    if (there !== undefined) return null;
    // Those who give one thing commands at once take turns: else each would find room for the last. What is sent and
    // only waits for its end takes no room: of some nobody ever hears again.
    const [found] = await tx.query(
      'SELECT 1 FROM registry.things WHERE id = $1 AND org = $2 FOR NO KEY UPDATE OF things',
      [thing, org],
    );
    if (found === undefined) throw new RegistryError('REGISTRY_NOT_FOUND', 'never', { thing });
    const [waiting] = await tx.query<{ count: number }>(
      `SELECT count(*)::integer AS count FROM registry.commands WHERE thing = $1 AND ${WAITS}
         AND CASE WHEN ${FREE} THEN expires_at > now() ELSE lease_until > now() END`,
      [thing],
    );
    const { waitingMax, keptMax } = this.#limits;
    if ((waiting?.count ?? 0) >= waitingMax)
      throw new RegistryError('REGISTRY_FULL', 'never', { commands: waitingMax });
    await tx.query(TRIM, [thing, keptMax]);
    const { kind: actorKind, id: actorId, name } = currentActor();
    const [row] = await tx.query<CommandRow>(
      `INSERT INTO registry.commands (id, org, thing, kind, arguments, actor, expires_at)
       VALUES ($1, $2, $3, $4, $5, $6, to_timestamp($7::float8 / 1000)) ON CONFLICT (id) DO NOTHING RETURNING ${COMMAND_COLUMNS}`,
      [
        id,
        org,
        thing,
        kind,
        this.#credentials.encrypt(plain, aboutArguments(id)),
        JSON.stringify({ kind: actorKind, id: actorId, name }),
        Math.min(expiresMs, EXPIRES_MS_MAX),
      ],
    );
    if (row === undefined) return null;
    tx.changed('command', thing, org, []);
    return this.opened(row);
  }

  async take(thing: string, kinds: readonly CommandKind[], leaseMs: number, max = TAKEN_MAX): Promise<Command[]> {
    if (!isUuid(thing)) return [];
    return this.#inOrder(await this.#session.query<CommandRow>(TAKE, [kinds, leaseMs, max, thing], 'command-take'));
  }

  async takeAny(
    kinds: readonly CommandKind[],
    leaseMs: number,
    max: number,
    { perOrgMax, except }: CommandShare = { perOrgMax: max, except: [] },
  ): Promise<Command[]> {
    const values = [kinds, leaseMs, max, perOrgMax, except];
    return this.#inOrder(await this.#session.query<CommandRow>(TAKE_ANY, values, 'command-take-any'));
  }

  /** @returns what it has become; null if it is gone or final already */
  async settle(
    id: string,
    { state, result, detail }: CommandOutcome,
    thing: string | null,
  ): Promise<Pick<CommandRow, 'kind' | 'state'> | null> {
    if (!isUuid(id)) return null;
    const text = result === undefined ? null : JSON.stringify(result);
    const tooLarge = text !== null && Buffer.byteLength(text) > RESULT_BYTES_MAX;
    const told = tooLarge ? (detail ?? 'The answer is larger than 64 KiB, and was thrown away.') : detail;
    const [row] = await this.#session.query<Pick<CommandRow, 'kind' | 'state'>>(SETTLE, [
      id,
      state,
      text === null || tooLarge ? null : this.#credentials.encrypt(text, aboutResult(id)),
      // PostgreSQL keeps no U+0000, and a device may say it.
      told?.replaceAll('\0', '\ufffd').slice(0, DETAIL_CHARACTERS_MAX) ?? null,
      FINAL_COMMAND_STATES.includes(state),
      thing,
    ]);
    return row ?? null;
  }

  /** Ends what nobody can begin or end any more.  @returns their ids; there may be more if there are many */
  expire = (): Promise<{ id: string; kind: string }[]> => this.#session.query(EXPIRE);

  /** @returns how many were forgotten; there may be more if that is SWEPT_MAX */
  forget = async (days: number): Promise<number> => (await this.#session.query(FORGET, [days])).length;

  /** @throws RegistryError REGISTRY_SECRET_MISMATCH */
  opened({ sealedArguments, sealedResult, ...row }: CommandRow): CommandRecord {
    const open = (sealed: string, about: string): unknown => {
      try {
        return JSON.parse(this.#credentials.decrypt(sealed, about));
      } catch {
        // No cause: it could tell of the plain text.
        throw new RegistryError('REGISTRY_SECRET_MISMATCH', 'never', { command: row.id });
      }
    };
    return {
      ...row,
      arguments: open(sealedArguments, aboutArguments(row.id)) as CommandRecord['arguments'],
      result: sealedResult === null ? null : open(sealedResult, aboutResult(row.id)),
      expiresMs: row.expiresAt.getTime(),
    };
  }

  #inOrder(rows: readonly CommandRow[]): Command[] {
    return rows
      .toSorted((one, other) => one.createdAt.getTime() - other.createdAt.getTime() || (one.id < other.id ? -1 : 1))
      .map((row) => {
        const { id, org, thing, kind, arguments: given, expiresMs } = this.opened(row);
        return { id, org, thing, kind, arguments: given, expiresMs };
      });
  }
}

/** @throws RegistryError REGISTRY_INVALID */
function writtenArguments(given: Command['arguments']): string {
  const invalid = (because: string) => new RegistryError('REGISTRY_INVALID', 'never', { field: 'arguments', because });
  let text: string;
  try {
    text = JSON.stringify(given);
  } catch (error) {
    // What was parsed can be nested more deeply than can be written.
    if (error instanceof RangeError) throw invalid('nested too deeply');
    throw error;
  }
  if (Buffer.byteLength(text) > ARGUMENTS_BYTES_MAX) throw invalid('larger than 64 KiB');
  return text;
}

const aboutArguments = (id: string): string => `command ${id} arguments`;
const aboutResult = (id: string): string => `command ${id} result`;

/** Whether more is to be done: a sweep took as many as it may at once. */
export const isFullSweep = (count: number): boolean => count === SWEPT_MAX;
