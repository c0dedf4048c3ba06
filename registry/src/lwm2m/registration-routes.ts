import type { Lwm2mRegistration } from '@millrace/core';
import { example } from '../http/examples.ts';
import { orgOf } from '../http/identity.ts';
import { notFound } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { listOf, thingFor } from '../inventory/lookup.ts';
import { pageAnswer } from '../inventory/page.ts';
import { reachOf } from '../inventory/reach.ts';
import { RegistrationAnswer, RegistrationListQuery, RegistrationsPage } from './schemas.ts';

const tag = 'lwm2m';

export const registrationRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/lwm2m/registrations',
      tag,
      summary: 'List the devices of LwM2M that are registered, those that came last first',
      description: 'Those whose lifetime is over are gone. The filters are of their things.',
      query: RegistrationListQuery,
      answers: { 200: { description: 'A page of registrations.', schema: RegistrationsPage } },
      examples: [{ name: 'all', status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      const reach = (await reachOf(call, plane, org, 'things')) ?? undefined;
      const found = await plane.registry.lwm2m.accounts.registrations({ ...listOf(org, call.query), within: reach });
      return json(
        200,
        pageAnswer(found, 'registrations', (each) => registrationAnswer(each, each.name)),
      );
    },
  ),
  route(
    {
      method: 'get',
      path: '/things/{id}/lwm2m/registration',
      tag,
      summary: 'Whether a thing is registered by LwM2M, and what it says to have',
      answers: { 200: { description: 'Its registration.', schema: RegistrationAnswer } },
      examples: [{ name: 'a thing that has not registered', parameters: { id: example.lwm2mThing }, status: 404 }],
    },
    async (call, plane) => {
      const { id, name } = await thingFor(call, plane, 'read');
      const registration = await plane.registry.lwm2m.registrationOf(id);
      if (registration === null) throw notFound('registration: the device has not registered, or its lifetime is over');
      return json(200, registrationAnswer(registration, name));
    },
  ),
];

/** @holds its location is not told: who knows it could end it */
const registrationAnswer = (registration: Lwm2mRegistration, name: string) => ({
  thing_id: registration.thing,
  name,
  endpoint: registration.endpoint,
  lwm2m_version: registration.version,
  binding: registration.binding,
  queue_mode: registration.queueMode,
  lifetime: registration.lifetimeSeconds,
  objects: registration.objects,
  formats: registration.formats,
  address: registration.address,
  node: registration.node,
  secure: registration.secure,
  registered_at: new Date(registration.registeredMs).toISOString(),
  updated_at: new Date(registration.updatedMs).toISOString(),
  expires_at: new Date(registration.expiresMs).toISOString(),
});
