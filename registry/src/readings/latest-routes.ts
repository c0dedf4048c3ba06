import { z } from '@hono/zod-openapi';
import { isUuid } from '@millrace/core';
import { example } from '../http/examples.ts';
import { isMember, orgOf } from '../http/identity.ts';
import { negotiated } from '../http/negotiation.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { type Route, route } from '../http/route.ts';
import { count, text } from '../http/schemas.ts';
import { timeFormats } from '../http/time.ts';
import { problem } from '../people/answers.ts';
import { LatestAnswer, latestAnswer } from './answers.ts';
import { LatestBody } from './schemas.ts';
import { resolveScope } from './scope.ts';

const tag = 'readings';
const LIMIT = 1_000;
const FORMS = ['json', 'ndjson'] as const;
const Format = z.object({
  format: z.enum(FORMS).optional().describe('In the place of Accept.'),
  org: z.uuid().optional().describe('The organisation, if you are a member of several and name no channel by its id.'),
});
const LatestQuery = Format.extend({
  name: text(1_024).optional().describe('Full name of the reading.'),
  subtopic: text(1_024).optional().describe('Exactly this subtopic.'),
  limit: count(100_000).pipe(z.number().min(1)).optional().describe('Series at most, 1 to 100,000 (1,000).'),
  cursor: z.string().min(1).max(8_192).optional().describe('From the page before.'),
  time: z.enum(timeFormats).optional().describe('How times are written: s if left out, to the microsecond.'),
});
const ofChannel = LatestQuery.extend({ publisher: text(1_024).optional().describe('Id of the thing or user.') });
const answers = {
  200: { description: 'The last value of each series.', schema: LatestAnswer, also: ['application/x-ndjson'] },
  406: problem('Nothing that Accept names can be had.'),
  422: problem('The question is well-formed, but wrong; detail names the path.'),
};
const description =
  'The reading with the latest time of each channel, name, publisher and subtopic, whatever its kind, in the order of these. It tells neither protocol nor update_time. As JSON, or as NDJSON, which carries the cursor in the head Next-Cursor.';

export const latestRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/channels/{id}/latest',
      tag,
      summary: 'The last value of each series of a channel',
      description,
      query: ofChannel,
      answers,
      examples: [
        { name: 'of all its things', parameters: { id: example.channel }, query: { limit: '10000' }, status: 200 },
      ],
    },
    (call, plane) => {
      const { publisher, ...query } = call.query;
      const publishers = publisher === undefined ? {} : { publishers: [publisher] };
      return latest(call, plane, { ...bodyOf(query), ...publishers, channels: [call.parameters.id ?? ''] });
    },
  ),
  route(
    {
      method: 'get',
      path: '/things/{id}/latest',
      tag,
      summary: 'The last value of each series that a thing published',
      description: `In all channels that you may read. ${description}`,
      query: LatestQuery,
      answers,
      examples: [{ name: 'of a name', parameters: { id: example.thing }, query: { name: 'temperature' }, status: 200 }],
    },
    async (call, plane) => {
      const id = call.parameters.id ?? '';
      const thing = isUuid(id) ? await plane.registry.things.get(id) : null;
      // Its id gives no rights: what it published is in channels, and those are judged.
      if (thing === null || !(await isMember(await call.principal(), plane, thing.org))) throw notFound('thing');
      return latest(call, plane, { ...bodyOf(call.query), publishers: [thing.id] }, thing.org);
    },
  ),
  route(
    {
      method: 'post',
      path: '/readings/latest',
      tag,
      summary: 'The last value of many series',
      description,
      query: Format,
      body: LatestBody,
      answers,
      examples: [
        { name: 'of all that you may read', body: { limit: 10_000 }, status: 200 },
        {
          name: 'of things by what they are',
          body: { selector: { metadata: { floor: 2 } }, names: ['temperature'] },
          status: 200,
        },
      ],
    },
    (call, plane) => latest(call, plane, call.body),
  ),
];

function bodyOf({ name, subtopic, limit, cursor, time }: z.output<typeof LatestQuery>): LatestBody {
  return {
    ...(name === undefined ? {} : { names: [name] }),
    ...(subtopic === undefined ? {} : { subtopics: [subtopic] }),
    ...(limit === undefined ? {} : { limit }),
    ...(cursor === undefined ? {} : { cursor }),
    ...(time === undefined ? {} : { time }),
  };
}

async function latest(
  call: Call<z.output<typeof Format>, unknown>,
  plane: Plane,
  body: LatestBody,
  ofOrg?: string,
): Promise<Response> {
  const form = negotiated(call.request, FORMS, call.query.format);
  const {
    leftOut,
    nowMs: _,
    ...scope
  } = await resolveScope(call, plane, body, async () => ofOrg ?? orgOf(call, plane));
  const { names, subtopics, cursor, time, limit = LIMIT } = body;
  const found = await plane.questions.latest(
    {
      ...scope,
      limit,
      ...(names === undefined ? {} : { names }),
      ...(subtopics === undefined ? {} : { subtopics }),
      ...(cursor === undefined ? {} : { cursor }),
    },
    { signal: call.request.signal, ...(time === undefined ? {} : { time }) },
  );
  if (form === 'json') return latestAnswer(found, limit, leftOut);
  return new Response(found.lines as unknown as string, {
    headers: {
      'content-type': 'application/x-ndjson',
      vary: 'Accept',
      ...(found.cursor === undefined ? {} : { 'next-cursor': found.cursor }),
      ...(leftOut === 0 ? {} : { 'channels-left-out': String(leftOut) }),
    },
  });
}
