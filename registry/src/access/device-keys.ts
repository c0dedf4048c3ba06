import { type BootstrapKey, type Credentials, type DeviceKeys, type DirectoryChange, isUuid } from '@millrace/core';
import type { ChangeFeed } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { Batched } from './batched.ts';

/** Things whose keys are remembered, sealed as they rest; who was asked for longest ago is forgotten first. */
const THINGS_MAX = 100_000;
const EXTERNAL_ID_BYTES_MAX = 256;
/** Organisations that may have the same external id: all of their keys are tried. */
const CANDIDATES_MAX = 8;

export interface DeviceKeysOptions {
  readonly session: Session;
  readonly feed: ChangeFeed;
  readonly credentials: Credentials;
  readonly now: () => number;
}
interface KeyRow {
  readonly id: string;
  readonly sealed: string;
  /** The one before, while it holds beside. */
  readonly previous: string | null;
  readonly untilMs: number | null;
}
interface ExternalRow {
  readonly external: string;
  readonly thing: string;
  readonly sealed: string;
}

const ENABLED = `things.enabled AND NOT orgs.frozen
    AND coalesce((SELECT place.active FROM registry.groups AS place WHERE place.id = things.group_id), true)`;
const KEYS = `SELECT things.id, key_sealed AS sealed, previous_key_sealed AS previous,
    (extract(epoch FROM previous_key_until) * 1000)::float8 AS "untilMs"
  FROM registry.things JOIN registry.orgs ON orgs.id = things.org WHERE things.id = ANY ($1::uuid[]) AND ${ENABLED}`;
const EXTERNAL = `SELECT wanted AS external, found.thing, found.sealed
  FROM unnest($1::text[]) AS wanted CROSS JOIN LATERAL (
    SELECT things.id AS thing, external_key_sealed AS sealed
    FROM registry.things JOIN registry.orgs ON orgs.id = things.org
    WHERE external_id = wanted AND external_key_sealed IS NOT NULL AND ${ENABLED}
    ORDER BY things.created_at, things.id LIMIT ${CANDIDATES_MAX}) AS found`;

/** Keys for handshakes. A fleet that comes back asks once for each thing; those who ask at once share a statement.
 *  @holds what is remembered is sealed, and void with the first change of its thing */
export function createDeviceKeys({ session, feed, credentials, now }: DeviceKeysOptions): DeviceKeys {
  const known = new Map<string, KeyRow | null>();
  /** Of changes: what was read before one is not remembered. */
  let changes = 0;
  feed.onChange((change) => {
    // There may be many of them at any time: nothing would ever be remembered.
    if (change.entity === 'command' || change.entity === 'session') return;
    changes++;
    forget(known, change);
  });
  const rows = new Batched<KeyRow>(async (ids) => {
    const found = await session.query<KeyRow>(KEYS, [ids], 'device-keys');
    return new Map(found.map((row) => [row.id, [row]]));
  });
  const external = new Batched<ExternalRow>(async (ids) =>
    byExternal(await session.query<ExternalRow>(EXTERNAL, [ids], 'device-external-keys')),
  );

  const rowOf = async (id: string): Promise<KeyRow | null> => {
    const warm = known.get(id);
    if (warm !== undefined) {
      known.delete(id);
      known.set(id, warm);
      return warm;
    }
    const before = changes;
    const [row = null] = await rows.get(id);
    if (changes === before) {
      known.set(id, row);
      if (known.size > THINGS_MAX) {
        const [oldest] = known.keys();
        if (oldest !== undefined) known.delete(oldest);
      }
    }
    return row;
  };

  return {
    async keysOf(identity) {
      // As it stands in the registry and in a certificate: an id in capitals would be a second name of one thing.
      if (!isUuid(identity) || identity !== identity.toLowerCase()) return [];
      const row = await rowOf(identity);
      if (row === null) return [];
      const keys = [credentials.decrypt(row.sealed, row.id)];
      if (row.previous !== null && row.untilMs !== null && now() < row.untilMs)
        keys.push(credentials.decrypt(row.previous, row.id));
      return keys;
    },

    async bootstrapKeys(externalId): Promise<readonly BootstrapKey[]> {
      if (externalId === '' || externalId.includes('\0') || Buffer.byteLength(externalId) > EXTERNAL_ID_BYTES_MAX)
        return [];
      const found = await external.get(externalId);
      return found.map(({ thing, sealed }) => ({ thing, key: credentials.decrypt(sealed, `external ${thing}`) }));
    },
  };
}

function forget(known: Map<string, unknown>, { entity, id, org, voids }: DirectoryChange): void {
  if (entity === 'org' || voids.includes('*') || (org !== null && voids.includes(org))) {
    known.clear();
    return;
  }
  known.delete(id);
  for (const each of voids) known.delete(each);
}

function byExternal(rows: readonly ExternalRow[]): Map<string, ExternalRow[]> {
  const found = new Map<string, ExternalRow[]>();
  for (const row of rows) {
    const others = found.get(row.external);
    if (others === undefined) found.set(row.external, [row]);
    else others.push(row);
  }
  return found;
}
