import { isUuid } from '@millrace/core';
import { deleted, etag, expectedVersion } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { PageQuery, StatusListQuery } from '../http/schemas.ts';
import { listOf, permitNew } from '../inventory/lookup.ts';
import { pageAnswer } from '../inventory/page.ts';
import { conflicting, matched, removed } from '../inventory/problems.ts';
import type { ServerPatch, StoredServer } from './network-servers.ts';
import { NewServerBody, ServerAnswer, ServerPatchBody, ServerStatusAnswer, ServersPage } from './server-schemas.ts';
import { changedSettings, newSettings } from './server-settings.ts';

const tag = 'lorawan';
const one = { description: 'The network server, without its secrets.', schema: ServerAnswer };
const changed = { 200: one, ...matched };
const here = { id: example.networkServer };

export const networkServerRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/networkservers',
      tag,
      summary: 'Name a LoRaWAN network server',
      description:
        'ChirpStack v4 or v3, or The Things Stack v3. Every ingress node connects with its broker within a second, and takes its events. Whoever lets it make things must be allowed to make and to connect them.',
      query: PageQuery.pick({ org: true }),
      body: NewServerBody,
      answers: { 201: one, ...conflicting },
      examples: [
        {
          name: 'the broker of a ChirpStack',
          body: {
            name: 'Harbour',
            kind: 'chirpstack-v4',
            mqtt: { url: 'mqtts://chirpstack.example.org:8883', username: 'millrace', password: 'a long password' },
          },
          status: 201,
        },
        {
          name: 'by HTTP, with unknown devices',
          body: {
            name: 'Orchards',
            kind: 'tts-v3',
            http: { url: 'https://eu1.cloud.thethings.network', token: 'NNSXS.EXAMPLE' },
            provisioning: { group_id: example.group, things_per_day_max: 50 },
          },
          status: 201,
        },
      ],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'networkservers', 'networkservers.create');
      await permitProvisioning(call, plane, org, call.body.provisioning);
      const { id, name, kind, enabled } = call.body;
      const created = { id, name, kind, enabled, ...newSettings(call.body) };
      const server = await plane.registry.networkServers.servers.create(org, created);
      return json(201, answer(server), { ...etag(server.version), location: `/networkservers/${server.id}` });
    },
  ),
  route(
    {
      method: 'get',
      path: '/networkservers',
      tag,
      summary: 'List network servers',
      query: StatusListQuery.omit({ tag: true, tags: true, metadata: true }),
      answers: { 200: { description: 'A page of network servers.', schema: ServersPage } },
      examples: [{ name: 'all', status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'networkservers', 'networkservers.list');
      const found = await plane.registry.networkServers.servers.list(listOf(org, call.query));
      return json(200, pageAnswer(found, 'networkservers', answer));
    },
  ),
  route(
    {
      method: 'get',
      path: '/networkservers/{id}',
      tag,
      summary: 'Get a network server',
      answers: { 200: one },
      examples: [{ name: 'by id', parameters: here, status: 200 }],
    },
    async (call, plane) => shown(await serverFor(call, plane, 'read')),
  ),
  route(
    {
      method: 'get',
      path: '/networkservers/{id}/status',
      tag,
      summary: 'How the connections with a network server are',
      answers: { 200: { description: 'What each node says.', schema: ServerStatusAnswer } },
      examples: [{ name: 'by id', parameters: here, status: 200 }],
    },
    async (call, plane) => {
      const { id } = await serverFor(call, plane, 'read');
      const { states, provisioner } = plane.registry.networkServers;
      // What this node knows is told as it is now.
      await states.flush();
      const [nodes, made] = await Promise.all([states.of(id), provisioner.madeToday(id)]);
      return json(200, {
        server: id,
        provisioned_today: made,
        nodes: nodes.map(({ lastEventAt, seenAt, since, ...rest }) => ({
          ...rest,
          since: since.toISOString(),
          last_event_at: lastEventAt?.toISOString() ?? null,
          seen_at: seenAt.toISOString(),
        })),
      });
    },
  ),
  route(
    {
      method: 'patch',
      path: '/networkservers/{id}',
      tag,
      summary: 'Change a network server',
      description:
        'Of mqtt, http and provisioning only what is given changes; null takes the whole away. When a URL comes to name another host, port or scheme, the secrets that were shown there must be given again.',
      body: ServerPatchBody,
      answers: changed,
      examples: [
        { name: 'another topic', parameters: here, body: { mqtt: { topic: 'eu868/application/#' } }, status: 200 },
      ],
    },
    async (call, plane) => {
      const { org, provisioning: before } = await serverFor(call, plane, 'update');
      const { name, enabled, ...parts } = call.body;
      const { mqtt, http, provisioning = before } = parts;
      const isSame = mqtt === undefined && http === undefined && parts.provisioning === undefined;
      // Whoever says where its events come from decides what is made of them.
      if (mqtt !== undefined || enabled === true || parts.provisioning !== undefined)
        await permitProvisioning(call, plane, org, provisioning && { ...before, ...provisioning });
      return update(call, plane, {
        name,
        enabled,
        ...(isSame ? {} : { settings: (before, had, kind) => changedSettings(before, had, kind, parts) }),
      });
    },
  ),
  ...(['enable', 'disable'] as const).map((verb) =>
    route(
      {
        method: 'post',
        path: `/networkservers/{id}/${verb}`,
        tag,
        summary: verb === 'enable' ? 'Connect with a network server again' : 'Take no more events of a network server',
        answers: changed,
        examples: [{ name: verb, parameters: here, status: 200 }],
      },
      async (call, plane) => {
        const { org, provisioning } = await serverFor(call, plane, 'update');
        if (verb === 'enable') await permitProvisioning(call, plane, org, provisioning);
        return update(call, plane, { enabled: verb === 'enable' });
      },
    ),
  ),
  route(
    {
      method: 'delete',
      path: '/networkservers/{id}',
      tag,
      summary: 'Delete a network server',
      description: 'Things and channels of its devices and applications stay.',
      answers: removed,
      examples: [{ name: 'by id', parameters: { id: example.otherNetworkServer }, status: 204 }],
    },
    async (call, plane) => {
      const { id } = await serverFor(call, plane, 'delete');
      if (!(await plane.registry.networkServers.servers.remove(id, expectedVersion(call))))
        throw notFound('network server');
      return deleted(call);
    },
  ),
];

