import { type Credential, type Position, parsePosition } from '@millrace/core';
import { z } from 'zod';
import { isChannelReference } from '../http/route.ts';
import { filterFault } from '../live/path.ts';
import { subtopicFault } from '../subtopic.ts';

const id = z.string().min(1).max(64);
const channel = z.string().refine(isChannelReference, 'give the id or alias of a channel');
const secret = z.string().min(1).max(8_192);
const position = z.string().transform((text, context): Position => {
  const read = parsePosition(text);
  if (read !== null) return read;
  context.addIssue({ code: 'custom', message: 'is no position: give one that came with a message or subscription' });
  return z.NEVER;
});
const sound =
  (fault: (text: string) => string | null) =>
  (text: string, context: z.RefinementCtx): void => {
    const found = fault(text);
    if (found !== null) context.addIssue({ code: 'custom', message: found });
  };

const Authenticate = z.object({
  type: z.literal('authenticate'),
  id: id.optional(),
  ticket: secret.optional(),
  key: secret.optional(),
  token: secret.optional(),
});
const Subscribe = z.object({
  type: z.literal('subscribe'),
  id,
  channel,
  subtopic: z.string().superRefine(sound(filterFault)).default('#'),
  from: position.optional(),
  slow: z.enum(['disconnect', 'latest']).default('disconnect'),
});
const Unsubscribe = z.object({ type: z.literal('unsubscribe'), id });
const Publish = z.object({
  type: z.literal('publish'),
  id: id.optional(),
  channel,
  subtopic: z.string().superRefine(sound(subtopicFault)).default(''),
  content_type: z
    .string()
    .max(128)
    .regex(/^[\x20-\x7e]*$/)
    .optional(),
  payload: z.string().optional(),
  payload_base64: z.base64().optional(),
  json: z.unknown().optional(),
});
const Request = z.discriminatedUnion('type', [Authenticate, Subscribe, Unsubscribe, Publish]);

/** What a client asks for over the socket at `/ws`, one JSON object a frame. */
export type SocketRequest = z.infer<typeof Request>;
export type AuthenticateRequest = z.infer<typeof Authenticate>;
export type SubscribeRequest = z.infer<typeof Subscribe>;
export type PublishRequest = z.infer<typeof Publish>;

export type ReadRequest =
  | { readonly kind: 'request'; readonly request: SocketRequest }
  /** @shape id: what the client called it, where that can be told */
  | { readonly kind: 'fault'; readonly id: string | null; readonly detail: string };

/** Reads one frame. @throws never: what is no request is a fault with what is wrong */
export function readRequest(frame: Buffer): ReadRequest {
  let value: unknown;
  try {
    value = JSON.parse(frame.toString('utf8'));
  } catch {
    return { kind: 'fault', id: null, detail: 'This is no JSON.' };
  }
  const read = Request.safeParse(value);
  if (read.success) return { kind: 'request', request: read.data };
  const given = (value as { id?: unknown } | null)?.id;
  const [issue] = read.error.issues;
  const where = issue?.path.join('.') ?? '';
  const what = issue?.code === 'invalid_union' ? 'is authenticate, subscribe, unsubscribe or publish' : issue?.message;
  return {
    kind: 'fault',
    id: typeof given === 'string' && given.length <= 64 ? given : null,
    detail: `${where === '' ? 'The message' : where}: ${what ?? 'is wrong'}`,
  };
}

/** The payload of a publish: exactly one of its three forms; null otherwise. */
export function payloadOf(request: PublishRequest): { bytes: Buffer; contentType: string } | null {
  const { payload, payload_base64: base64, json, content_type: contentType = '' } = request;
  const given = [payload, base64, json].filter((form) => form !== undefined).length;
  if (given !== 1) return null;
  if (payload !== undefined) return { bytes: Buffer.from(payload), contentType };
  if (base64 !== undefined) return { bytes: Buffer.from(base64, 'base64'), contentType };
  return { bytes: Buffer.from(JSON.stringify(json)), contentType };
}

/** The credential of an authenticate: exactly one of its three forms; null otherwise. */
export function credentialIn({ ticket, key, token }: AuthenticateRequest): Credential | null {
  if ([ticket, key, token].filter((form) => form !== undefined).length !== 1) return null;
  if (ticket !== undefined) return { kind: 'ticket', ticket };
  return key === undefined ? { kind: 'bearer', token: token as string } : { kind: 'key', key };
}
