import type { ControlAction } from '@millrace/core';
import type { z } from 'zod';
import { RegistryError } from '../error.ts';
import { deleted, etag, expectedVersion } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { permit, unscoped, userOf } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { page } from '../http/schemas.ts';
import { pageAnswer } from '../inventory/page.ts';
import { changedSince, orgAnswer, problem, removed } from './answers.ts';
import { requestOf } from './listing.ts';
import type { Org } from './orgs.ts';
import { onlyOwner } from './owners.ts';
import { CascadeQuery, NewOrgBody, OrgAnswer, OrgListQuery, OrgPatchBody } from './schemas.ts';

const tag = 'organisations';
const one = { description: 'The organisation.', schema: OrgAnswer };
const taken = problem('The id or alias is taken.');
const parameters = { id: example.org };

export const orgRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/orgs',
      tag,
      summary: 'Make an organisation, and own it',
      body: NewOrgBody,
      answers: { 201: one, 409: taken },
      examples: [{ name: 'make', body: { name: 'Mill', alias: 'mill', tags: ['river'] }, status: 201 }],
    },
    async (call, plane) => {
      const user = await userOf(await unscoped(call));
      const { MILLRACE_ORGS_PER_USER_MAX: ownedMax } = plane.registry.peopleLimits;
      const org = await unique(plane.registry.orgs.create(user.id, given(call.body), user.admin ? null : ownedMax));
      if (org === null)
        throw new Refusal(409, `You own ${ownedMax} organisations; there may be no more (MILLRACE_ORGS_PER_USER_MAX).`);
      return json(201, orgAnswer(org), { location: `/orgs/${org.id}`, ...etag(org.version) });
    },
  ),
  route(
    {
      method: 'get',
      path: '/orgs',
      tag,
      summary: 'My organisations; administrators of the installation see all',
      query: OrgListQuery,
      answers: { 200: { description: 'A page of organisations.', schema: page('orgs', OrgAnswer) } },
      examples: [{ name: 'mine', query: { order: 'name', dir: 'asc' }, status: 200 }],
    },
    async (call, plane) => {
      const user = await call.user();
      const { scope } = await call.principal();
      const { name, tag: tagged, metadata, status } = call.query;
      const frozen = status === undefined || status === 'all' ? undefined : status === 'disabled';
      const filter = {
        member: user.admin && scope === null ? null : user.id,
        only: scope?.org ?? null,
        name,
        tag: tagged,
        metadata,
        frozen,
      };
      return json(200, pageAnswer(await plane.registry.orgs.list(filter, requestOf(call.query)), 'orgs', orgAnswer));
    },
  ),
  route(
    {
      method: 'get',
      path: '/orgs/{id}',
      tag,
      summary: 'An organisation, by id or alias',
      answers: { 200: one },
      examples: [{ name: 'mine', parameters, status: 200 }],
    },
    async (call, plane) => answered(await orgFor(call, plane, 'orgs.read')),
  ),
  route(
    {
      method: 'patch',
      path: '/orgs/{id}',
      tag,
      summary: 'Change an organisation',
      body: OrgPatchBody,
      answers: { 200: one, 409: taken, 412: changedSince },
      examples: [{ name: 'rename', parameters, body: { name: 'Mill & Race' }, status: 200 }],
    },
    async (call, plane) => {
      const org = await orgFor(call, plane, 'orgs.update');
      const updated = await unique(plane.registry.orgs.update(org.id, given(call.body), expectedVersion(call)));
      if (updated === null) throw notFound('organisation');
      return answered(updated);
    },
  ),
  route(
    {
      method: 'delete',
      path: '/orgs/{id}',
      tag,
      summary: 'Delete an organisation (its owners)',
      description: 'One that has things, channels, members or the like only with cascade=true, and then all of it.',
      query: CascadeQuery,
      answers: { ...removed, 409: problem('It is in use: detail counts by what.') },
      examples: [{ name: 'with all that it has', parameters, query: { cascade: 'true' }, status: 204 }],
    },
    async (call, plane) => {
      const org = await orgFor(call, plane, 'orgs.delete');
      await onlyOwner(call, plane, org.id);
      const counts = await plane.registry.removal.org(org.id, call.query.cascade ?? false);
      if (counts === null) throw notFound('organisation');
      return deleted(call, counts);
    },
  ),
  ...[true, false].map((frozen) =>
    route(
      {
        method: 'post',
        path: `/orgs/{id}/${frozen ? 'freeze' : 'unfreeze'}`,
        tag,
        summary: `${frozen ? 'Freeze' : 'Unfreeze'} an organisation (its owners)`,
        description: frozen
          ? 'At once no message gets in or out, nothing of it connects, what is connected is cut, and its inventory can not be changed. Nothing is lost.'
          : 'Everything goes on where it was.',
        answers: { 200: one },
        examples: [{ name: frozen ? 'at once' : 'one that is not frozen', parameters, status: 200 }],
      },
      async (call, plane) => {
        const org = await orgFor(call, plane, 'orgs.freeze');
        await onlyOwner(call, plane, org.id);
        const settled = await plane.registry.orgs.setFrozen(org.id, frozen);
        if (settled === null) throw notFound('organisation');
        return answered(settled);
      },
    ),
  ),
];

/** @throws Refusal 404, 403 */
export async function orgFor(call: Call<unknown, unknown>, plane: Plane, action: ControlAction): Promise<Org> {
  await call.principal();
  const org = await plane.registry.orgs.get(call.parameters.id ?? '');
  if (org === null) throw notFound('organisation');
  await permit(call, plane, org.id, `orgs/${org.id}`, action, { hidden: 'organisation' });
  return org;
}

const given = <B extends z.output<typeof OrgPatchBody>>({
  retention_days: retentionDays,
  rollup_retention_days: rollupRetentionDays,
  ...rest
}: B) => ({ ...rest, retentionDays, rollupRetentionDays });

const answered = (org: Org): Response => json(200, orgAnswer(org), etag(org.version));

async function unique<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof RegistryError && error.code === 'REGISTRY_CONFLICT' && error.facts.field === 'handle')
      throw new Refusal(409, 'Another organisation has this alias.');
    throw error;
  }
}
