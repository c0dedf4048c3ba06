import { z } from '@hono/zod-openapi';
import { example } from '../http/examples.ts';
import { orgOf } from '../http/identity.ts';
import { negotiated, ROW_TYPES } from '../http/negotiation.ts';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { type Route, route } from '../http/route.ts';
import { problem } from '../people/answers.ts';
import { rowsAnswer, SeriesQueryAnswer, seriesAnswer } from './answers.ts';
import { questionOf } from './question.ts';
import { queryOfParameters, ReadingsParameters, ReadingsQueryBody } from './schemas.ts';
import { resolveScope } from './scope.ts';

const tag = 'readings';
const FORMS = ['json', 'ndjson', 'csv', 'arrow', 'parquet'] as const;
const Format = z.object({
  format: z.enum(FORMS).optional().describe('In the place of Accept.'),
  org: z.uuid().optional().describe('The organisation, if you are a member of several and name no channel by its id.'),
});
const answers = {
  200: {
    description: 'Series with their points; as rows in the other formats.',
    schema: SeriesQueryAnswer,
    also: ROW_TYPES,
  },
  406: problem('Nothing that Accept names can be had.'),
  422: problem('The question is well-formed, but wrong; detail names the path.'),
};
const description =
  'For things with subscribe on the channels and for members of their organisation. Each channel that is named must be readable; without, all are asked that are. Never are two series mixed in one, unless across says so. JSON has numbers; NDJSON, CSV, Arrow and Parquet have every kind of value, as a stream of rows.';

export const queryRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/readings/query',
      tag,
      summary: 'Readings of many series, as they are or aggregated',
      description,
      query: Format,
      body: ReadingsQueryBody,
      answers,
      examples: [
        {
          name: 'a day by the hour, in a time zone',
          body: {
            channels: [example.channel],
            names: ['temperature'],
            from: 'now-1d/d',
            to: 'now/d',
            aggregations: ['min', 'avg', 'max', 'p95'],
            interval: '1h',
            time_zone: 'Europe/Berlin',
          },
          status: 200,
        },
        {
          name: 'all devices of a floor, thinned for a chart',
          body: { selector: { metadata: { floor: 2 } }, from: 'now-1mo', thin: 1_000 },
          status: 200,
        },
      ],
    },
    (call, plane) => ask(call, plane, call.body, call.query.format),
  ),
  route(
    {
      method: 'get',
      path: '/readings',
      tag,
      summary: 'The same, of a query that fits into an address',
      description,
      query: ReadingsParameters.extend(Format.shape),
      answers,
      examples: [
        {
          name: 'the last quarter of an hour',
          query: {
            channels: example.channel,
            names: 'temperature',
            from: 'now-15m',
            aggregations: 'avg',
            interval: '1m',
          },
          status: 200,
        },
      ],
    },
    (call, plane) => {
      const { format, org: _, ...parameters } = call.query;
      return ask(call, plane, queryOfParameters(parameters), format);
    },
  ),
];

async function ask(
  call: Call<unknown, unknown>,
  plane: Plane,
  body: ReadingsQueryBody,
  format: (typeof FORMS)[number] | undefined,
): Promise<Response> {
  const form = negotiated(call.request, FORMS, format);
  const scope = await resolveScope(call, plane, body, () => orgOf(call, plane));
  if (form === 'json') {
    const { vs, vb, vd, aggregations } = body;
    if (aggregations === undefined && [vs, vb, vd].some((filter) => filter !== undefined))
      throw new Refusal(
        422,
        'JSON has series of numbers, so nothing that vs, vb or vd select: ask for ndjson, csv, arrow or parquet, or for aggregations: ["count"].',
      );
    const { kind, question } = questionOf(body, scope, true);
    if (kind !== 'series') throw new TypeError('JSON is of series');
    const { time = 's' } = body;
    const answer = await plane.questions.seriesText(question, { signal: call.request.signal, time });
    return seriesAnswer(answer, scope.leftOut, time);
  }
  const { kind, question } = questionOf(body, scope);
  const options = {
    format: form,
    signal: call.request.signal,
    urgency: 'interactive',
    ...(body.time === undefined ? {} : { time: body.time }),
  } as const;
  const { questions } = plane;
  const bytes = kind === 'rows' ? questions.rows(question, options) : questions.seriesRows(question, options);
  return rowsAnswer(bytes, form, 'readings', scope.leftOut);
}
