import { example } from '../http/examples.ts';
import { orgOf } from '../http/identity.ts';
import { negotiated, ROW_TYPES } from '../http/negotiation.ts';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { type Route, route } from '../http/route.ts';
import { page } from '../http/schemas.ts';
import { problem } from '../people/answers.ts';
import { bucketsAnswer, pageAnswer, ReadingAnswer, rowsAnswer } from './answers.ts';
import { bodyOf, type MessagesParameters, MessagesQuery, pageLimit, readingsQuery } from './parameters.ts';
import { questionOf } from './question.ts';
import { readableChannel } from './rights.ts';

/** Buckets of a series that a page of them may lie behind. */
const BUCKETS_MAX = 10_000;
const SERIES_MAX = 1_000;

export const messageReadRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/channels/{id}/messages',
      tag: 'readings',
      summary: 'Readings of a channel, newest first',
      description:
        'For things with subscribe on the channel and for members of its organisation. With aggregation one value a bucket and series. Accept or format: JSON in pages, or NDJSON, CSV, Arrow and Parquet as a stream.',
      query: MessagesQuery,
      answers: {
        200: { description: 'A page of readings.', schema: page('messages', ReadingAnswer), also: ROW_TYPES },
        406: problem('Nothing that Accept names can be had.'),
        422: problem('The channels and subtopics are more than can be judged at once.'),
      },
      examples: [
        {
          name: 'the last hour of a name',
          parameters: { id: example.channel },
          query: { name: 'temperature', from: '2026-01-05T11:00:00Z', to: '2026-01-05T12:00:00Z' },
          status: 200,
        },
        {
          name: 'averages of five minutes',
          parameters: { id: example.channel },
          query: { aggregation: 'AVG', interval: '5m', from: 'now-1h' },
          status: 200,
        },
      ],
    },
    async (call, plane) => {
      const { query, context } = call;
      const channel = await readableChannel(call, plane, call.parameters.id ?? '', {
        subtopics: query.subtopic === undefined ? undefined : [query.subtopic],
        org: () => orgOf(call, plane),
      });
      const format = query.format === 'messages' ? 'json' : query.format;
      const form = negotiated(call.request, ['json', 'ndjson', 'csv', 'arrow', 'parquet'], format);
      if (form === 'json') {
        if (query.aggregation !== undefined) return buckets(call, plane, channel);
        const asked = readingsQuery(query, channel.org, channel.id, context.nowMs);
        return pageAnswer(await plane.store.readings(asked), query.time ?? 's');
      }
      for (const name of ['offset', 'cursor', 'total'] as const)
        if (query[name] !== undefined)
          throw new Refusal(400, `The parameter "${name}" is wrong: it is of pages; a stream has all from the start.`);
      const scope = { org: channel.org, channels: [channel.id], nowMs: context.nowMs };
      const limit = query.limit === 'all' ? undefined : query.limit;
      const { kind, question } = questionOf(bodyOf(query, limit), scope);
      const options = {
        format: form,
        signal: call.request.signal,
        urgency: 'interactive',
        ...(query.time === undefined ? {} : { time: query.time }),
      } as const;
      const bytes =
        kind === 'rows' ? plane.questions.rows(question, options) : plane.questions.seriesRows(question, options);
      return rowsAnswer(bytes, form, `messages-${channel.id}`);
    },
  ),
];

/** A page of aggregated values. */
async function buckets(
  { query, context, request }: Call<MessagesParameters, unknown>,
  plane: Plane,
  channel: { readonly id: string; readonly org: string },
): Promise<Response> {
  const limit = pageLimit(query);
  const { offset = 0, order = 'time' } = query;
  if (query.cursor !== undefined)
    throw new Refusal(400, 'The parameter "cursor" is wrong: aggregated values are paged by offset.');
  if (offset + limit > BUCKETS_MAX)
    throw new Refusal(400, `The parameter "offset" is wrong: beyond ${BUCKETS_MAX} buckets use from and to.`);
  const body = { ...bodyOf(query, offset + limit), series_limit: SERIES_MAX };
  const scope = { org: channel.org, channels: [channel.id], nowMs: context.nowMs };
  const { kind, question } = questionOf(body, scope, true);
  if (kind !== 'series') throw new TypeError('buckets are of series');
  const answer = await plane.questions.series(question, { signal: request.signal });
  if (answer.cut)
    throw new Refusal(400, `These are more than ${SERIES_MAX} series: say which, by name, publisher or subtopic.`);
  const descending = question.direction === 'desc';
  return bucketsAnswer(answer, { offset, limit, order, descending }, query.time ?? 's');
}
