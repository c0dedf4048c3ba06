import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { lockOrg } from './org-lock.ts';

/** Gateways in a row, from a thing to the one that reaches the platform. */
const GATEWAYS_MAX = 16;

/** Two that make each other's gateway at once must take turns: before either locks a thing, or they would wait for each
 *  other. */
export async function lockGateways(tx: Session, thing: string): Promise<void> {
  const [row] = await tx.query<{ org: string }>('SELECT org FROM registry.things WHERE id = $1', [thing]);
  if (row !== undefined) await lockOrg(tx, 'gateways', row.org);
}

/** Checks what things that were just written are reached through.
 *  @holds called under the organisation's lock of gateways
 *  @throws RegistryError REGISTRY_INVALID if that is no gateway of the org, or leads back to the thing */
export async function checkGateways(tx: Session, things: readonly string[]): Promise<void> {
  if (things.length === 0) return;
  const [wrong] = await tx.query(
    `SELECT 1 FROM registry.things AS thing WHERE thing.id = ANY ($1::uuid[]) AND NOT EXISTS (
       SELECT 1 FROM registry.things AS gateway
       WHERE gateway.id = thing.gateway AND gateway.org = thing.org AND gateway.type = 'gateway') LIMIT 1`,
    [things],
  );
  if (wrong !== undefined) throw invalid('must be a thing of type gateway of the organisation');
  const [endless] = await tx.query(
    `WITH RECURSIVE way AS (
       SELECT gateway AS at, 1 AS hop FROM registry.things WHERE id = ANY ($1::uuid[])
       UNION ALL
       SELECT thing.gateway, hop + 1 FROM way JOIN registry.things AS thing ON thing.id = way.at
       WHERE thing.gateway IS NOT NULL AND hop <= $2)
     SELECT 1 FROM way WHERE hop > $2 LIMIT 1`,
    [things, GATEWAYS_MAX],
  );
  if (endless !== undefined) throw invalid(`leads back to the thing, or through more than ${GATEWAYS_MAX} gateways`);
}

/** @holds as `checkGateways`  @throws RegistryError REGISTRY_IN_USE if things are reached through it */
export async function checkStaysGateway(tx: Session, id: string): Promise<void> {
  const [row] = await tx.query<{ things: number }>(
    'SELECT count(*)::integer AS things FROM registry.things WHERE gateway = $1',
    [id],
  );
  if (row !== undefined && row.things > 0)
    throw new RegistryError('REGISTRY_IN_USE', 'never', { things_behind_it: row.things });
}

const invalid = (because: string): RegistryError =>
  new RegistryError('REGISTRY_INVALID', 'never', { field: 'gateway', because });
