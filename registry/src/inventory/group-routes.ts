import { deleted, etag, expectedVersion } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { isMember, orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { bulk, PageQuery } from '../http/schemas.ts';
import { present } from './channel-answers.ts';
import type { Group, GroupPatch } from './groups.ts';
import { branchOf, groupFor, listOf, pageOf, permitFalling, placeOf } from './lookup.ts';
import { pageAnswer } from './page.ts';
import { conflicting, matched, removed, wrong } from './problems.ts';
import { reachOf } from './reach.ts';
import {
  CascadeQuery,
  GroupAnswer,
  GroupListQuery,
  GroupPatchBody,
  GroupsMadeAnswer,
  GroupsPage,
  MoveBody,
  NewGroupBody,
  TreeAnswer,
  TreeQuery,
} from './schemas.ts';

const tag = 'groups';
const one = { description: 'The group.', schema: GroupAnswer };
const here = { id: example.group };
const tree = { description: 'Groups within groups, in order of their names.', schema: TreeAnswer };

export const groupRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/groups',
      tag,
      summary: 'Make a group',
      description: 'A tree, 32 levels deep at most. Roles that people have in a group hold in all groups below it.',
      body: NewGroupBody,
      answers: { 201: one },
      examples: [
        { name: 'on top', body: { name: 'Building 7' }, status: 201 },
        { name: 'below another', body: { name: 'Second floor', parent_id: example.group }, status: 201 },
      ],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      const { parent_id, ...rest } = call.body;
      await permitPlace(call, plane, org, parent_id, 'groups', 'groups.create');
      const group = await plane.registry.groups.create(org, { ...rest, parentId: parent_id });
      return oneGroup(201, group, { location: `/groups/${group.id}` });
    },
  ),
  route(
    {
      method: 'post',
      path: '/groups/bulk',
      tag,
      summary: 'Make up to 1000 groups, all or none',
      description: 'In the order of the request: a group may be below one before it, whose id is given.',
      body: bulk(NewGroupBody),
      answers: { 201: { description: 'The groups, in the order of the request.', schema: GroupsMadeAnswer } },
      examples: [
        { name: 'two', body: [{ name: 'East wing' }, { name: 'Attic', parent_id: example.group }], status: 201 },
      ],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      const made = new Set<string>();
      const places = new Set<string | null>();
      for (const { id, parent_id } of call.body) {
        const parent = parent_id?.toLowerCase() ?? null;
        // Below one of the same request, the right at that one's own place counts.
        if (parent === null || !made.has(parent)) places.add(parent);
        if (id !== undefined) made.add(id.toLowerCase());
      }
      for (const place of places) await permitPlace(call, plane, org, place, 'groups', 'groups.create');
      const groups = call.body.map(({ parent_id, ...rest }) => ({ ...rest, parentId: parent_id }));
      return json(201, { groups: (await plane.registry.groups.createMany(org, groups)).map(groupAnswer) });
    },
  ),
  route(
    {
      method: 'get',
      path: '/groups',
      tag,
      summary: 'List groups',
      description: 'Who has a role in groups only is given those and what is below them.',
      query: GroupListQuery,
      answers: { 200: { description: 'A page of groups.', schema: GroupsPage } },
      examples: [{ name: 'the topmost', query: { parent: 'none', order: 'name', dir: 'asc' }, status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      const within = (await reachOf(call, plane, org, 'groups')) ?? undefined;
      const parent = call.query.parent === 'none' ? null : call.query.parent;
      const { below } = call.query;
      const found = await plane.registry.groups.list({ ...listOf(org, call.query), parent, below, within });
      return json(200, pageAnswer(found, 'groups', groupAnswer));
    },
  ),
  route(
    {
      method: 'get',
      path: '/groups/tree',
      tag,
      summary: 'All groups, as a tree',
      query: TreeQuery,
      answers: { 200: tree, ...wrong },
      examples: [{ name: 'two levels', query: { depth: '1' }, status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      const within = (await reachOf(call, plane, org, 'groups')) ?? undefined;
      return json(200, await plane.registry.groupTree({ org, depth: call.query.depth, within }));
    },
  ),
  route(
    {
      method: 'get',
      path: '/groups/{id}',
      tag,
      summary: 'Get a group',
      answers: { 200: one },
      examples: [{ name: 'a group', parameters: here, status: 200 }],
    },
    async (call, plane) => oneGroup(200, await groupFor(call, plane, 'read')),
  ),
  route(
    {
      method: 'get',
      path: '/groups/{id}/children',
      tag,
      summary: 'Groups right below a group',
      query: PageQuery,
      answers: { 200: { description: 'A page of groups.', schema: GroupsPage } },
      examples: [{ name: 'of a group', parameters: here, status: 200 }],
    },
    async (call, plane) => {
      const { id, org } = await groupFor(call, plane, 'read');
      const found = await plane.registry.groups.list({
        org,
        ...pageOf(call.query),
        parent: id,
        order: 'name',
        direction: 'asc',
      });
      return json(200, pageAnswer(found, 'groups', groupAnswer));
    },
  ),
  route(
    {
      method: 'get',
      path: '/groups/{id}/tree',
      tag,
      summary: 'A group and all below it, as a tree',
      query: TreeQuery,
      answers: { 200: tree, ...wrong },
      examples: [{ name: 'of a group', parameters: here, status: 200 }],
    },
    async (call, plane) => {
      const { id, org } = await groupFor(call, plane, 'read');
      return json(200, await plane.registry.groupTree({ org, root: id, depth: call.query.depth }));
    },
  ),
  route(
    {
      method: 'put',
      path: '/groups/{id}',
      tag,
      summary: 'Replace name, description and metadata of a group',
      description: 'Other fields change only when they are given.',
      body: GroupPatchBody,
      answers: { 200: one, ...matched },
      examples: [{ name: 'rename', parameters: here, body: { name: 'Building 8' }, status: 200 }],
    },
    (call, plane) => {
      const patch = present(patchOf(call.body));
      return update(call, plane, { name: '', description: '', metadata: {}, ...patch });
    },
  ),
  route(
    {
      method: 'patch',
      path: '/groups/{id}',
      tag,
      summary: 'Change fields of a group',
      body: GroupPatchBody,
      answers: { 200: one, ...matched },
      examples: [{ name: 'metadata', parameters: here, body: { metadata: { city: 'Ghent' } }, status: 200 }],
    },
    (call, plane) => update(call, plane, patchOf(call.body)),
  ),
  route(
    {
      method: 'post',
      path: '/groups/{id}/move',
      tag,
      summary: 'Put a group, with all that is below it, elsewhere',
      body: MoveBody,
      answers: { 200: one, ...matched },
      examples: [
        { name: 'to the top', parameters: { id: example.otherGroup }, body: { parent_id: null }, status: 200 },
      ],
    },
    (call, plane) => update(call, plane, { parentId: call.body.parent_id }),
  ),
  route(
    {
      method: 'delete',
      path: '/groups/{id}',
      tag,
      summary: 'Delete a group',
      description: 'With cascade=true the groups below go too; things and channels fall out, and stay.',
      query: CascadeQuery,
      answers: { ...removed, ...conflicting },
      examples: [
        { name: 'with all below', parameters: { id: example.otherGroup }, query: { cascade: 'true' }, status: 204 },
      ],
    },
    async (call, plane) => {
      const { id, org } = await groupFor(call, plane, 'delete');
      if (call.query.cascade === true) await permitFalling(call, plane, org, id);
      const gone = await plane.registry.groups.remove(id, call.query.cascade === true, expectedVersion(call));
      if (gone === null) throw notFound('group');
      return deleted(call, gone);
    },
  ),
  route(
    {
      method: 'post',
      path: '/groups/{id}/enable',
      tag,
      summary: 'Let what is in a group work again',
      answers: { 200: one, ...matched },
      examples: [{ name: 'a group', parameters: here, status: 200 }],
    },
    (call, plane) => update(call, plane, { enabled: true }),
  ),
  route(
    {
      method: 'post',
      path: '/groups/{id}/disable',
      tag,
      summary: 'Keep out all that is in a group and below it, at once',
      answers: { 200: one, ...matched },
      examples: [{ name: 'a group', parameters: { id: example.otherGroup }, status: 200 }],
    },
    (call, plane) => update(call, plane, { enabled: false }),
  ),
];

/** @throws Refusal 404, 403 */
async function permitPlace(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  parent: string | null | undefined,
  object: string,
  action: 'groups.create' | 'groups.update',
): Promise<void> {
  // Who is nothing here does not learn which groups there are.
  if (!(await isMember(await call.principal(), plane, org))) throw notFound('organisation');
  await permit(call, plane, org, object, action, { groups: await placeOf(plane, org, parent) });
}

async function update(call: Call<unknown, unknown>, plane: Plane, patch: GroupPatch): Promise<Response> {
  const group = await groupFor(call, plane, 'update');
  const { id, org } = group;
  // A move takes the right above it, where it comes from and where it goes: roles are inherited from there.
  if (patch.parentId !== undefined && (patch.parentId?.toLowerCase() ?? null) !== group.parentId) {
    await permit(call, plane, org, `groups/${id}`, 'groups.update', { groups: branchOf(group).slice(0, -1) });
    await permitPlace(call, plane, org, patch.parentId, `groups/${id}`, 'groups.update');
  }
  const updated = await plane.registry.groups.update(id, patch, expectedVersion(call));
  if (updated === null) throw notFound('group');
  return oneGroup(200, updated);
}

function patchOf({ parent_id, ...rest }: { parent_id?: string | null | undefined } & Omit<GroupPatch, 'parentId'>) {
  return { ...rest, parentId: parent_id };
}

const oneGroup = (status: number, group: Group, headers: Readonly<Record<string, string>> = {}): Response =>
  json(status, groupAnswer(group), { ...etag(group.version), ...headers });

function groupAnswer(group: Group) {
  return {
    id: group.id,
    org: group.org,
    name: group.name,
    parent_id: group.parentId,
    ancestors: group.ancestors,
    description: group.description,
    enabled: group.enabled,
    active: group.active,
    metadata: group.metadata,
    tags: group.tags,
    version: group.version,
    created_at: group.createdAt.toISOString(),
    updated_at: group.updatedAt.toISOString(),
  };
}
