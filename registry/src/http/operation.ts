import { z } from '@hono/zod-openapi';
import { responsesOf } from './answers.ts';
import type { Route, RouteExample } from './route.ts';

type Specification = Route['specification'];

const SECURITY = [{ bearer: [] }, { thing: [] }, { basic: [] }];
/** What a parameter of a path is, where the word before it does not say. */
const MEANINGS: Readonly<Record<string, string>> = {
  'orgs/{id}': 'Id of the organisation, or its alias.',
  '{fingerprint}': 'SHA-256 of the certificate, hex.',
  '{invitation}': 'Id of the invitation.',
  '{kind}': 'What it is attached to: thing, user, group or role.',
  '{request}': 'The OCSPRequest in base64, percent-encoded.',
  '{serial}': 'Serial number, hex.',
  '{subtopic}': 'Subtopic, its segments parted by slashes or dots.',
  '{target}': 'Id of what it is attached to.',
  '{thing}': 'Id of the thing.',
  '{user}': 'Id of the user.',
  '{version}': 'Its number.',
};
const SINGULARS: Readonly<Record<string, string>> = {
  apps: 'application',
  authorities: 'authority',
  ca: 'authority',
  certs: 'certificate',
  crl: 'authority',
  grants: 'application',
  keys: 'API key',
  members: 'thing or channel',
  policies: 'policy',
};

/** What OpenAPI tells of one route. */
export function operationOf(specification: Specification, operationId: string) {
  const { method, path, tag, summary, description, open, query } = specification;
  const params = pathParameters(path);
  const headers = requestHeaders(specification);
  const body = bodyOf(specification);
  return {
    method,
    path,
    operationId,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    security: open === true ? [] : SECURITY,
    request: {
      ...(params === null ? {} : { params }),
      ...(query === undefined ? {} : { query }),
      ...(headers === null ? {} : { headers }),
      ...(body === null ? {} : { body }),
    },
    responses: responsesOf(specification),
  };
}

/** Schema of the parameters of a path, each with what it means. */
export function pathParameters(path: string): z.ZodObject | null {
  const parts = path.split('/');
  const shape = parts.flatMap((part, index) => {
    if (!part.startsWith('{')) return [];
    const before = parts[index - 1] ?? '';
    const meaning =
      MEANINGS[`${before}/${part}`] ?? MEANINGS[part] ?? `Id of the ${SINGULARS[before] ?? before.replace(/s$/, '')}.`;
    return [[part.slice(1, -1), z.string().describe(meaning)] as const];
  });
  return shape.length === 0 ? null : z.object(Object.fromEntries(shape));
}

function requestHeaders({ answers, versionInBody }: Specification): z.ZodObject | null {
  const shape = {
    ...(answers[412] === undefined || versionInBody === true
      ? {}
      : {
          'If-Match': z
            .string()
            .regex(/^(?:"[0-9]{1,9}"|\*)$/)
            .optional()
            .describe('ETag of the version that is to be changed; 412 if it was changed since. Any, if left out.'),
        }),
    ...(answers[200] === undefined || answers[204] === undefined
      ? {}
      : { Prefer: z.string().optional().describe('return=representation: 200 and a body instead of 204.') }),
  };
  return Object.keys(shape).length === 0 ? null : z.object(shape);
}

function bodyOf(specification: Specification) {
  const { body, ownBody, dialect, itemsBytesMax, examples = [] } = specification;
  const told = examplesOf(examples);
  if (ownBody !== undefined)
    return {
      required: specification.answers[400] !== undefined,
      content: { [ownBody.type]: { schema: ownBody.schema, ...told } },
    };
  if (body === undefined) return null;
  // Also in the shape of a dialect; more than are checked go to a job.
  const own = itemsBytesMax !== undefined && body instanceof z.ZodArray ? z.array(body.element).min(1) : body;
  const schema = dialect === undefined ? own : z.union([own, dialect.body]);
  const lines = z.unknown().openapi({ description: 'One item a line.' });
  return {
    required: true,
    content: {
      'application/json': { schema, ...told },
      ...(itemsBytesMax === undefined ? {} : { 'application/x-ndjson': { schema: lines } }),
    },
  };
}

function examplesOf(examples: readonly RouteExample[]) {
  const bodies = examples.filter(({ body }) => body !== undefined);
  if (bodies.length === 0) return {};
  return { examples: Object.fromEntries(bodies.map(({ name, body }) => [name, { value: body }])) };
}
