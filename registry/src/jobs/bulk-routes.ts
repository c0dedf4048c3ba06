import { example } from '../http/examples.ts';
import { orgOf } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { ITEMS_CHECKED_MAX, json, type Route, route } from '../http/route.ts';
import { channelAnswer, newChannel } from '../inventory/channel-answers.ts';
import { permitNew } from '../inventory/lookup.ts';
import { bulkChannels, bulkThings } from '../inventory/schemas.ts';
import { madeAnswer, newThing } from '../inventory/thing-answers.ts';
import { jobAnswer } from './job-routes.ts';
import { groupsOf } from './jobs.ts';
import { ChannelsMadeAnswer, JobAnswer, ThingsMadeAnswer } from './schemas.ts';

const ITEMS_MAX = 100_000;
const ITEMS_BYTES_MAX = 64 * 1024 * 1024;
/** Groups that the items of one job may be put into. */
const GROUPS_MAX = 100;

const description =
  'Up to 1000 are made at once, all or none. More, up to 100000 (64 MiB; as a JSON array or NDJSON), are made by a job, each for itself: ask GET /jobs/{id} how far it is, and /jobs/{id}/results what became of each.';
const accepted = { description: 'They are being made: Location names the job.', schema: JobAnswer };

export const bulkRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/things/bulk',
      tag: 'things',
      summary: 'Make many things',
      description,
      body: bulkThings,
      itemsBytesMax: ITEMS_BYTES_MAX,
      answers: {
        201: { description: 'The things, in the order of the request.', schema: ThingsMadeAnswer },
        202: accepted,
      },
      examples: [{ name: 'two', body: [{ name: 'One' }, { name: 'Two', group_id: example.group }], status: 201 }],
    },
    async (call, plane) => {
      const org = await permitted(call, plane, 'things');
      if (call.body.length > ITEMS_CHECKED_MAX) return submit(plane, org, 'things.create', call.body);
      const made = await plane.registry.things.create(org, call.body.map(newThing));
      return json(201, { things: madeAnswer(plane, made) });
    },
  ),
  route(
    {
      method: 'post',
      path: '/channels/bulk',
      tag: 'channels',
      summary: 'Make many channels',
      description,
      body: bulkChannels,
      itemsBytesMax: ITEMS_BYTES_MAX,
      answers: {
        201: { description: 'The channels, in the order of the request.', schema: ChannelsMadeAnswer },
        202: accepted,
      },
      examples: [{ name: 'two', body: [{ name: 'One' }, { name: 'Two' }], status: 201 }],
    },
    async (call, plane) => {
      const org = await permitted(call, plane, 'channels');
      if (call.body.length > ITEMS_CHECKED_MAX) return submit(plane, org, 'channels.create', call.body);
      const made = await plane.registry.channels.create(org, call.body.map(newChannel));
      return json(201, { channels: made.map(channelAnswer) });
    },
  ),
];

/** The org, once who asks may make such in each of the groups that the items name. Of a job the items are not checked
 *  yet: what is no id of a group is refused with its line, later.
 *  @throws Refusal 403, 404, 422 */
async function permitted(
  call: Call<unknown, readonly unknown[]>,
  plane: Plane,
  entity: 'things' | 'channels',
): Promise<string> {
  const org = await orgOf(call, plane);
  const groups = groupsOf(call.body);
  if (groups.length > GROUPS_MAX) throw new Refusal(422, `The body is wrong: it names more than ${GROUPS_MAX} groups.`);
  await permitNew(
    call,
    plane,
    org,
    entity,
    groups.map((group) => ({ group_id: group })),
  );
  return org;
}

async function submit(
  plane: Plane,
  org: string,
  kind: 'things.create' | 'channels.create',
  items: readonly unknown[],
): Promise<Response> {
  if (items.length > ITEMS_MAX) throw new Refusal(422, `The body is wrong: it holds more than ${ITEMS_MAX} items.`);
  const job = await plane.registry.jobs.submitLines(org, kind, items);
  return json(202, jobAnswer(job), { location: `/jobs/${job.id}` });
}
