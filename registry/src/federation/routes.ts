import { z } from '@hono/zod-openapi';
import { example } from '../http/examples.ts';
import { orgOf } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { type Route, route } from '../http/route.ts';
import { count, text } from '../http/schemas.ts';
import { resolveScope } from '../readings/scope.ts';
import { exposed, expositionOf, type LatestLine, type Sample, sampleOf, typeOf } from './exposition.ts';
import { parseSelector, type Selector } from './selector.ts';

const tag = 'readings';
const SERIES = 1_000;
const SERIES_MAX = 20_000;
const SELECTORS_MAX = 16;
const MAX_AGE_MS = 3_600_000;
const UNITS_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

const Limits = z.object({
  limit: count(SERIES_MAX)
    .pipe(z.number().min(1))
    .optional()
    .describe(`Series at most, 1 to ${SERIES_MAX} (${SERIES}).`),
  max_age: z
    .string()
    .regex(/^\d{1,6}[smhd]?$/, 'must be as 90s, 5m, 1h or 1d')
    .transform((given) => Number.parseInt(given, 10) * UNITS_MS[(/[smhd]$/.exec(given)?.[0] ?? 's') as 's'])
    .optional()
    .openapi({ type: 'string' })
    .describe('Values that are older are left out (1h).'),
  org: z.uuid().optional().describe('The organisation, if you are a member of several and name no channel by its id.'),
});
const OfChannel = Limits.extend({
  name: text(1_024).optional().describe('Full name of the reading.'),
  subtopic: text(1_024).optional().describe('Exactly this subtopic.'),
  publisher: text(1_024).optional().describe('Id of the thing or user.'),
});
const answers = {
  200: {
    description: 'Text of Prometheus, or of OpenMetrics where Accept prefers it.',
    type: 'text/plain',
    schema: z.string(),
  },
};
const description =
  'One gauge, millrace_reading, with the labels channel, publisher, name, subtopic and unit, and the time of the reading. Truth is 1 or 0; texts, data, NaN and infinities are left out.';

export const federationRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/federate',
      tag,
      summary: 'Latest values of chosen series, for Prometheus',
      description: `${description} Which ones say the parameters match[] (up to 16), as Prometheus writes them: millrace_reading{channel="…",name=~"temperature|humidity"}.`,
      query: Limits,
      answers,
      examples: [
        { name: 'of a channel', query: { 'match[]': `millrace_reading{channel="${example.channel}"}` }, status: 200 },
      ],
    },
    async (call, plane) => {
      const given = new URL(call.request.url).searchParams.getAll('match[]');
      if (given.length === 0) throw new Refusal(400, 'Say which series: match[]=millrace_reading{name="temperature"}.');
      if (given.length > SELECTORS_MAX)
        throw new Refusal(400, `The parameter "match[]" is given more than ${SELECTORS_MAX} times.`);
      return answer(call, plane, given.map(parseSelector));
    },
  ),
  route(
    {
      method: 'get',
      path: '/channels/{id}/metrics',
      tag,
      summary: 'Latest values of a channel, for Prometheus',
      description,
      query: OfChannel,
      answers,
      examples: [
        { name: 'of a name', parameters: { id: example.channel }, query: { name: 'temperature' }, status: 200 },
      ],
    },
    (call, plane) => {
      const { name, subtopic, publisher } = call.query;
      const selector: Selector = {
        channel: [call.parameters.id ?? ''],
        ...(name === undefined ? {} : { name: [name] }),
        ...(subtopic === undefined ? {} : { subtopic: [subtopic] }),
        ...(publisher === undefined ? {} : { publisher: [publisher] }),
      };
      return answer(call, plane, [selector]);
    },
  ),
];

async function answer(
  call: Call<z.output<typeof Limits>, unknown>,
  plane: Plane,
  selectors: readonly Selector[],
): Promise<Response> {
  const { limit = SERIES, max_age: maxAgeMs = MAX_AGE_MS } = call.query;
  const samples: Sample[] = [];
  for (const selector of selectors) samples.push(...(await samplesOf(call, plane, selector, limit)));
  const sinceMs = call.context.nowMs - maxAgeMs;
  const fresh = samples.filter(({ timeMs }) => timeMs >= sinceMs);
  const form = expositionOf(call.request.headers.get('accept'));
  return new Response(exposed(fresh, form), { headers: { 'content-type': typeOf(form), vary: 'Accept' } });
}

/** @throws Refusal 403, 404; 422 where there are more series than may be */
async function samplesOf(
  call: Call<unknown, unknown>,
  plane: Plane,
  { channel, publisher, name, subtopic, unit }: Selector,
  limit: number,
): Promise<Sample[]> {
  const whose = {
    ...(channel === undefined ? {} : { channels: [...channel] }),
    ...(publisher === undefined ? {} : { publishers: [...publisher] }),
    ...(subtopic === undefined ? {} : { subtopics: [...subtopic] }),
  };
  const { leftOut: _, nowMs: __, ...scope } = await resolveScope(call, plane, whose, () => orgOf(call, plane));
  const query = {
    ...scope,
    limit,
    ...(name === undefined ? {} : { names: name }),
    ...(subtopic === undefined ? {} : { subtopics: subtopic }),
  };
  const found = await plane.questions.latest(query, { signal: call.request.signal, time: 'ms' });
  // A part of them would look as if the others had ended.
  if (found.cursor !== undefined)
    throw new Refusal(422, `These are more than ${limit} series: narrow them, or raise limit (${SERIES_MAX} at most).`);
  return Buffer.from(found.lines)
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => sampleOf(JSON.parse(line) as LatestLine))
    .filter((sample) => sample !== null)
    .filter((sample) => unit === undefined || unit.includes(sample.labels.unit));
}
