import { OpenAPIHono, z } from '@hono/zod-openapi';
import { accessRoutes } from '../access/index.ts';
import { applicationRoutes } from '../applications/index.ts';
import { auditRoutes } from '../audit/index.ts';
import { authorityRoutes } from '../certificates/index.ts';
import { speakingDialects } from '../dialects/index.ts';
import { inventoryRoutes } from '../inventory/index.ts';
import { jobRoutes } from '../jobs/index.ts';
import { manifestRoutes } from '../manifest/index.ts';
import { peopleRoutes } from '../people/index.ts';
import { dataPlanePaths } from './data-plane.ts';
import type { OpenApiDocument } from './docs-page.ts';
import { fateRoutes } from './fate.ts';
import { messageRoutes } from './messages.ts';
import { platformRoutes } from './platform.ts';
import type { Answer, Route } from './route.ts';
import { ProblemAnswer } from './schemas.ts';
import { ticketRoutes } from './tickets.ts';

/** Everything that the control plane answers. */
export const routes: readonly Route[] = [
  ...speakingDialects([
    ...peopleRoutes,
    ...ticketRoutes,
    ...inventoryRoutes,
    ...accessRoutes,
    ...authorityRoutes,
    ...applicationRoutes,
    ...auditRoutes,
    ...jobRoutes,
    ...manifestRoutes,
    ...messageRoutes,
    ...fateRoutes,
  ]),
  ...platformRoutes,
];

/** Paths whose bodies may be larger than others', and how large. */
export const largeBodies: ReadonlyMap<string, number> = new Map(
  routes.flatMap(({ specification: { path, itemsBytesMax } }) =>
    itemsBytesMax === undefined ? [] : [[path, itemsBytesMax]],
  ),
);

/** What is told of every route beside its own answers. */
const PROBLEMS: Readonly<Record<number, string>> = {
  401: 'Who asks is not known.',
  403: 'Who asks may not.',
  404: 'There is no such thing, or it is none of yours.',
  503: 'A part of the platform does not answer; try again after Retry-After.',
};

const SECURITY = [{ bearer: [] }, { thing: [] }, { basic: [] }];

/** The OpenAPI 3.1 document, from the schemas that requests are checked by. */
export function openApiDocument(version: string): OpenApiDocument {
  const app = new OpenAPIHono();
  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    description: 'A token of POST /tokens.',
  });
  app.openAPIRegistry.registerComponent('securitySchemes', 'basic', {
    type: 'http',
    scheme: 'basic',
    description: 'Thing id and key.',
  });
  app.openAPIRegistry.registerComponent('securitySchemes', 'thing', {
    type: 'apiKey',
    in: 'header',
    name: 'Authorization',
    description: '`Thing <key>`',
  });
  for (const path of dataPlanePaths) app.openAPIRegistry.registerPath(path);
  for (const { specification } of routes) {
    if (specification.hidden === true) continue;
    const { body, query } = specification;
    const names = [...specification.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? '');
    app.openAPIRegistry.registerPath({
      method: specification.method,
      path: specification.path,
      tags: [specification.tag],
      summary: specification.summary,
      ...(specification.description === undefined ? {} : { description: specification.description }),
      security: specification.open === true ? [] : SECURITY,
      request: {
        ...(names.length === 0
          ? {}
          : { params: z.object(Object.fromEntries(names.map((name) => [name, z.string()]))) }),
        ...(query === undefined ? {} : { query }),
        ...(body === undefined
          ? {}
          : { body: { required: true, content: { 'application/json': { schema: bodyOf(specification, body) } } } }),
      },
      responses: responsesOf(specification),
    });
  }
  return app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'Millrace',
      version,
      description: 'IoT data platform. Errors are application/problem+json (RFC 9457) with the classic member "error".',
      license: { name: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
  }) as unknown as OpenApiDocument;
}

/** Also in the shape of a dialect. */
const bodyOf = ({ dialect }: Route['specification'], body: z.ZodType): z.ZodType =>
  dialect === undefined ? body : z.union([body, dialect.body]);

function responsesOf(specification: Route['specification']) {
  const responses: Record<string, { description: string; content?: Record<string, { schema: z.ZodType }> }> = {};
  for (const [status, answer] of Object.entries(specification.answers)) responses[status] = responseOf(answer);
  const content = { 'application/problem+json': { schema: ProblemAnswer } };
  if (specification.query !== undefined || specification.body !== undefined)
    responses[400] ??= { description: 'The request is malformed, or a parameter is wrong.', content };
  if (specification.body !== undefined) {
    if (specification.open !== true) responses[409] ??= { description: 'It exists already.', content };
    responses[415] ??= { description: 'The body is not JSON.', content };
    responses[422] ??= { description: 'The body is JSON, but wrong; detail names the path.', content };
  }
  if (specification.open !== true)
    for (const [status, description] of Object.entries(PROBLEMS)) responses[status] ??= { description, content };
  return responses;
}

const responseOf = ({ description, schema, type = 'application/json' }: Answer) =>
  schema === undefined ? { description } : { description, content: { [type]: { schema } } };
