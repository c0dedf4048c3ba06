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

const LoraAccepted = z
  .object({
    id: z.uuid().describe('Of the first message that the event became, or of the dead letter.'),
    repeated: z.literal(true).optional().describe('It had been taken already.'),
    dead_letter: z
      .enum(['unknown_device', 'forbidden', 'bad_event'])
      .optional()
      .describe('It became a dead letter, for this reason: no use in sending it again.'),
    detail: z.string().optional(),
  })
  .openapi('LoraAccepted');
const loraQuery = z.object({
  org: z.uuid().optional().describe('Organisation; things and API keys bound to one say it themselves.'),
  server: z
    .uuid()
    .optional()
    .describe('A network server of the organisation, by whose settings unknown devices are provisioned.'),
});
const LORA_REFUSALS = {
  400: 'The event is malformed, or does not say which it is.',
  401: 'Who sends it is not known.',
  403: 'It may not publish to the channel of the event’s application.',
  404: 'No channel stands for the event’s application, or there is no such network server.',
  408: 'The request was not complete in time.',
  413: 'The event is too large.',
  415: REFUSALS[415] as string,
  429: 'Too many messages on the channel; try again after Retry-After.',
  503: 'The log can take no more now; try again after Retry-After.',
};

/** What network servers of LoRaWAN send by HTTP. */
const loraPaths = [
  loraEvent('/lora/chirpstack', {
    summary: 'Take an event of ChirpStack',
    description:
      'The endpoint of ChirpStack’s HTTP integration, v4 or v3, in JSON or protobuf. Answered once the event is on the durable log. Who sends it may publish to the channel whose `metadata.lora.app_id` is the event’s application; the message’s publisher is the device.',
    query: loraQuery.extend({
      event: z.string().describe('As ChirpStack adds it: up, join, ack, txack, log, status, …'),
    }),
    types: ['application/json', 'application/octet-stream'],
  }),
  loraEvent('/lora/tts/{event}', {
    summary: 'Take an event of The Things Stack',
    description:
      'The base URL of a webhook of The Things Stack v3 is `/lora/tts`; whatever path its events have below, they say themselves which they are.',
    query: loraQuery,
    types: ['application/json'],
  }),
];

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
  ...loraPaths,
  {
    method: 'get' as const,
    path: '/auth/decision',
    tags: ['policies'],
    summary: 'May this request pass?',
    description:
      'For a proxy in front: `auth_request` of nginx, `forwardAuth` of Traefik (docs/nginx.md). Asks about `action` and `object`, else about the request that the headers tell of: a message’s path needs the right on its channel, any other that its sender is known. Nodes with the role ingest answer it. 204 names who it is in `X-Millrace-Subject`, `X-Millrace-Kind`, `X-Millrace-Org` and `X-Millrace-Channel`.',
    security: [{ bearer: [] }, { thing: [] }, { basic: [] }],
    request: {
      query: z.object({
        action: z.string().optional().describe('publish, subscribe, or <entity>.<verb> as things.read.'),
        object: z.string().optional().describe('channels/<id>/messages[/<subtopic>], or <entity>[/<id>].'),
        org: z.string().optional().describe('Organisation; things and API keys bound to one say it themselves.'),
      }),
      headers: z.object({
        'X-Original-Method': z.string().optional().describe('Or X-Forwarded-Method.'),
        'X-Original-URI': z.string().optional().describe('Path and query. Or X-Forwarded-Uri.'),
      }),
    },
    responses: {
      204: { description: 'It may pass.' },
      ...problems({
        400: 'The question is malformed.',
        401: 'Who asks is not known.',
        403: 'It may not.',
        429: 'Too many unknown keys from this address; try again after Retry-After.',
        503: 'The registry does not answer; try again after Retry-After.',
      }),
    },
  },
];

function loraEvent(
  path: string,
  {
    summary,
    description,
    query,
    types,
  }: Pick<Publishing, 'summary' | 'description' | 'types'> & { query: z.ZodObject },
) {
  const { request, responses, ...rest } = publish(path, {
    summary,
    description,
    types,
    accepted: 'All of it is durable.',
    answer: LoraAccepted,
    query,
  });
  const { 202: accepted } = responses;
  const { headers: _, ...asked } = request;
  return { ...rest, tags: ['lorawan'], request: asked, responses: { 202: accepted, ...problems(LORA_REFUSALS) } };
}

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
