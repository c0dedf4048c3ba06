import { z } from '@hono/zod-openapi';
import { example } from '../http/examples.ts';
import { json, type Route } from '../http/route.ts';
import { NewThingBody, ThingAnswer, ThingPatchBody, ThingsPage } from '../inventory/schemas.ts';
import { Done, Plugged, references } from './schemas.ts';
import { type Accent, type Ask, type Native, translated } from './translation.ts';

const tag = 'first dialect';
const Devices = z.strictObject({ devices: references });
const id = (native: Native): string => String(native.body.id);
const done = (response: string) => ({ description: `{"response": "${response}"}`, schema: Done });

/** The channel's own answer says that it was made, in that dialect's word. */
export const firstAccents: readonly Accent[] = [
  {
    method: 'post',
    path: '/channels',
    adds: { members: z.object({ response: z.literal('created') }), from: () => ({ response: 'created' }) },
  },
];

/** Things were devices, and connected by a plug. */
export const firstDialect = (ask: Ask): readonly Route[] => [
  translated(
    ask,
    {
      method: 'post',
      path: '/devices',
      tag,
      summary: 'Make a device (a thing)',
      body: NewThingBody,
      answers: {
        201: {
          description: 'The thing, and {"response": "created"}.',
          schema: z.object({ ...ThingAnswer.shape, response: z.literal('created') }),
        },
      },
      examples: [{ name: 'a sensor', body: { name: 'Thermometer' }, status: 201 }],
    },
    ({ body }) => ({ method: 'post', path: '/things', body }),
    (native) =>
      json(
        201,
        { response: 'created', ...native.body },
        { location: `/devices/${id(native)}`, etag: native.response.headers.get('etag') ?? '' },
      ),
  ),
  translated(
    ask,
    {
      method: 'get',
      path: '/devices',
      tag,
      summary: 'List devices',
      answers: { 200: { description: 'A page of things.', schema: ThingsPage } },
      examples: [{ name: 'all', status: 200 }],
    },
    ({ request }) => ({ method: 'get', path: '/things', query: Object.fromEntries(new URL(request.url).searchParams) }),
  ),
  translated(
    ask,
    {
      method: 'get',
      path: '/devices/{id}',
      tag,
      summary: 'Get a device',
      answers: { 200: { description: 'The thing.', schema: ThingAnswer } },
      examples: [{ name: 'one', parameters: { id: example.thing }, status: 200 }],
    },
    ({ parameters }) => ({ method: 'get', path: '/things/{id}', parameters }),
  ),
  translated(
    ask,
    {
      method: 'put',
      path: '/devices/{id}',
      tag,
      summary: 'Change a device',
      body: ThingPatchBody,
      answers: { 200: done('updated') },
      examples: [{ name: 'rename', parameters: { id: example.thing }, body: { name: 'Hall' }, status: 200 }],
    },
    ({ parameters, body }) => ({ method: 'patch', path: '/things/{id}', parameters, body }),
    (native) => json(200, { response: 'updated', id: id(native) }),
  ),
  translated(
    ask,
    {
      method: 'delete',
      path: '/devices/{id}',
      tag,
      summary: 'Delete a device',
      answers: { 200: done('deleted') },
      examples: [{ name: 'one', parameters: { id: example.otherThing }, status: 200 }],
    },
    ({ parameters }) => ({ method: 'delete', path: '/things/{id}', parameters }),
    (_, { parameters }) => json(200, { response: 'deleted', id: parameters.id }),
  ),
  ...(['plug', 'unplug'] as const).map((verb) =>
    translated(
      ask,
      {
        method: 'post',
        path: `/channels/{id}/${verb}`,
        tag,
        summary: verb === 'plug' ? 'Connect devices with a channel' : 'Disconnect devices from a channel',
        body: Devices,
        answers: { 200: { description: `{"response": "${verb}ged"}`, schema: Plugged } },
        examples: [
          {
            name: 'one',
            parameters: { id: example.otherChannel },
            body: { devices: [verb === 'plug' ? example.otherThing : example.thing] },
            status: 200,
          },
        ],
      },
      ({ parameters, body }) => ({
        method: 'post',
        path: verb === 'plug' ? '/connect' : '/disconnect',
        body: { channel_ids: [parameters.id], thing_ids: body.devices },
      }),
      () => json(200, { response: `${verb}ged` }),
    ),
  ),
];
