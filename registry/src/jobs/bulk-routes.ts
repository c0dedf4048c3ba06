import { example } from '../http/examples.ts';
import { orgOf } from '../http/identity.ts';
import { json, type Route, route } from '../http/route.ts';
import { channelAnswer, newChannel } from '../inventory/channel-answers.ts';
import { permitNew } from '../inventory/lookup.ts';
import { bulkChannels, bulkThings } from '../inventory/schemas.ts';
import { madeAnswer, newThing } from '../inventory/thing-answers.ts';

export const bulkRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/things/bulk',
      tag: 'things',
      summary: 'Make up to 1000 things, all or none',
      body: bulkThings,
      answers: { 201: { description: 'The things, in the order of the request.' } },
      examples: [{ name: 'two', body: [{ name: 'One' }, { name: 'Two', group_id: example.group }], status: 201 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permitNew(call, plane, org, 'things', call.body);
      const made = await plane.registry.things.create(org, call.body.map(newThing));
      return json(201, { things: madeAnswer(plane, made) });
    },
  ),
  route(
    {
      method: 'post',
      path: '/channels/bulk',
      tag: 'channels',
      summary: 'Make up to 1000 channels, all or none',
      body: bulkChannels,
      answers: { 201: { description: 'The channels, in the order of the request.' } },
      examples: [{ name: 'two', body: [{ name: 'One' }, { name: 'Two' }], status: 201 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permitNew(call, plane, org, 'channels', call.body);
      const made = await plane.registry.channels.create(org, call.body.map(newChannel));
      return json(201, { channels: made.map(channelAnswer) });
    },
  ),
];
