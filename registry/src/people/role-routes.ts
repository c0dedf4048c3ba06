import { type ControlAction, isUuid } from '@millrace/core';
import { mustHold } from '../access/holding.ts';
import { deleted, etag, expectedVersion } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { page } from '../http/schemas.ts';
import { pageAnswer } from '../inventory/page.ts';
import { changedSince, problem, removed, roleAnswer } from './answers.ts';
import { requestOf } from './listing.ts';
import type { Role } from './roles.ts';
import { CascadeQuery, NewRoleBody, RoleAnswer, RoleListQuery, RolePatchBody } from './schemas.ts';

const tag = 'roles';
const one = { description: 'The role.', schema: RoleAnswer };
const taken = problem('The organisation has a role of this id or name.');
const parameters = { id: example.role };

export const roleRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/roles',
      tag,
      summary: 'Make a role of the organisation’s own',
      description: 'A named set of actions. It can hold only what its maker has.',
      body: NewRoleBody,
      answers: { 201: one, 409: taken },
      examples: [
        {
          name: 'operator',
          body: { name: 'operator', actions: ['things.read', 'things.list', 'subscribe'] },
          status: 201,
        },
      ],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'roles', 'roles.create', { hidden: 'organisation' });
      await mustHold(call, plane, org, [{ actions: call.body.actions, resources: ['*'] }]);
      const role = await plane.registry.roles.create(org, call.body);
      if (role === null) throw new Refusal(409, 'The organisation has as many roles as it may.');
      return json(201, roleAnswer(role), { location: `/roles/${role.id}`, ...etag(role.version) });
    },
  ),
  route(
    {
      method: 'get',
      path: '/roles',
      tag,
      summary: 'Roles of the organisation’s own',
      description: 'Beside the built-in ones: owner, admin, editor and viewer.',
      query: RoleListQuery,
      answers: { 200: { description: 'A page of roles.', schema: page('roles', RoleAnswer) } },
      examples: [{ name: 'all', status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'roles', 'roles.list', { hidden: 'organisation' });
      const { name, tag: tagged } = call.query;
      const found = await plane.registry.roles.list(org, { name, tag: tagged }, requestOf(call.query));
      return json(200, pageAnswer(found, 'roles', roleAnswer));
    },
  ),
  route(
    {
      method: 'get',
      path: '/roles/{id}',
      tag,
      summary: 'A role',
      answers: { 200: one },
      examples: [{ name: 'one', parameters, status: 200 }],
    },
    async (call, plane) => answered(await roleFor(call, plane, 'roles.read')),
  ),
  route(
    {
      method: 'patch',
      path: '/roles/{id}',
      tag,
      summary: 'Change a role; it takes effect at once for all who have it',
      body: RolePatchBody,
      answers: { 200: one, 409: taken, 412: changedSince },
      examples: [{ name: 'describe', parameters, body: { description: 'Looks after the machines.' }, status: 200 }],
    },
    async (call, plane) => {
      const role = await roleFor(call, plane, 'roles.update');
      if (call.body.actions !== undefined)
        await mustHold(call, plane, role.org, [{ actions: call.body.actions, resources: ['*'] }]);
      const updated = await plane.registry.roles.update(role.id, call.body, expectedVersion(call));
      if (updated === null) throw notFound('role');
      return answered(updated);
    },
  ),
  route(
    {
      method: 'delete',
      path: '/roles/{id}',
      tag,
      summary: 'Delete a role',
      description: 'One that somebody has only with cascade=true: they are no members any more then.',
      query: CascadeQuery,
      answers: { ...removed, 409: problem('Somebody has it.') },
      examples: [{ name: 'one', parameters: { id: example.role }, status: 204 }],
    },
    async (call, plane) => {
      const role = await roleFor(call, plane, 'roles.delete');
      const cascade = call.query.cascade ?? false;
      // Who may not remove members may not do it this way either.
      if (cascade) await permit(call, plane, role.org, 'members', 'members.delete');
      const counts = await plane.registry.roles.remove(role.id, cascade);
      if (counts === null) throw notFound('role');
      return deleted(call, counts);
    },
  ),
];

async function roleFor(call: Call<unknown, unknown>, plane: Plane, action: ControlAction): Promise<Role> {
  await call.principal();
  const id = call.parameters.id ?? '';
  const role = isUuid(id) ? await plane.registry.roles.get(id) : null;
  if (role === null) throw notFound('role');
  await permit(call, plane, role.org, `roles/${role.id}`, action);
  return role;
}

const answered = (role: Role): Response => json(200, roleAnswer(role), etag(role.version));
