import type { Credentials } from '@millrace/core';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import { checkVersion } from './change.ts';
import { checkKeysFree, keyTaken } from './key-use.ts';
import { type MadeThing, THING_COLUMNS, type Thing } from './things.ts';

export interface Rotation {
  /** Generated if absent. */
  readonly key?: string | undefined;
  /** So long the old key holds beside the new one; 0: it is void at once. */
  readonly overlapSeconds?: number | undefined;
}
export interface ThingKeys {
  /** A new key. Without an overlap all that the old one opened is cut, and tokens that it was exchanged for are void;
   *  with one both hold, and an overlap that is still going on ends. null if the thing is gone.
   *  @throws RegistryError REGISTRY_CONFLICT with field key, REGISTRY_VERSION_MISMATCH */
  rotate(id: string, rotation: Rotation, expected?: number | null): Promise<MadeThing | null>;
  /** The same as a part of a transaction. */
  rotateIn(tx: ChangeSession, id: string, rotation: Rotation, expected?: number | null): Promise<MadeThing | null>;
  /** Voids the key before, and all tokens: who gave it away can not go on with one.  @returns whether there was one that still held */
  endOverlap(id: string): Promise<boolean>;
}

export function createThingKeys(feed: ChangeFeed, credentials: Credentials, now: () => number): ThingKeys {
  const rotateIn: ThingKeys['rotateIn'] = async (
    tx,
    id,
    { key = credentials.newKey(), overlapSeconds = 0 },
    expected = null,
  ) => {
    const digest = credentials.digest(key);
    const sealed = credentials.encrypt(key, id);
    const [before] = await tx.query<Thing & { digest: string }>(
      `SELECT ${THING_COLUMNS}, key_digest AS digest FROM registry.things WHERE id = $1 FOR UPDATE OF things`,
      [id],
    );
    if (before === undefined) return null;
    checkVersion('thing', before, expected);
    if (before.digest === digest) throw keyTaken();
    await checkKeysFree(tx, [digest], now());
    const [after] = await tx.query<Thing>(
      `UPDATE registry.things SET key_digest = $2, key_sealed = $3,
         previous_key_digest = CASE WHEN $4::float8 > 0 THEN key_digest END,
         previous_key_sealed = CASE WHEN $4::float8 > 0 THEN key_sealed END,
         previous_key_until = CASE WHEN $4::float8 > 0 THEN to_timestamp($5::float8 / 1000 + $4::float8) END,
         epoch = epoch + CASE WHEN $4::float8 > 0 THEN 0 ELSE 1 END, version = version + 1, updated_at = now()
       WHERE id = $1 RETURNING ${THING_COLUMNS}`,
      [id, digest, sealed, overlapSeconds, now()],
    );
    if (after === undefined) return null;
    await checkKeysFree(tx, [digest], now());
    tx.changed('key', id, after.org, [id]);
    tx.audit({
      action: 'things.rotate_key',
      entity: 'things',
      id,
      org: after.org,
      detail: { name: after.name, overlap_seconds: overlapSeconds },
    });
    return { thing: after, key };
  };

  return {
    rotateIn,
    rotate: (...what) => feed.transaction((tx) => rotateIn(tx, ...what)),

    endOverlap: (id) =>
      feed.transaction(async (tx) => {
        const [ended] = await tx.query<{ org: string; name: string }>(
          `UPDATE registry.things SET previous_key_digest = NULL, previous_key_sealed = NULL, previous_key_until = NULL, epoch = epoch + 1,
             version = version + 1, updated_at = now()
           WHERE id = $1 AND previous_key_until > to_timestamp($2::float8 / 1000) RETURNING org, name`,
          [id, now()],
        );
        if (ended === undefined) return false;
        tx.changed('key', id, ended.org, [id]);
        const { org, name } = ended;
        tx.audit({ action: 'things.end_key_overlap', entity: 'things', id, org, detail: { name } });
        return true;
      }),
  };
}
