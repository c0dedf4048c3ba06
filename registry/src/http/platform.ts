import { z } from '@hono/zod-openapi';
import { docsPage, docsPolicy } from './docs-page.ts';
import type { Plane } from './plane.ts';
import { json, type Route, route } from './route.ts';

const tag = 'platform';
const CHECK_MS_MAX = 3_000;
const HealthAnswer = z.object({
  status: z.enum(['pass', 'fail']),
  checks: z.record(z.string(), z.string()).describe('pass, or what is wrong and what to do.'),
});

export const platformRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/health/live',
      tag,
      summary: 'Whether the process runs',
      open: true,
      answers: { 200: { description: 'It runs.', schema: z.object({ status: z.literal('pass') }) } },
      examples: [{ name: 'ask', as: 'nobody', status: 200 }],
    },
    () => json(200, { status: 'pass' }, NO_STORE),
  ),
  route(
    {
      method: 'get',
      path: '/health/ready',
      tag,
      summary: 'Whether everything that is needed works',
      open: true,
      query: z.object({
        exclude: z
          .string()
          .max(200)
          .optional()
          .describe(
            'Checks to leave out, comma-separated. A node that takes messages needs the log alone: exclude=store,registry,postgres keeps it in a load balancer while others are away.',
          ),
      }),
      answers: {
        200: { description: 'It does.', schema: HealthAnswer },
        503: {
          description: 'It does not; checks says what is wrong.',
          schema: HealthAnswer.extend({ error: z.string() }),
        },
      },
      examples: [{ name: 'ask', as: 'nobody', status: 200 }],
    },
    async ({ query }, plane) => {
      const checks = await health(plane, query.exclude?.split(',') ?? []);
      const failed = Object.entries(checks).flatMap(([name, told]) =>
        told === null || MERELY_TOLD.has(name) ? [] : [told],
      );
      const answer = {
        status: failed.length === 0 ? 'pass' : 'fail',
        checks: Object.fromEntries(Object.entries(checks).map(([name, told]) => [name, told ?? 'pass'])),
      };
      if (failed.length === 0) return json(200, answer, NO_STORE);
      return json(503, { ...answer, error: failed.join('; ') }, { ...NO_STORE, 'retry-after': '5' });
    },
  ),
  route(
    {
      method: 'get',
      path: '/version',
      tag,
      summary: 'Which version runs',
      open: true,
      answers: {
        200: {
          description: 'Name and version.',
          schema: z.object({ name: z.literal('millrace'), version: z.string() }),
        },
      },
      examples: [{ name: 'ask', as: 'nobody', status: 200 }],
    },
    (_, plane) => json(200, { name: 'millrace', version: plane.version }),
  ),
  route(
    {
      method: 'get',
      path: '/metrics',
      tag,
      summary: 'Metrics as Prometheus reads them',
      open: true,
      answers: { 200: { description: 'Metrics.', type: 'text/plain', schema: z.string() } },
      examples: [{ name: 'ask', as: 'nobody', status: 200 }],
    },
    async (_, plane) =>
      new Response(await plane.metrics.registry.metrics(), {
        headers: { 'content-type': plane.metrics.registry.contentType },
      }),
  ),
  route(
    {
      method: 'get',
      path: '/openapi.json',
      tag,
      summary: 'This document',
      open: true,
      answers: { 200: { description: 'OpenAPI 3.1.', schema: z.looseObject({ openapi: z.string() }) } },
      examples: [{ name: 'ask', as: 'nobody', status: 200 }],
    },
    (_, plane) => json(200, plane.document()),
  ),
  route(
    {
      method: 'get',
      path: '/docs',
      tag,
      summary: 'This document, to read',
      open: true,
      answers: { 200: { description: 'A page.', type: 'text/html', schema: z.string() } },
      examples: [{ name: 'ask', as: 'nobody', status: 200 }],
    },
    (_, plane) =>
      new Response(docsPage(plane.document()), {
        headers: {
          'content-type': 'text/html; charset=utf-8',
          'content-security-policy': docsPolicy,
          'x-content-type-options': 'nosniff',
        },
      }),
  ),
  route(
    {
      method: 'get',
      path: '/.well-known/jwks.json',
      tag,
      summary: 'Public keys that access tokens are checked with',
      open: true,
      answers: {
        200: {
          description: 'A JSON Web Key Set.',
          schema: z.object({ keys: z.array(z.looseObject({ kty: z.string(), kid: z.string() })) }),
        },
      },
      examples: [{ name: 'ask', as: 'nobody', status: 200 }],
    },
    (_, plane) => json(200, plane.registry.credentials.jwks(), { 'cache-control': 'public, max-age=300' }),
  ),
];

const NO_STORE = { 'cache-control': 'no-store' };

/** What a node does without; bulk jobs wait for it. */
const MERELY_TOLD: ReadonlySet<string> = new Set(['redis']);

async function health(plane: Plane, excluded: readonly string[]): Promise<Record<string, string | null>> {
  const { redis } = plane.registry.jobs;
  const checks = [
    { name: 'registry', check: () => plane.registry.health() },
    { name: 'store', check: () => plane.store.health() },
    ...(redis === null ? [] : [{ name: 'redis', check: () => redis.health() }]),
    ...plane.healthChecks,
  ].filter(({ name }) => !excluded.includes(name));
  const told = await Promise.all(checks.map(async ({ name, check }) => [name, await inTime(check)] as const));
  return Object.fromEntries(told);
}

async function inTime(check: () => string | null | Promise<string | null>): Promise<string | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`did not answer within ${CHECK_MS_MAX} ms`), CHECK_MS_MAX);
  });
  try {
    return await Promise.race([check(), late]);
  } catch {
    return 'the check itself failed';
  } finally {
    clearTimeout(timer);
  }
}
