import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';

export const keyTaken = (): RegistryError => new RegistryError('REGISTRY_CONFLICT', 'never', { field: 'key' });

/** Refuses new keys that another thing gave up, but that still hold. That no two have the same key now is the table's
 *  own constraint: whoever takes a key that another is giving up waits there for the other's end, so it is looked for
 *  after the write.
 *  @throws RegistryError REGISTRY_CONFLICT with field key */
export async function checkKeysFree(tx: Session, digests: readonly string[], nowMs: number): Promise<void> {
  if (digests.length === 0) return;
  const [held] = await tx.query(
    `SELECT 1 FROM registry.things WHERE previous_key_digest = ANY ($1::text[])
       AND previous_key_until > to_timestamp($2::float8 / 1000) LIMIT 1`,
    [digests, nowMs],
  );
  if (held !== undefined) throw keyTaken();
}
