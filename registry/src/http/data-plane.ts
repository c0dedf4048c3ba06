import { z } from '@hono/zod-openapi';
import { problems } from './answers.ts';
import { pathParameters } from './operation.ts';

const Accepted = z.object({ response: z.literal('message sent'), id: z.uuid() }).openapi('Accepted');
const AcceptedBatch = z
  .object({ response: z.literal('messages sent'), count: z.int(), ids: z.array(z.uuid()) })
  .openapi('AcceptedBatch');
const headers = z.object({
  'Idempotency-Key': z
    .string()
    .optional()
    .describe(
      '1 to 128 visible ASCII characters. A message with the key of an earlier one of the same publisher and channel is taken, but not stored again: within a day, and 250,000 messages of the log’s partition, by default.',
    ),
  traceparent: z.string().optional().describe('W3C trace context; kept with the message.'),
});
const PAYLOADS = [
  'application/senml+json',
  'application/senml+cbor',
  'application/json',
  'application/cbor',
  'application/octet-stream',
];
const REFUSALS: Readonly<Record<number, string>> = {
  400: 'The request is malformed: path, subtopic, head or coding of the body.',
  401: 'Who publishes is not known.',
  403: 'It may not publish here.',
  404: 'There is no such channel, or it is none of yours.',
  408: 'The request was not complete in time.',
  413: 'The body is too large, as sent or decompressed.',
  415: 'The content encoding is not one of gzip, deflate, br, zstd.',
  429: 'Too many messages; try again after Retry-After.',
  503: 'The log can take no more now; try again after Retry-After.',
};

/** What the ingress answers, told beside our own routes: to its users it is one API. */
export const dataPlanePaths = [
  publish('/channels/{id}/messages', {
    summary: 'Publish a message',
    description:
      'Answered once the message is on the durable log. `id` is the channel’s id or, for a thing, its alias. The same at `/http/channels/{id}/messages`, and at `/channels/{id}/msg` and `/m/{org}/c/{id}` for older firmware.',
    types: PAYLOADS,
    accepted: 'The message is durable.',
    answer: Accepted,
  }),
  publish('/channels/{id}/messages/{subtopic}', {
    summary: 'Publish a message to a subtopic',
    description: 'A subtopic may have several segments; at most 256 bytes, no wildcards, no empty segment.',
    types: PAYLOADS,
    accepted: 'The message is durable.',
    answer: Accepted,
  }),
  publish('/channels/{id}/messages/batch', {
    summary: 'Publish several messages, all or nothing',
    description:
      'One message a line: a SenML pack (an array) or a JSON object. The whole body is checked, and the log asked for room for all of it, before anything is published; 202 once all are durable. Only a fault while a batch is being written can leave a part of it stored: that is answered 503.',
    types: ['application/x-ndjson'],
    accepted: 'All messages are durable.',
    answer: AcceptedBatch,
    query: z.object({ content_type: z.string().optional().describe('Of every line; told by the line if absent.') }),
  }),
];

interface Publishing {
  readonly summary: string;
  readonly description: string;
  readonly types: readonly string[];
  readonly accepted: string;
  readonly answer: z.ZodType;
  readonly query?: z.ZodObject;
}

function publish(path: string, { summary, description, types, accepted, answer, query }: Publishing) {
  const bytes = z.string().openapi({ format: 'binary' });
  return {
    method: 'post' as const,
    path,
    tags: ['messages'],
    summary,
    description,
    security: [{ bearer: [] }, { thing: [] }, { basic: [] }],
    request: {
      params: pathParameters(path) ?? z.object({}),
      headers,
      ...(query === undefined ? {} : { query }),
      body: { required: true, content: Object.fromEntries(types.map((type) => [type, { schema: bytes }])) },
    },
    responses: {
      202: { description: accepted, content: { 'application/json': { schema: answer } } },
      ...problems(REFUSALS),
    },
  };
}
