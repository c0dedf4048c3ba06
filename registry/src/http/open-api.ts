import { OpenAPIHono } from '@hono/zod-openapi';
import { accessRoutes } from '../access/index.ts';
import { applicationRoutes } from '../applications/index.ts';
import { auditRoutes } from '../audit/index.ts';
import { backupRoutes } from '../backup/backup-routes.ts';
import { authorityRoutes } from '../certificates/index.ts';
import { commandRoutes } from '../commands/index.ts';
import { deadLetterRoutes } from '../deadletters/index.ts';
import { speakingDialects } from '../dialects/index.ts';
import { exportRoutes } from '../exports/export-routes.ts';
import { fateRoutes } from '../fate/index.ts';
import { federationRoutes } from '../federation/routes.ts';
import { importRoutes } from '../imports/index.ts';
import { inventoryRoutes } from '../inventory/index.ts';
import { jobRoutes } from '../jobs/index.ts';
import { liveQuestionRoutes } from '../live/index.ts';
import { loraRoutes } from '../lora/index.ts';
import { lwm2mRoutes } from '../lwm2m/index.ts';
import { manifestRoutes } from '../manifest/index.ts';
import { peopleRoutes } from '../people/index.ts';
import { readingRoutes } from '../readings/index.ts';
import { retentionRoutes } from '../retention/index.ts';
import { savedQueryRoutes, sqlRoutes } from '../sql/index.ts';
import { webhookRoutes } from '../webhooks/index.ts';
import { dataPlanePaths } from './data-plane.ts';
import type { OpenApiDocument } from './docs-page.ts';
import { messageRoutes } from './messages.ts';
import { operationOf } from './operation.ts';
import { operationIds } from './operation-id.ts';
import { platformRoutes } from './platform.ts';
import type { Route } from './route.ts';
import { tags } from './tags.ts';
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
    ...exportRoutes,
    ...importRoutes,
    ...loraRoutes,
    ...manifestRoutes,
    ...commandRoutes,
    ...lwm2mRoutes,
    ...readingRoutes,
    ...federationRoutes,
    ...liveQuestionRoutes,
    ...messageRoutes,
    ...sqlRoutes,
    ...savedQueryRoutes,
    ...fateRoutes,
    ...deadLetterRoutes,
    ...retentionRoutes,
    ...webhookRoutes,
    ...backupRoutes,
  ]),
  ...platformRoutes,
];

/** Paths whose bodies may be larger than others', and how large. */
export const largeBodies: ReadonlyMap<string, number> = new Map(
  routes.flatMap(({ specification: { path, itemsBytesMax, ownBody } }) => {
    const bytesMax = itemsBytesMax ?? ownBody?.bytesMax;
    return bytesMax === undefined ? [] : [[path, bytesMax]];
  }),
);

/** The OpenAPI 3.1 document, from the schemas that requests are checked by. */
export function openApiDocument(version: string): OpenApiDocument {
  const app = new OpenAPIHono();
  for (const [name, scheme] of Object.entries(SCHEMES))
    app.openAPIRegistry.registerComponent('securitySchemes', name, scheme);
  const told = routes.filter(({ specification }) => specification.hidden !== true);
  const idOf = operationIds(
    [...dataPlanePaths, ...told.map(({ specification }) => specification)].map(({ path }) => path),
  );
  for (const path of dataPlanePaths)
    app.openAPIRegistry.registerPath({ ...path, operationId: idOf(path.method, path.path) });
  for (const { specification } of told)
    app.openAPIRegistry.registerPath(operationOf(specification, idOf(specification.method, specification.path)));
  const document = app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'Millrace',
      version,
      description:
        'IoT data platform. Errors are application/problem+json (RFC 9457) with the classic member "error". Lists are pages: offset and limit, or the cursor of the page before. What was read with an ETag is changed with If-Match.',
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
    },
    tags: [...tags],
    servers: [{ url: '/' }],
  }) as unknown as OpenApiDocument;
  for (const { specification } of told) addExamples(document, specification);
  return unflagged(document);
}

/** Patterns of JSON Schema are Unicode without a flag; the generator writes it behind them. */
const unflagged = (document: OpenApiDocument): OpenApiDocument =>
  JSON.parse(JSON.stringify(document), (key, value: unknown) =>
    key === 'pattern' && typeof value === 'string' ? value.replace(/\/u$/, '') : value,
  );

const SCHEMES = {
  bearer: {
    type: 'http',
    scheme: 'bearer',
    description: 'An access token (POST /tokens), an API key (POST /keys), or a token of an application or a thing.',
  },
  thing: { type: 'apiKey', in: 'header', name: 'Authorization', description: '`Thing <key>`' },
  basic: { type: 'http', scheme: 'basic', description: 'Thing id and key.' },
} as const;

/** Values of parameters, as the first example has them that has any. */
function addExamples(document: OpenApiDocument, { path, method, examples = [] }: Route['specification']): void {
  const operation = document.paths?.[path]?.[method] as { parameters?: Parameter[] } | undefined;
  for (const parameter of operation?.parameters ?? []) {
    const from = parameter.in === 'path' ? 'parameters' : 'query';
    const value = examples.map((example) => example[from]?.[parameter.name]).find((given) => given !== undefined);
    if (value !== undefined && parameter.in !== 'header') parameter.example = value;
  }
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  example?: unknown;
}
