import type { Credentials, Lwm2mAccount, Lwm2mBootstrap, Lwm2mRegistration } from '@millrace/core';
import { changedFields } from '../audit/changed-fields.ts';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { within } from '../inventory/group-scope.ts';
import { type Listed, type ListQuery, listRows } from '../inventory/page.ts';
import { bootstrapOf, sealBootstrap } from './bootstrap.ts';
import { REGISTRATION_COLUMNS } from './directory.ts';

/** An account as people made it. */
export interface Account {
  readonly thing: string;
  readonly org: string;
  readonly endpoint: string;
  readonly security: 'dtls' | 'none';
  readonly channel: string | null;
  readonly observe: Lwm2mAccount['observe'];
  readonly bootstrap: Lwm2mBootstrap | null;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
export type AccountInput = Pick<Account, 'endpoint' | 'security' | 'channel' | 'observe' | 'bootstrap'>;
export interface RegistrationListQuery extends ListQuery {
  /** Only of things in these groups and below them. */
  readonly within?: readonly string[] | undefined;
}
/** A registration in a list, with its thing's name. */
export interface ListedRegistration extends Lwm2mRegistration {
  readonly id: string;
  readonly name: string;
}

export interface Lwm2mAccounts {
  get(thing: string): Promise<Account | null>;
  /** Makes or replaces it. What the device has registered under another name, or in another way, ends: it has to register
   *  anew.  @param expected version that the change was made for; null: any
   *  @throws RegistryError REGISTRY_CONFLICT with field endpoint, REGISTRY_VERSION_MISMATCH, REGISTRY_NOT_FOUND */
  replace(thing: string, org: string, input: AccountInput, expected: number | null): Promise<Account>;
  /** With what the device has registered under its name.  @returns how many registrations ended; null if there is none */
  remove(thing: string, expected: number | null): Promise<number | null>;
  registrations(query: RegistrationListQuery): Promise<Listed<ListedRegistration>>;
}

type Row = Omit<Account, 'bootstrap'> & { readonly bootstrap: string | null };
const COLUMNS =
  'thing, org, endpoint, security, channel, observe, bootstrap, version, created_at AS "createdAt", updated_at AS "updatedAt"';
const LISTED = `(SELECT registrations.*, registrations.thing AS id, registered_at AS created_at, things.name, things.tags,
    things.metadata, things.enabled, things.group_id
  FROM registry.lwm2m_registrations AS registrations JOIN registry.things ON things.id = registrations.thing
  WHERE registrations.expires_at > now()) AS registrations`;

export function createAccounts(session: Session, feed: ChangeFeed, credentials: Credentials): Lwm2mAccounts {
  const opened = ({ bootstrap, ...row }: Row): Account => ({
    ...row,
    bootstrap: bootstrap === null ? null : bootstrapOf(credentials, row.thing, bootstrap),
  });
  async function locked(tx: Session, thing: string, expected: number | null): Promise<Account | null> {
    const sql = `SELECT ${COLUMNS} FROM registry.lwm2m_accounts WHERE thing = $1 FOR UPDATE`;
    const [row] = await tx.query<Row>(sql, [thing]);
    if (expected !== null && expected !== (row?.version ?? 0))
      throw new RegistryError('REGISTRY_VERSION_MISMATCH', 'never', { entity: 'lwm2m', id: thing, expected });
    return row === undefined ? null : opened(row);
  }

  return {
    async get(thing) {
      const sql = `SELECT ${COLUMNS} FROM registry.lwm2m_accounts WHERE thing = $1`;
      const [row] = await session.query<Row>(sql, [thing]);
      return row === undefined ? null : opened(row);
    },

    replace: (thing, org, input, expected) =>
      feed.transaction(async (tx) => {
        const before = await locked(tx, thing, expected);
        const { endpoint, security, channel, observe, bootstrap } = input;
        const sealed = bootstrap === null ? null : sealBootstrap(credentials, thing, bootstrap);
        const [row] = await tx.query<Row>(
          `INSERT INTO registry.lwm2m_accounts AS account (thing, org, endpoint, security, channel, observe, bootstrap)
           VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (thing) DO UPDATE SET endpoint = excluded.endpoint,
             security = excluded.security, channel = excluded.channel, observe = excluded.observe,
             bootstrap = excluded.bootstrap, version = account.version + 1, updated_at = now()
           RETURNING ${COLUMNS}`,
          [thing, org, endpoint, security, channel, JSON.stringify(observe), sealed],
        );
        if (row === undefined) throw new RegistryError('REGISTRY_NOT_FOUND', 'never', { thing });
        const ended = await tx.query(
          `DELETE FROM registry.lwm2m_registrations AS here USING registry.things WHERE here.thing = $1 AND things.id = $1
             AND ((here.endpoint <> $2 AND here.endpoint <> things.id::text AND here.endpoint IS DISTINCT FROM external_id)
               OR (NOT secure AND $3 = 'dtls')) RETURNING 1`,
          [thing, endpoint, security],
        );
        if (ended.length > 0) tellItsNode(tx, thing, org);
        const after = opened(row);
        const changed = before === null ? {} : changedFields(told(before), told(after));
        const detail = { endpoint, security, ...(before === null ? {} : { changed }), registrations: ended.length };
        tx.audit({ action: 'things.account_replace', entity: 'things', id: thing, org, detail });
        return after;
      }),

    remove: (thing, expected) =>
      feed.transaction(async (tx) => {
        const account = await locked(tx, thing, expected);
        if (account === null) return null;
        await tx.query('DELETE FROM registry.lwm2m_accounts WHERE thing = $1', [thing]);
        const ended = await tx.query('DELETE FROM registry.lwm2m_registrations WHERE thing = $1 RETURNING 1', [thing]);
        const { org, endpoint } = account;
        if (ended.length > 0) tellItsNode(tx, thing, org);
        const detail = { endpoint, registrations: ended.length };
        tx.audit({ action: 'things.account_delete', entity: 'things', id: thing, org, detail });
        return ended.length;
      }),

    registrations: (query) =>
      listRows<ListedRegistration>(session, LISTED, `id, name, ${REGISTRATION_COLUMNS}`, query, (clauses) => {
        if (query.within !== undefined) within(clauses, query.within);
      }),
  };
}

/** Whoever has the device asks, as for a command, whether it is still registered. */
const tellItsNode = (tx: ChangeSession, thing: string, org: string): void => tx.changed('command', thing, org, []);

/** What the audit may tell: of a bootstrap the servers, no identities and keys. */
const told = ({ endpoint, security, channel, observe, bootstrap }: Account) => ({
  endpoint,
  security,
  channel,
  observe,
  bootstrap: bootstrap?.servers.map(({ uri }) => uri) ?? null,
});
