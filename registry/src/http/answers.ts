import { z } from '@hono/zod-openapi';
import type { Answer, Route } from './route.ts';
import { ProblemAnswer } from './schemas.ts';

type Header = {
  readonly description: string;
  readonly schema: { readonly type: 'string' };
  readonly required?: true;
};
interface Content {
  readonly schema: z.ZodType;
}
export interface Response {
  readonly description: string;
  readonly headers?: Record<string, Header>;
  readonly content?: Record<string, Content>;
}

const header = (description: string, required = false): Header => ({
  description,
  schema: { type: 'string' },
  ...(required ? { required } : {}),
});
const LOCATION = header('Where it is.', true);
const ETAG = header('Its version, for If-Match.', true);
const DELETED = header('What went with it, as connections=3, certificates=1.');
const RETRY_AFTER = header('Seconds to wait before the next try.');
const CHALLENGE = header('Which credentials are taken.');
const PROBLEM = { 'application/problem+json': { schema: ProblemAnswer } };

/** All that a route may answer: its own answers, and what is answered before it is asked. */
export function responsesOf(specification: Route['specification']): Record<string, Response> {
  const { answers, method, open, body, ownBody, query } = specification;
  const responses: Record<string, Response> = {};
  for (const [status, answer] of Object.entries(answers))
    responses[status] = responseOf(Number(status), answer, method);
  const add = (status: number, description: string): void => {
    responses[status] ??= problemOf(status, description);
  };
  if (query !== undefined || body !== undefined || answers[412] !== undefined)
    add(400, 'The request is malformed, or a parameter is wrong.');
  if (open !== true) {
    add(401, 'Who asks is not known.');
    add(403, 'Who asks may not.');
    add(404, 'There is no such thing, or it is none of yours.');
    if (method !== 'get')
      add(409, 'What is there already does not allow it; or the organisation is frozen. detail says which.');
    add(503, 'A part of the platform does not answer; try again after Retry-After.');
  }
  if (body !== undefined || ownBody !== undefined) add(413, 'The body is too large.');
  if (body !== undefined) {
    add(415, 'The body is of another type.');
    add(422, 'The body is well-formed, but wrong; detail names the path.');
  }
  // Addresses are a part of the head.
  if (query !== undefined) add(431, 'The head of the request is larger than 16 KiB.');
  return responses;
}

function responseOf(status: number, answer: Answer, method: string): Response {
  const { description, schema, type = 'application/json', also = [] } = answer;
  const inType = [type].flat().map((each) => [each, { schema }]);
  const inOthers = also.map((each) => [each, { schema: z.any() }]);
  const headers = { ...headersOf(status), ...ownHeaders(status, answer, method) };
  return {
    description,
    ...(Object.keys(headers).length === 0 ? {} : { headers }),
    ...(schema === undefined ? {} : { content: Object.fromEntries([...inType, ...inOthers]) }),
  };
}

function ownHeaders(status: number, { schema }: Answer, method: string): Record<string, Header> {
  const members = membersOf(schema);
  if (method === 'delete') return status === 200 || status === 204 ? { Deleted: DELETED } : {};
  if (status === 202) return 'id' in members ? { Location: LOCATION } : {};
  if (status !== 200 && status !== 201) return {};
  return {
    ...(status === 201 && 'id' in members ? { Location: LOCATION } : {}),
    ...('id' in members && 'version' in members ? { ETag: ETAG } : {}),
  };
}

function membersOf(schema: z.ZodType | undefined): object {
  const { shape } = (schema ?? {}) as { shape?: unknown };
  return typeof shape === 'object' && shape !== null ? shape : {};
}

function headersOf(status: number): Record<string, Header> {
  if (status === 401) return { 'WWW-Authenticate': CHALLENGE };
  return status === 429 || status === 503 ? { 'Retry-After': RETRY_AFTER } : {};
}

function problemOf(status: number, description: string): Response {
  const headers = headersOf(status);
  return { description, ...(Object.keys(headers).length === 0 ? {} : { headers }), content: PROBLEM };
}

/** The answer of a problem, as every route gives it. */
export const problems = (all: Readonly<Record<number, string>>): Record<string, Response> =>
  Object.fromEntries(
    Object.entries(all).map(([status, description]) => [status, problemOf(Number(status), description)]),
  );
