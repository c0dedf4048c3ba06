import { isUuid } from '@millrace/core';
import { deleted, etag, expectedVersion } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { ListQuery, PageQuery } from '../http/schemas.ts';
import { listOf } from '../inventory/lookup.ts';
import { pageAnswer } from '../inventory/page.ts';
import { conflicting, matched, removed } from '../inventory/problems.ts';
import { analystOf } from './rights.ts';
import { answerSql, checkSql } from './run.ts';
import type { SavedQuery } from './saved-queries.ts';
import { RunBody, SavedQueriesPage, SavedQueryAnswer, SavedQueryBody } from './schemas.ts';
import { sqlAnswers } from './sql-routes.ts';

const tag = 'sql';
const one = { description: 'The saved query.', schema: SavedQueryAnswer };
const unknown = { id: example.message };
const newest = {
  name: 'Hottest today',
  description: 'The highest temperature of each device since a moment.',
  query:
    'SELECT publisher, max(value) AS most FROM readings WHERE name = {name:String} AND time >= {since:DateTime} GROUP BY publisher ORDER BY most DESC',
  parameters: { name: 'temperature', since: '2026-01-01 00:00:00' },
};

export const savedQueryRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/sql/queries',
      tag,
      summary: 'Save a query',
      description:
        'The statement is checked, not run. Its parameters have the values that are given here unless who runs it gives others.',
      query: PageQuery.pick({ org: true }),
      body: SavedQueryBody,
      answers: { 201: one, ...conflicting },
      examples: [{ name: 'with parameters', body: newest, status: 201 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'queries', 'queries.create');
      const given = await checked(call, plane, org, call.body);
      const saved = await plane.registry.sql.queries.create(org, given);
      return json(201, answer(saved), { ...etag(saved.version), location: `/sql/queries/${saved.id}` });
    },
  ),
  route(
    {
      method: 'get',
      path: '/sql/queries',
      tag,
      summary: 'List saved queries',
      query: ListQuery.omit({ tag: true, tags: true, metadata: true }),
      answers: { 200: { description: 'A page of saved queries.', schema: SavedQueriesPage } },
      examples: [{ name: 'by name', query: { order: 'name', dir: 'asc' }, status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'queries', 'queries.list');
      return json(200, pageAnswer(await plane.registry.sql.queries.list(listOf(org, call.query)), 'queries', answer));
    },
  ),
  route(
    {
      method: 'get',
      path: '/sql/queries/{id}',
      tag,
      summary: 'Get a saved query',
      answers: { 200: one },
      examples: [{ name: 'one that never was', parameters: unknown, status: 404 }],
    },
    async (call, plane) => shown(await queryFor(call, plane, 'read')),
  ),
  route(
    {
      method: 'put',
      path: '/sql/queries/{id}',
      tag,
      summary: 'Replace a saved query',
      body: SavedQueryBody,
      answers: { 200: one, ...matched, ...conflicting },
      examples: [{ name: 'one that never was', parameters: unknown, body: newest, status: 404 }],
    },
    async (call, plane) => {
      const { id, org } = await queryFor(call, plane, 'update');
      const given = await checked(call, plane, org, call.body);
      const saved = await plane.registry.sql.queries.replace(id, given, expectedVersion(call));
      if (saved === null) throw notFound('query');
      return shown(saved);
    },
  ),
  route(
    {
      method: 'delete',
      path: '/sql/queries/{id}',
      tag,
      summary: 'Delete a saved query',
      answers: removed,
      examples: [{ name: 'one that never was', parameters: unknown, status: 404 }],
    },
    async (call, plane) => {
      const { id } = await queryFor(call, plane, 'delete');
      if (!(await plane.registry.sql.queries.remove(id, expectedVersion(call)))) throw notFound('query');
      return deleted(call);
    },
  ),
  route(
    {
      method: 'post',
      path: '/sql/queries/{id}/run',
      tag,
      summary: 'Run a saved query',
      description: 'As POST /sql, with the rights of who runs it.',
      body: RunBody,
      answers: sqlAnswers,
      examples: [
        { name: 'one that never was', parameters: unknown, body: { parameters: { name: 'humidity' } }, status: 404 },
      ],
    },
    async (call, plane) => {
      const saved = await queryFor(call, plane, 'read');
      const analyst = await analystOf(call, plane, saved.org);
      const { parameters = {}, timeout, format } = call.body;
      return answerSql(call, plane, analyst, {
        query: saved.query,
        parameters: { ...saved.parameters, ...parameters },
        timeout,
        format,
      });
    },
  ),
];

/** @throws Refusal 400, 403 what would not be run */
async function checked(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  {
    name,
    description = '',
    query,
    parameters = {},
  }: {
    name: string;
    description?: string | undefined;
    query: string;
    parameters?: SavedQuery['parameters'] | undefined;
  },
) {
  await checkSql(call, plane, await analystOf(call, plane, org), { query, parameters });
  return { name, description, query, parameters };
}

/** @throws Refusal 404, 403 */
async function queryFor(
  call: Call<unknown, unknown>,
  plane: Plane,
  verb: 'read' | 'update' | 'delete',
): Promise<SavedQuery> {
  await call.principal();
  const id = call.parameters.id ?? '';
  const saved = isUuid(id) ? await plane.registry.sql.queries.get(id) : null;
  if (saved === null) throw notFound('query');
  await permit(call, plane, saved.org, `queries/${saved.id}`, `queries.${verb}`, { hidden: 'query' });
  return saved;
}

const shown = (saved: SavedQuery): Response => json(200, answer(saved), etag(saved.version));
const answer = ({ createdAt, updatedAt, ...rest }: SavedQuery) => ({
  ...rest,
  created_at: createdAt.toISOString(),
  updated_at: updatedAt.toISOString(),
});
