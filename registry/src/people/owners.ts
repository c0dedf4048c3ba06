import { scopeCovers } from '../access/holding.ts';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';

/** Whether somebody may do what owners alone do: an owner, or an administrator of the installation, who came without an
 *  API key, or with one for everything. */
export async function isOwner(call: Call<unknown, unknown>, plane: Plane, org: string): Promise<boolean> {
  const { subject, scope } = await call.principal();
  if (subject.kind !== 'user') return false;
  if (scope !== null && !((scope.org ?? org) === org && scopeCovers(scope.grants, '*', '*'))) return false;
  return subject.admin || (await plane.registry.access.isOwner(org, subject.id));
}

/** @throws Refusal 403 */
export async function onlyOwner(call: Call<unknown, unknown>, plane: Plane, org: string): Promise<void> {
  if (!(await isOwner(call, plane, org))) throw new Refusal(403, 'Only an owner of the organisation may do this.');
}
