import { EVERY_SUBTOPIC, messagesObject, type OrgRole, orgRoles, type SqlInventory } from '@millrace/core';
import { actionCovers, objectsOverlap, readResource } from '../access/covering.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { reachOf } from '../inventory/reach.ts';
import { refuseFrozen } from '../people/frozen.ts';

/** Who asks, and how much they may take. */
export interface Analyst {
  readonly org: string;
  readonly role: OrgRole;
}

/** Lets pass who may read every message of the organisation: a statement sees all of them.
 *  @throws Refusal 403, 404 */
export async function analystOf(call: Call<unknown, unknown>, plane: Plane, org?: string): Promise<Analyst> {
  const { id, admin } = await call.user();
  const { scope, subject } = await call.principal();
  const of = org ?? (await orgOf(call, plane));
  await permit(call, plane, of, 'sql', 'sql.read', { hidden: 'organisation' });
  await refuseFrozen(plane.registry.orgs, of, 'messages.read');
  await readsEverything(call, plane, of);
  if (!admin) {
    const object = messagesObject('*', EVERY_SUBTOPIC);
    const asked = { subject, scope, org: of, object, action: 'subscribe', groups: [], context: call.context } as const;
    if (!(await plane.gate.explain(asked)).allowed) throw partly('your role or key does not cover them');
    const rules = await plane.registry.directory.rules(id, of);
    for (const { type, values, source } of rules) {
      const [, , object = '', action = '', effect] = values;
      if (type !== 'p' || effect !== 'deny') continue;
      if (!actionCovers(action, 'messages.read') && !actionCovers(action, 'subscribe')) continue;
      if (objectsOverlap(readResource(object).pattern, 'channels/*'))
        throw partly(`${source ?? 'a policy'} denies you some of them`);
    }
  }
  return { org: of, role: admin ? 'owner' : await roleOf(plane, id, of) };
}

async function readsEverything(call: Call<unknown, unknown>, { gate }: Plane, org: string): Promise<void> {
  if (!(await gate.allows(await call.principal(), org, 'channels/*', 'messages.read', call.context)))
    throw partly('your role or key does not cover them (messages.read on channels/*)');
}

const partly = (because: string): Refusal =>
  new Refusal(
    403,
    `SQL sees the messages of every channel, and you may not: ${because}. POST /readings/query asks of single channels.`,
  );

/** Roles of an organisation's own count as viewer. */
async function roleOf(plane: Plane, user: string, org: string): Promise<OrgRole> {
  const membership = (await plane.registry.users.memberships(user)).find((each) => each.org === org);
  const role = orgRoles.find((each) => each === membership?.role);
  return membership?.roleId === null && role !== undefined ? role : 'viewer';
}

/** Lets pass who may see all things or channels of the organisation.  @throws Refusal 403 */
export async function permitTable(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  table: SqlInventory,
): Promise<void> {
  if ((await reachOf(call, plane, org, table)) !== null)
    throw new Refusal(403, `The table ${table} has all of the organisation, and you may see some only.`);
}
