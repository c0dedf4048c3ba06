import { z } from '@hono/zod-openapi';
import { example } from '../http/examples.ts';
import { orgOf } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { type Route, route } from '../http/route.ts';
import { questionOf } from '../readings/question.ts';
import { queryOfParameters, ReadingsParameters, type ReadingsQueryBody } from '../readings/schemas.ts';
import { bucketAt } from './bucket.ts';
import { parsePlaces } from './places.ts';
import { type LiveEvent, LiveQuestion } from './question.ts';
import { LiveRights } from './rights.ts';

/** How long a browser waits before it connects anew.  @units ms */
const RETRY_MS = 2_000;
const TYPES = { sse: 'text/event-stream; charset=utf-8', ndjson: 'application/x-ndjson' } as const;
type Form = keyof typeof TYPES;

const Parameters = ReadingsParameters.omit({ limit: true, dir: true, order: true, thin: true, fill: true }).extend({
  org: z.uuid().optional().describe('The organisation, if you are a member of several and name no channel by its id.'),
  format: z.enum(['sse', 'ndjson']).optional().describe('In the place of Accept. sse if neither says.'),
  last_event_id: z
    .string()
    .max(65_536)
    .optional()
    .describe('Goes on after this position of an earlier event, as the header Last-Event-ID does.'),
  ticket: z.string().max(256).optional().describe('Of POST /tickets, for who can send no Authorization header.'),
});

export const liveQuestionRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/readings/live',
      tag: 'readings',
      summary: 'The rows of a query as they arrive',
      description:
        'Takes what GET /readings takes, and gives readings from when they are stored on, as server-sent events, as NDJSON, or in frames of a WebSocket. With aggregations and an interval it gives each bucket once it has ended, and again with a higher revision when late readings change it. Rights are those of the query, and end it when they are lost.',
      ticket: true,
      query: Parameters,
      answers: {
        200: { description: 'Events, until the client leaves.', schema: z.string(), type: Object.values(TYPES) },
        429: { description: 'You have as many open as you may.' },
        503: { description: 'So many are open here as may be.' },
      },
      examples: [
        {
          name: 'a channel that is not there',
          query: { channels: '6f0f4a52-7a5e-4d0c-8f1b-0c2f7a9d3e11', names: 'temperature' },
          status: 404,
        },
        { name: 'buckets without an interval', query: { channels: example.channel, aggregations: 'avg' }, status: 400 },
      ],
    },
    (call, plane) => {
      const { org: _, format, last_event_id: last, ticket: __, ...parameters } = call.query;
      const body = queryOfParameters(parameters);
      if (body.aggregations !== undefined && body.interval === undefined)
        throw new Refusal(400, 'The parameters are wrong: aggregations: need an interval here, as 1m.');
      if (body.unit !== undefined && body.aggregations === undefined)
        throw new Refusal(400, 'The parameters are wrong: unit: is for aggregations here.');
      return open(call, plane, body, format ?? formOf(call.request), call.request.headers.get('last-event-id') || last);
    },
  ),
];

const formOf = (request: Request): Form =>
  /ndjson|jsonl/.test(request.headers.get('accept') ?? '') ? 'ndjson' : 'sse';

async function open(
  call: Call<unknown, unknown>,
  plane: Plane,
  body: ReadingsQueryBody,
  form: Form,
  last: string | undefined,
): Promise<Response> {
  const live = plane.registry.live.questions;
  const resume = last === undefined || last === '' ? null : parsePlaces(last);
  if (resume === null && last !== undefined && last !== '')
    throw new Refusal(400, 'The position to go on from is none: give one that came with an event.');
  const leave = live?.enter((await call.principal()).subject.id);
  let opened = false;
  try {
    const rights = await LiveRights.of(call, plane, body, () => orgOf(call, plane));
    if (live === null || leave === undefined)
      throw new Refusal(501, 'This node can not answer live questions: ask another.');
    const { kind, question } = questionOf(body, rights.scope);
    if (kind === 'series' && question.interval !== undefined) {
      // What would be refused later is refused now.
      const { fromMs, toMs } = bucketAt(question.interval, question.timeZone, Date.now());
      await plane.questions.series({ ...question, fromUs: BigInt(fromMs) * 1_000n, toUs: BigInt(toMs) * 1_000n });
    }
    const watched: (() => void)[] = [leave];
    const asked = new LiveQuestion(
      live,
      {
        org: rights.scope.org,
        selection: question,
        series: kind === 'series' ? question : null,
        time: body.time ?? 's',
        resume,
      },
      () => {
        for (const end of watched) end();
      },
    );
    await asked.open();
    watched.push(rights.watch((reason) => asked.end(reason)));
    opened = true;
    const { signal } = call.request;
    if (signal.aborted) asked.end('client');
    else signal.addEventListener('abort', () => asked.end('client'), { once: true });
    return new Response(streamOf(asked, form), {
      headers: {
        'content-type': TYPES[form],
        // Neither gathered nor compressed on the way.
        'cache-control': 'no-store, no-transform',
        'x-accel-buffering': 'no',
        ...(rights.scope.leftOut === 0 ? {} : { 'channels-left-out': String(rights.scope.leftOut) }),
      },
    });
  } finally {
    if (!opened) leave?.();
  }
}

/** Read as the client takes it, and not ahead. */
function streamOf(question: LiveQuestion, form: Form): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const event = await question.next();
        if (event === null) controller.close();
        else controller.enqueue(Buffer.from(form === 'sse' ? sseOf(event) : `${jsonOf(event)}\n`));
      },
      cancel: () => question.end('client'),
    },
    { highWaterMark: 0 },
  );
}

function jsonOf({ type, position, text }: LiveEvent): string {
  const at = position === '' ? '' : `,"position":"${position}"`;
  return `{"type":"${type}"${at}${text === '' ? '' : `,${text}`}}`;
}

/** @source WHATWG HTML, server-sent events: an id without data is remembered, too */
function sseOf(event: LiveEvent): string {
  const id = event.position === '' ? '' : `id: ${event.position}\n`;
  if (event.type === 'heartbeat') return `: still here\n${id}\n`;
  const retry = event.type === 'subscribed' ? `retry: ${RETRY_MS}\n` : '';
  return `${retry}${id}event: ${event.type}\ndata: ${jsonOf(event)}\n\n`;
}
