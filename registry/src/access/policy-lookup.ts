import { isUuid, type PolicyStatement } from '@millrace/core';
import { permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { statementAnswer } from './documents.ts';
import { mustHold, type Rights } from './holding.ts';
import type { Policy } from './policies.ts';

export type PolicyVerb = 'read' | 'update' | 'delete' | 'attach';

/** @throws Refusal 404, 403 */
export async function policyFor(
  call: Call<unknown, unknown>,
  plane: Plane,
  verb: PolicyVerb,
  id = call.parameters.id ?? '',
): Promise<Policy> {
  await call.principal();
  const policy = isUuid(id) ? await plane.registry.access.policies.get(id) : null;
  if (policy === null) throw notFound('policy');
  await permit(call, plane, policy.org, `policies/${policy.id}`, `policies.${verb}`, { hidden: 'policy' });
  return policy;
}

/** Who writes a version; null if it is no user. */
export async function authorOf(call: Call<unknown, unknown>): Promise<string | null> {
  const { subject } = await call.principal();
  return subject.kind === 'user' ? subject.id : null;
}

/** Lets pass who may bring statements into force, and take others out: what they allow must be the author's to give, and
 *  so must what a deny that goes had kept from others.
 *  @throws Refusal 403 */
export async function mayPutInForce(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  coming: readonly PolicyStatement[],
  going: readonly PolicyStatement[],
): Promise<void> {
  const rights: Rights[] = [
    ...coming.filter(({ effect }) => effect === 'allow'),
    ...going.filter(({ effect }) => effect === 'deny').map(deniedRights),
  ];
  await mustHold(call, plane, org, rights);
}

/** Whoever may do all there is on the control plane and with messages may lift a deny of all. */
const deniedRights = ({ actions, resources }: PolicyStatement): Rights => ({
  actions: actions.flatMap((action) => (action === '*' ? ['*.*', 'publish', 'subscribe'] : [action])),
  resources,
});

export const policyAnswer = (policy: Policy) => ({
  id: policy.id,
  org: policy.org,
  name: policy.name,
  description: policy.description,
  enabled: policy.enabled,
  statements: policy.statements.map(statementAnswer),
  statements_version: policy.statementsVersion,
  metadata: policy.metadata,
  tags: policy.tags,
  version: policy.version,
  created_at: policy.createdAt.toISOString(),
  updated_at: policy.updatedAt.toISOString(),
});
