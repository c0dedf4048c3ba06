import { z } from '@hono/zod-openapi';
import { webhookFormats } from '@millrace/core';
import { id, PageQuery, page, StatusListQuery, shared, text } from '../http/schemas.ts';
import { filterProblem } from '../lora/endpoints.ts';

const SUBTOPIC_CHARACTERS_MAX = 512;
const HEADERS_MAX = 20;
/** What tells of the request itself, or proves whose it is, is ours to say. */
const OUR_HEADERS =
  /^(?:host|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|expect|content-.*|webhook-.*|millrace-.*|user-agent)$/i;

const url = text(2_048)
  .superRefine((value, context) => {
    const because = urlProblem(value);
    if (because !== null) context.addIssue({ code: 'custom', message: because });
  })
  .describe('https://host[:port]/path?query. Whether its address may be reached shows when it is sent to.');
const subtopic = text(SUBTOPIC_CHARACTERS_MAX)
  .refine((value) => filterProblem(value) === null, 'has a wild card in a wrong place')
  .describe('Filter, with + for one segment and # at the end for any rest; "" for messages without a subtopic.');
const headers = z
  .record(
    z
      .string()
      .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/, 'is no name of a head')
      .refine((name) => !OUR_HEADERS.test(name), 'is a head that the platform sets itself'),
    z
      .string()
      .max(4_096)
      .regex(/^[\x20-\x7e]*$/, 'must be printable ASCII'),
  )
  .refine((given) => Object.keys(given).length <= HEADERS_MAX, `may be at most ${HEADERS_MAX}`)
  .describe('Sent with each request, as Authorization. Kept sealed: never shown again but for their names.');
const settings = {
  name: text(256).min(1),
  url,
  subtopic,
  format: z
    .enum(webhookFormats)
    .describe('batch: one JSON document for many messages. raw: one request a message, its payload as it came.'),
  batch_messages: z.int().min(1).max(1_000).describe('Messages of one request at most (100).'),
  batch_ms: z.int().min(0).max(60_000).describe('So long a message may wait for others (1,000).'),
  enabled: z.boolean(),
  headers,
};

export const NewWebhookBody = z.strictObject({
  id: id.optional(),
  channel: text(256).min(1).describe('Id or alias of the channel.'),
  name: settings.name,
  url,
  events: z.literal('messages').optional().describe('What is sent: messages, as they were published.'),
  subtopic: subtopic.optional(),
  format: settings.format.optional(),
  batch_messages: settings.batch_messages.optional(),
  batch_ms: settings.batch_ms.optional(),
  enabled: settings.enabled.optional(),
  headers: headers.optional(),
});
export const WebhookPatchBody = z.strictObject(settings).partial();
export const RotateBody = z.strictObject({
  overlap_seconds: z
    .int()
    .min(0)
    .max(7 * 86_400)
    .optional()
    .describe('So long requests are signed with the old secret too (86,400).'),
});
export const ReplayBody = z.strictObject({
  letters: z.array(z.uuid()).min(1).max(1_000).optional().describe('Only these; all if left out.'),
});
export const WebhookListQuery = StatusListQuery.omit({ tag: true, tags: true, metadata: true }).extend({
  channel: text(256).min(1).optional().describe('Only those of this channel: id or alias.'),
});
export const LastQuery = PageQuery.pick({ limit: true });

const { metadata: _metadata, tags: _tags, ...common } = shared;
const webhook = {
  ...common,
  channel: z.uuid(),
  url: z.string(),
  events: z.literal('messages'),
  subtopic: z.string(),
  format: z.enum(webhookFormats),
  batch_messages: z.int(),
  batch_ms: z.int(),
  headers: z.array(z.string()).describe('Names of its own heads; their values are not shown.'),
  disabled_reason: z.string().nullable(),
  made_by: z
    .object({ kind: z.string(), id: z.string().nullable(), name: z.string().nullable() })
    .describe('In whose name it reads: who changed it last.'),
};
export const WebhookAnswer = z.object(webhook).openapi('Webhook');
export const WebhooksPage = page('webhooks', WebhookAnswer);
export const NewWebhookAnswer = z
  .object({ ...webhook, secret: z.string().describe('Signs its requests. Shown this once.') })
  .openapi('NewWebhook');
export const WebhookStatusAnswer = z
  .object({
    webhook: z.uuid(),
    state: z
      .enum(['off', 'waiting', 'delivering', 'failing', 'refused'])
      .describe('waiting: for a node. failing: it does not take them. refused: problem says why nothing is sent.'),
    problem: z.string().nullable(),
    failing_since: z.iso.datetime().nullable(),
    position: z.string().nullable().describe('The next record of the log that it is given.'),
    delivered: z.int(),
    given_up: z.int(),
    skipped: z.int().describe('Records that the log no longer kept, of any channel beside it in its partition.'),
    letters: z.int().describe('Requests that were given up and can be replayed.'),
  })
  .openapi('WebhookStatus');
const attempt = {
  status: z.int().nullable().describe('null: nobody answered.'),
  ms: z.int(),
  error: z.string().nullable().describe('null: it was taken.'),
};
export const TestAnswer = z.object(attempt).openapi('WebhookTest');
export const DeliveriesAnswer = z.object({
  deliveries: z.array(
    z.object({
      id: z.string(),
      webhook_id: z.string().describe('The head webhook-id: the same for each try of a request.'),
      at: z.iso.datetime(),
      messages: z.int(),
      ...attempt,
    }),
  ),
});
export const LettersAnswer = z.object({
  letters: z.array(
    z.object({
      id: z.uuid(),
      webhook_id: z.string(),
      messages: z.int(),
      bytes: z.int(),
      reason: z.string(),
      created_at: z.iso.datetime(),
      replay_at: z.iso.datetime().nullable().describe('When it was asked to be tried again.'),
    }),
  ),
});
export const ReplayAnswer = z.object({ replaying: z.int() });

/** Why a URL can not be a webhook's; null if it can. */
function urlProblem(text: string): string | null {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return 'is no URL';
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'must begin with https:// or http://';
  if (url.port === '0') return 'names port 0';
  // They would be shown to whoever may read it.
  if (url.username !== '' || url.password !== '') return 'holds credentials: use headers';
  return url.hash === '' ? null : 'has a fragment';
}
