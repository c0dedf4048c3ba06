import {
  type Credentials,
  isUuid,
  type Lwm2mAccount,
  type Lwm2mDirectory,
  type Lwm2mRegistration,
} from '@millrace/core';
import type { Session } from '../database/database.ts';
import { bootstrapOf } from './bootstrap.ts';

/** Of a thing that is let in, as the gate sees it, with its account if it has one. */
const ACCOUNT = `SELECT things.id AS thing, things.org, things.external_id AS "externalId", accounts.endpoint,
    accounts.security, accounts.observe, accounts.bootstrap,
    coalesce(accounts.channel, (
      SELECT min(connections.channel::text)::uuid FROM registry.connections WHERE connections.thing = things.id AND publish
      HAVING count(*) = 1)) AS channel
  FROM registry.things JOIN registry.orgs ON orgs.id = things.org
  LEFT JOIN registry.lwm2m_accounts AS accounts ON accounts.thing = things.id
  WHERE things.enabled AND NOT orgs.frozen
    AND coalesce((SELECT place.active FROM registry.groups AS place WHERE place.id = things.group_id), true)`;
const BY_THING = `${ACCOUNT} AND things.id = $1`;
const BY_ENDPOINT = `${ACCOUNT} AND accounts.endpoint = $1`;
const BY_EXTERNAL_ID = `${ACCOUNT} AND things.external_id = $1 LIMIT 2`;

export const REGISTRATION_COLUMNS = `location, thing, org, endpoint, lwm2m_version AS version, binding,
  queue_mode AS "queueMode", lifetime_seconds::float8 AS "lifetimeSeconds", objects, formats, address, node, secure,
  (extract(epoch FROM registered_at) * 1000)::float8 AS "registeredMs",
  (extract(epoch FROM updated_at) * 1000)::float8 AS "updatedMs",
  (extract(epoch FROM expires_at) * 1000)::float8 AS "expiresMs"`;
const REGISTER = `INSERT INTO registry.lwm2m_registrations AS here (thing, org, location, endpoint, lwm2m_version, binding,
    queue_mode, lifetime_seconds, objects, formats, address, node, secure, registered_at, updated_at, expires_at)
  SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, to_timestamp($14::float8 / 1000),
    to_timestamp($15::float8 / 1000), to_timestamp($16::float8 / 1000)
  ON CONFLICT (thing) DO UPDATE SET org = excluded.org, location = excluded.location, endpoint = excluded.endpoint,
    lwm2m_version = excluded.lwm2m_version, binding = excluded.binding, queue_mode = excluded.queue_mode,
    lifetime_seconds = excluded.lifetime_seconds, objects = excluded.objects, formats = excluded.formats,
    address = excluded.address, node = excluded.node, secure = excluded.secure, registered_at = excluded.registered_at,
    updated_at = excluded.updated_at, expires_at = excluded.expires_at`;
const REGISTRATION = `SELECT ${REGISTRATION_COLUMNS} FROM registry.lwm2m_registrations WHERE expires_at > now() AND`;

interface AccountRow {
  readonly thing: string;
  readonly org: string;
  readonly externalId: string | null;
  readonly endpoint: string | null;
  readonly security: 'dtls' | 'none' | null;
  readonly channel: string | null;
  readonly observe: Lwm2mAccount['observe'] | null;
  readonly bootstrap: string | null;
}

/** What the LwM2M server asks of the registry. Devices choose what is asked for: nothing they can say is a fault. */
export function createLwm2mDirectory(session: Session, credentials: Credentials): Lwm2mDirectory {
  const accountIn = (row: AccountRow, endpoint: string): Lwm2mAccount => ({
    thing: row.thing,
    org: row.org,
    endpoint,
    security: row.security ?? 'dtls',
    channel: row.channel,
    observe: row.observe ?? [],
    bootstrap: row.bootstrap === null ? null : bootstrapOf(credentials, row.thing, row.bootstrap),
  });
  const byThing = async (thing: string): Promise<AccountRow | undefined> =>
    isUuid(thing) ? (await session.query<AccountRow>(BY_THING, [thing], 'lwm2m-thing'))[0] : undefined;

  async function find(endpoint: string): Promise<AccountRow | null> {
    const [account] = await session.query<AccountRow>(BY_ENDPOINT, [endpoint], 'lwm2m-endpoint');
    if (account !== undefined) return account;
    const named = await byThing(endpoint);
    if (named !== undefined) return named;
    const [external, ...others] = await session.query<AccountRow>(BY_EXTERNAL_ID, [endpoint], 'lwm2m-external');
    return external === undefined || others.length > 0 ? null : external;
  }
  /** Without an account it is `dtls` whatever the account of the thing says for its own name. */
  const called = (row: AccountRow, endpoint: string): Lwm2mAccount => {
    const account = accountIn(row, endpoint);
    return row.endpoint === endpoint ? account : { ...account, security: 'dtls' };
  };

  return {
    async account(endpoint, thing) {
      // PostgreSQL can not be asked for it.
      if (endpoint === '' || endpoint.includes('\0')) return null;
      if (thing === undefined) {
        const found = await find(endpoint);
        return found === null ? null : called(found, endpoint);
      }
      const row = await byThing(thing);
      if (row === undefined) return null;
      const names = [row.endpoint, row.externalId, row.thing];
      const isItsOwn = names.includes(endpoint) || endpoint.toLowerCase() === row.thing;
      return isItsOwn ? called(row, endpoint) : null;
    },

    async accountOf(thing) {
      const row = await byThing(thing);
      return row === undefined ? null : called(row, row.endpoint ?? row.externalId ?? row.thing);
    },

    async register(registration) {
      const text = (value: string): string => value.replaceAll('\0', '\ufffd');
      const { thing, org, location, endpoint, version, binding, queueMode, lifetimeSeconds } = registration;
      const { objects, formats, address, node, secure, registeredMs, updatedMs, expiresMs } = registration;
      const device = [text(endpoint), text(version), text(binding)];
      await session.query(
        REGISTER,
        [
          ...[thing, org, location, ...device, queueMode, Math.round(lifetimeSeconds), objects.map(text), formats],
          ...[address, node, secure, registeredMs, updatedMs, Math.min(expiresMs, EXPIRES_MS_MAX)],
        ],
        'lwm2m-register',
      );
    },

    async registration(location) {
      if (location === '' || location.includes('\0')) return null;
      return (await session.query<Lwm2mRegistration>(`${REGISTRATION} location = $1`, [location]))[0] ?? null;
    },

    async registrationOf(thing) {
      if (!isUuid(thing)) return null;
      return (await session.query<Lwm2mRegistration>(`${REGISTRATION} thing = $1`, [thing]))[0] ?? null;
    },

    async remove(location) {
      if (location.includes('\0')) return;
      await session.query('DELETE FROM registry.lwm2m_registrations WHERE location = $1', [location]);
    },
  };
}

/** The year 9999: a lifetime may be 136 years, and a clock wrong. */
const EXPIRES_MS_MAX = 253_402_300_799_000;
