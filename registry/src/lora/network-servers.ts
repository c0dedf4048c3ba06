import { type Credentials, type Logger, type LoraKind, type NetworkServer, uuidV7 } from '@millrace/core';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { checkVersion, noteChange } from '../inventory/change.ts';
import { lockOrg } from '../inventory/org-lock.ts';
import { type Listed, type ListQuery, listRows } from '../inventory/page.ts';
import { NO_SECRETS, openSecrets, type ServerSecrets, sealSecrets } from './server-secrets.ts';

/** How a server's broker is reached, as the API shows it: what is secret is elsewhere. */
export interface Mqtt {
  readonly url: string;
  readonly username: string;
  readonly client_id: string;
  readonly topic: string;
  readonly share: string;
  readonly qos: 0 | 1 | 2;
  readonly format: 'json' | 'protobuf';
  readonly ca: string;
  readonly certificate: string;
}
export interface Provisioning {
  readonly group_id: string | null;
  readonly subscribe: boolean;
  readonly things_per_day_max: number;
}
export interface ServerSettings {
  readonly mqtt: Mqtt | null;
  readonly http: { readonly url: string } | null;
  readonly provisioning: Provisioning | null;
}
export interface StoredServer extends ServerSettings {
  readonly id: string;
  readonly org: string;
  readonly name: string;
  readonly kind: LoraKind;
  readonly enabled: boolean;
  /** Which secrets there are. */
  readonly has: Readonly<Record<keyof ServerSecrets, boolean>>;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
export interface NewServer {
  readonly id?: string | undefined;
  readonly name: string;
  readonly kind: LoraKind;
  readonly enabled?: boolean | undefined;
  readonly settings: ServerSettings;
  readonly secrets: ServerSecrets;
}
export interface ServerPatch {
  readonly name?: string | undefined;
  readonly enabled?: boolean | undefined;
  /** What the settings become.  @throws RegistryError REGISTRY_INVALID */
  settings?(before: ServerSettings, secrets: ServerSecrets, kind: LoraKind): Changed;
}
interface Changed {
  readonly settings: ServerSettings;
  readonly secrets: ServerSecrets;
}

export interface NetworkServers {
  /** @throws RegistryError REGISTRY_CONFLICT with field id or name, REGISTRY_FULL */
  create(org: string, server: NewServer): Promise<StoredServer>;
  get(id: string): Promise<StoredServer | null>;
  list(query: ListQuery): Promise<Listed<StoredServer>>;
  /** null if it is gone.  @throws RegistryError REGISTRY_VERSION_MISMATCH, REGISTRY_CONFLICT, REGISTRY_INVALID */
  update(id: string, patch: ServerPatch, expected: number | null): Promise<StoredServer | null>;
  /** @throws RegistryError REGISTRY_VERSION_MISMATCH */
  remove(id: string, expected: number | null): Promise<boolean>;
  /** Of every organisation, with their secrets. */
  all(): Promise<readonly NetworkServer[]>;
}

interface Row extends ServerSettings {
  readonly id: string;
  readonly org: string;
  readonly name: string;
  readonly kind: LoraKind;
  readonly enabled: boolean;
  readonly secrets: string;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
const COLUMNS = `id, org, name, kind, enabled, mqtt, http, provisioning, secrets, version, created_at AS "createdAt",
  updated_at AS "updatedAt"`;

export interface NetworkServersOptions {
  readonly session: Session;
  readonly feed: ChangeFeed;
  readonly credentials: Credentials;
  readonly perOrgMax: number;
  readonly logger: Logger;
}

export function createNetworkServers(options: NetworkServersOptions): NetworkServers {
  const { session, feed, credentials, perOrgMax, logger } = options;
  const locked = async (tx: ChangeSession, id: string, expected: number | null): Promise<Row | null> => {
    const [row] = await tx.query<Row>(`SELECT ${COLUMNS} FROM registry.network_servers WHERE id = $1 FOR UPDATE`, [id]);
    if (row === undefined) return null;
    checkVersion('networkserver', row, expected);
    return row;
  };
  /** Without what is sealed: nobody who is given it can give it away. */
  const shown = ({ secrets, ...row }: Row): StoredServer => {
    const { password, key, token } = openSecrets(credentials, row.id, secrets);
    return { ...row, has: { password: password !== '', key: key !== '', token: token !== '' } };
  };

  return {
    create: (org, { id: given, name, kind, enabled = true, settings, secrets }) =>
      feed.transaction(async (tx) => {
        // One after the other, so that many at once don't pass the limit together.
        await lockOrg(tx, 'lora', org);
        const [count] = await tx.query<{ all: number }>(
          'SELECT count(*)::integer AS all FROM registry.network_servers WHERE org = $1',
          [org],
        );
        if ((count?.all ?? 0) >= perOrgMax)
          throw new RegistryError('REGISTRY_FULL', 'never', { 'network servers': perOrgMax });
        const id = given?.toLowerCase() ?? uuidV7();
        const [row] = await tx.query<Row>(
          `INSERT INTO registry.network_servers (id, org, name, kind, enabled, mqtt, http, provisioning, secrets)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING ${COLUMNS}`,
          [id, org, name, kind, enabled, ...valuesOf(settings), sealSecrets(credentials, id, secrets)],
        );
        if (row === undefined) throw new TypeError('INSERT … RETURNING gave no row');
        tx.changed('networkserver', id, org, [id]);
        const server = shown(row);
        noteChange(tx, 'networkservers', 'create', null, server);
        return server;
      }),

    async get(id) {
      const [row] = await session.query<Row>(`SELECT ${COLUMNS} FROM registry.network_servers WHERE id = $1`, [id]);
      return row === undefined ? null : shown(row);
    },

    async list(query) {
      const { items, ...rest } = await listRows<Row>(session, 'registry.network_servers', COLUMNS, query);
      return { ...rest, items: items.map(shown) };
    },

    update: (id, patch, expected) =>
      feed.transaction(async (tx) => {
        const before = await locked(tx, id, expected);
        if (before === null) return null;
        const had = openSecrets(credentials, id, before.secrets);
        const { settings, secrets } = patch.settings?.(before, had, before.kind) ?? { settings: before, secrets: had };
        const [row] = await tx.query<Row>(
          `UPDATE registry.network_servers SET name = $2, enabled = $3, mqtt = $4, http = $5, provisioning = $6,
             secrets = $7, version = version + 1, updated_at = now() WHERE id = $1 RETURNING ${COLUMNS}`,
          [
            id,
            patch.name ?? before.name,
            patch.enabled ?? before.enabled,
            ...valuesOf(settings),
            sealSecrets(credentials, id, secrets),
          ],
        );
        if (row === undefined) return null;
        tx.changed('networkserver', id, row.org, [id]);
        const after = shown(row);
        noteChange(tx, 'networkservers', 'update', told(shown(before), []), told(after, replaced(had, secrets)));
        return after;
      }),

    remove: (id, expected) =>
      feed.transaction(async (tx) => {
        const row = await locked(tx, id, expected);
        if (row === null) return false;
        await tx.query('DELETE FROM registry.network_servers WHERE id = $1', [id]);
        tx.changed('networkserver', id, row.org, [id]);
        noteChange(tx, 'networkservers', 'delete', shown(row), null);
        return true;
      }),

    async all() {
      const rows = await session.query<Row & { frozen: boolean }>(
        `SELECT server.*, frozen FROM (SELECT ${COLUMNS} FROM registry.network_servers) AS server
         JOIN registry.orgs ON orgs.id = server.org ORDER BY server."createdAt", server.id`,
      );
      return rows.flatMap(({ frozen, ...row }) => {
        try {
          const server = portOf(row, openSecrets(credentials, row.id, row.secrets));
          return [frozen ? { ...server, enabled: false } : server];
        } catch (error) {
          // One of them must not keep the others out.
          logger.error(
            { err: error, server: row.id },
            'the secrets of a network server can not be opened: it is left out',
          );
          return [];
        }
      });
    },
  };
}

const valuesOf = ({ mqtt, http, provisioning }: ServerSettings): (string | null)[] =>
  [mqtt, http, provisioning].map((part) => (part === null ? null : JSON.stringify(part)));

/** What the audit tells of: a secret only by its name. */
const told = (server: StoredServer, replaced: readonly string[]): StoredServer => ({ ...server, ...{ replaced } });

const replaced = (before: ServerSecrets, after: ServerSecrets): string[] =>
  (Object.keys(NO_SECRETS) as (keyof ServerSecrets)[]).filter((name) => before[name] !== after[name]);

function portOf({ id, org, name, kind, enabled, version, mqtt, http, provisioning }: Row, secrets: ServerSecrets) {
  const server: NetworkServer = {
    id,
    org,
    name,
    kind,
    enabled,
    version,
    mqtt:
      mqtt === null
        ? null
        : {
            url: mqtt.url,
            username: mqtt.username,
            password: secrets.password,
            clientId: mqtt.client_id,
            topic: mqtt.topic,
            share: mqtt.share,
            qos: mqtt.qos,
            format: mqtt.format,
            ca: mqtt.ca,
            certificate: mqtt.certificate,
            key: secrets.key,
          },
    http: http === null ? null : { url: http.url, token: secrets.token },
    provisioning:
      provisioning === null
        ? null
        : {
            group: provisioning.group_id,
            subscribe: provisioning.subscribe,
            thingsPerDayMax: provisioning.things_per_day_max,
          },
  };
  return server;
}