/** @throws Refusal 404, 403 */
async function serverFor(
  call: Call<unknown, unknown>,
  plane: Plane,
  verb: 'read' | 'update' | 'delete',
): Promise<StoredServer> {
  await call.principal();
  const { id = '' } = call.parameters;
  const server = isUuid(id) ? await plane.registry.networkServers.servers.get(id) : null;
  if (server === null) throw notFound('network server');
  const hidden = 'network server';
  await permit(call, plane, server.org, `networkservers/${server.id}`, `networkservers.${verb}`, { hidden });
  return server;
}

/** A server that makes things does so without anybody being asked again: whoever lets it must be allowed to.
 *  @throws Refusal 403, 404 */
async function permitProvisioning(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  provisioning: { readonly group_id?: string | null | undefined } | null | undefined,
): Promise<void> {
  if (provisioning === null || provisioning === undefined) return;
  await permitNew(call, plane, org, 'things', [provisioning]);
  await permit(call, plane, org, 'connections', 'connections.create');
}

async function update(call: Call<unknown, unknown>, plane: Plane, patch: ServerPatch): Promise<Response> {
  const { id = '' } = call.parameters;
  const server = await plane.registry.networkServers.servers.update(id, patch, expectedVersion(call));
  if (server === null) throw notFound('network server');
  return shown(server);
}

const shown = (server: StoredServer): Response => json(200, answer(server), etag(server.version));

const answer = ({ mqtt, http, has, createdAt, updatedAt, ...rest }: StoredServer) => ({
  id: rest.id,
  org: rest.org,
  name: rest.name,
  kind: rest.kind,
  enabled: rest.enabled,
  mqtt: mqtt === null ? null : { ...mqtt, password_set: has.password, key_set: has.key },
  http: http === null ? null : { ...http, token_set: has.token },
  provisioning: rest.provisioning,
  version: rest.version,
  created_at: createdAt.toISOString(),
  updated_at: updatedAt.toISOString(),
});
