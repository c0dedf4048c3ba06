import type { z } from '@hono/zod-openapi';
import { isUuid, type Lwm2mBootstrap } from '@millrace/core';
import { deleted, etag, expectedVersion } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { channelFor, thingFor } from '../inventory/lookup.ts';
import { matched, removed } from '../inventory/problems.ts';
import type { Account } from './accounts.ts';
import { AccountAnswer, AccountBody } from './schemas.ts';

const tag = 'lwm2m';
const path = '/things/{id}/lwm2m';
const LIFETIME_SECONDS = 86_400;
const one = { description: 'The account.', schema: AccountAnswer };

export const accountRoutes: readonly Route[] = [
  route(
    {
      method: 'put',
      path,
      tag,
      summary: 'Make or replace the LwM2M account of a thing',
      description:
        'A thing without an account is known over CoAPS by its id or external id. What is changed holds from the next registration; one under another name, or without DTLS where that is needed now, ends at once.',
      body: AccountBody,
      answers: { 200: one, ...matched },
      examples: [
        {
          name: 'a thermometer',
          parameters: { id: example.thing },
          body: {
            endpoint: 'urn:imei:490154203237518',
            channel_id: example.channel,
            observe: [{ path: '/3303/0/5700', attributes: 'pmin=10&pmax=300' }],
          },
          status: 200,
        },
        {
          name: 'with a bootstrap',
          parameters: { id: example.otherThing },
          body: {
            endpoint: 'lamp-7',
            bootstrap: {
              servers: [{ short_id: 1, uri: 'coaps://iot.example.org:5684', lifetime: 300, binding: 'UQ' }],
            },
          },
          status: 200,
        },
      ],
    },
    async (call, plane) => {
      const { id, org } = await thingFor(call, plane, 'update');
      const { endpoint, security = 'dtls', channel_id, observe = [], bootstrap = null } = call.body;
      // Else it could pass itself off as another's thing that has no account.
      if (isUuid(endpoint) && endpoint !== id)
        throw new Refusal(422, 'The body is wrong: endpoint: a UUID can only be the own id of the thing.');
      const channel =
        channel_id === null || channel_id === undefined ? null : await channelFor(call, plane, 'read', channel_id);
      if (channel !== null && channel.org !== org) throw notFound('channel');
      const account = await plane.registry.lwm2m.accounts.replace(
        id,
        org,
        {
          endpoint,
          security,
          channel: channel?.id ?? null,
          observe: observe.map(({ path: observed, attributes = '' }) => ({ path: observed, attributes })),
          bootstrap: bootstrap === null ? null : bootstrapIn(bootstrap),
        },
        expectedVersion(call),
      );
      return json(200, accountAnswer(account), etag(account.version));
    },
  ),
  route(
    {
      method: 'get',
      path,
      tag,
      summary: 'Get the LwM2M account of a thing',
      answers: { 200: one },
      examples: [{ name: 'a thing', parameters: { id: example.lwm2mThing }, status: 200 }],
    },
    async (call, plane) => {
      const { id } = await thingFor(call, plane, 'read');
      const account = await plane.registry.lwm2m.accounts.get(id);
      if (account === null) throw notFound('account');
      return json(200, accountAnswer(account), etag(account.version));
    },
  ),
  route(
    {
      method: 'delete',
      path,
      tag,
      summary: 'Delete the LwM2M account of a thing',
      description: 'Its registration ends.',
      answers: removed,
      examples: [{ name: 'a thing', parameters: { id: example.lwm2mThing }, status: 204 }],
    },
    async (call, plane) => {
      const { id } = await thingFor(call, plane, 'update');
      const registrations = await plane.registry.lwm2m.accounts.remove(id, expectedVersion(call));
      if (registrations === null) throw notFound('account');
      return deleted(call, { registrations });
    },
  ),
];

type BootstrapInput = NonNullable<z.output<typeof AccountBody>['bootstrap']>;

const bootstrapIn = ({ servers }: BootstrapInput): Lwm2mBootstrap => ({
  servers: servers.map(({ short_id, uri, lifetime, binding, identity, key }) => ({
    shortId: short_id,
    uri,
    lifetimeSeconds: lifetime ?? LIFETIME_SECONDS,
    binding: binding ?? 'U',
    ...(identity === undefined ? {} : { identity }),
    ...(key === undefined ? {} : { key }),
  })),
});

/** @holds no key is ever shown */
const accountAnswer = ({ bootstrap, ...account }: Account) => ({
  thing_id: account.thing,
  endpoint: account.endpoint,
  security: account.security,
  channel_id: account.channel,
  observe: account.observe,
  bootstrap:
    bootstrap === null
      ? null
      : {
          servers: bootstrap.servers.map(({ shortId, uri, lifetimeSeconds, binding, identity, key }) => ({
            short_id: shortId,
            uri,
            lifetime: lifetimeSeconds,
            binding,
            identity: identity ?? null,
            key_set: key !== undefined,
          })),
        },
  version: account.version,
  created_at: account.createdAt.toISOString(),
  updated_at: account.updatedAt.toISOString(),
});
