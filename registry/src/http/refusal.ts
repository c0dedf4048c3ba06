import { MillraceError, problem } from '@millrace/core';

/** An answer that is no success. Thrown, so that a handler reads as its success; made into a problem in one place. */
export class Refusal extends Error {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  constructor(status: number, detail: string, headers: Readonly<Record<string, string>> = {}) {
    super(detail);
    this.status = status;
    this.headers = headers;
  }
}

export const notFound = (what: string): Refusal => new Refusal(404, `There is no such ${what}.`);

/** The problem document of a refusal. */
export function refuse({ status, message, headers }: Refusal): Response {
  return new Response(JSON.stringify(problem(status, message)), {
    status,
    headers: { 'content-type': 'application/problem+json', ...headers },
  });
}

const CONFLICTS: Readonly<Record<string, string>> = {
  id: 'Another entity has this id.',
  key: 'This key can not be used: choose another one, or leave it out to get a generated one.',
  name: 'Another one of the organisation has this name.',
  alias: 'Another channel of the organisation has this alias.',
  external: 'Another thing of the organisation has this external_id.',
  fingerprint: 'A fingerprint belongs to another thing.',
  endpoint: 'Another device of LwM2M has this endpoint name.',
  email: 'A user with this e-mail exists already.',
};

/** What a fault looks like from outside; null for one that we do not know (500). */
export function refusalOf(error: unknown): Refusal | null {
  if (error instanceof Refusal) return error;
  if (!(error instanceof MillraceError)) return null;
  switch (error.code) {
    case 'POLICY_GUESSED':
      return new Refusal(429, 'Too many unknown keys or tokens: wait a second.', { 'retry-after': '1' });
    case 'REGISTRY_UNREACHABLE':
      return new Refusal(503, 'The registry database does not answer. Try again later.', { 'retry-after': '2' });
    case 'REGISTRY_CONFLICT':
      if (error.facts.field === 'hold')
        return new Refusal(409, `It is held (${error.facts.holds}): release that first, if you may.`);
      if (error.facts.field === 'deletion')
        return new Refusal(409, `Some of it is being deleted already: ${error.facts.deletion}.`);
      return new Refusal(409, CONFLICTS[String(error.facts.field)] ?? 'This exists already.');
    case 'REGISTRY_NOT_FOUND':
      return new Refusal(404, 'Something that the request refers to does not exist.');
    case 'REGISTRY_VERSION_MISMATCH':
      return new Refusal(412, 'It was changed since you read it: read it again, and send its new ETag in If-Match.');
    case 'REGISTRY_IN_USE':
      return new Refusal(409, `It is still needed: ${factsOf(error)}. Take that away first, or add ?cascade=true.`);
    case 'REGISTRY_INVALID':
      return new Refusal(422, `The body is wrong: ${error.facts.field}: ${error.facts.because}.`);
    case 'REGISTRY_FULL':
      return new Refusal(409, `There may be no more of it: the limit is ${factsOf(error)}.`);
    case 'REGISTRY_VALUE_REFUSED':
      return new Refusal(422, 'A text holds a character that can not be kept, as U+0000.');
    case 'STORE_QUERY_INVALID':
      return new Refusal(400, `The query can not be answered: ${error.facts.problem ?? factsOf(error)}.`);
    case 'STORE_QUERY_TOO_EXPENSIVE':
      return new Refusal(400, `The query costs too much${limitOf(error)}.`);
    default:
  }
  return error.retry === 'never'
    ? null
    : new Refusal(503, 'A part of the platform does not answer. Try again later.', { 'retry-after': '2' });
}

/** Which limit a question met, and what can be done. */
function limitOf({ facts: { limit, limitMax, advice } }: MillraceError): string {
  if (limit === undefined) return '. Narrow it: from, to, name, or a smaller offset';
  return `: the limit of ${limit}${limitMax === undefined ? '' : ` (${limitMax})`}. Instead, ${advice}`;
}

const factsOf = (error: MillraceError): string =>
  Object.entries(error.facts)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ') || 'a parameter is wrong';
