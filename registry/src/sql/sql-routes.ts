import { ROW_TYPES } from '../http/negotiation.ts';
import { Refusal } from '../http/refusal.ts';
import type { Answer } from '../http/route.ts';
import { json, type Route, route } from '../http/route.ts';
import { PageQuery } from '../http/schemas.ts';
import { problem } from '../people/answers.ts';
import { analystOf } from './rights.ts';
import { answerSql } from './run.ts';
import { SqlAnswer, SqlBody, SqlSchemaAnswer } from './schemas.ts';

const tag = 'sql';
/** What every route that runs a statement may answer. */
export const sqlAnswers: Readonly<Record<number, Answer>> = {
  200: {
    description: 'The rows: as JSON, or by Accept as NDJSON, CSV, Arrow or Parquet.',
    schema: SqlAnswer,
    also: ROW_TYPES,
  },
  400: problem('It is no SQL, or names what is not there; detail says what and where.'),
  406: problem('Nothing that Accept names can be had.'),
  422: problem('It ran into a limit, or a value could not be computed; detail says which.'),
  429: problem('The organisation runs too many at once; try again after Retry-After.'),
};

export const sqlRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/sql',
      tag,
      summary: 'Ask by SQL',
      description:
        'One SELECT of ClickHouse’s SQL over the organisation’s own rows, or EXPLAIN of one. For users who may read every message of it. What is refused, and why: docs/sql.md.',
      query: PageQuery.pick({ org: true }),
      body: SqlBody,
      answers: sqlAnswers,
      examples: [
        {
          name: 'readings by name',
          body: {
            query:
              'SELECT name, count() AS readings, max(value) AS most FROM readings WHERE time >= {since:DateTime} GROUP BY name ORDER BY name',
            parameters: { since: '2026-01-01 00:00:00' },
          },
          status: 200,
        },
        {
          name: 'with metadata of things',
          body: {
            query:
              "SELECT JSONExtractString(t.metadata, 'room') AS room, avg(r.value) AS mean FROM readings AS r JOIN things AS t ON t.id = r.publisher GROUP BY room",
          },
          status: 200,
        },
        { name: 'the tables of somebody else', body: { query: 'SELECT * FROM system.tables' }, status: 403 },
      ],
    },
    async (call, plane) => {
      const analyst = await analystOf(call, plane);
      const { query, parameters = {}, timeout, format } = call.body;
      return answerSql(call, plane, analyst, { query, parameters, timeout, format });
    },
  ),
  route(
    {
      method: 'get',
      path: '/sql/schema',
      tag,
      summary: 'Tables, columns and functions of SQL',
      description: 'For who completes words, and your limits.',
      query: PageQuery.pick({ org: true }),
      answers: { 200: { description: 'What statements may name.', schema: SqlSchemaAnswer } },
      examples: [{ name: 'all', status: 200 }],
    },
    async (call, plane) => {
      const { role } = await analystOf(call, plane);
      if (plane.sql === null)
        throw new Refusal(503, 'This node answers no SQL: ask another one.', { 'retry-after': '2' });
      const { seconds, memoryBytes, rowsRead, resultRows, resultBytes } = plane.registry.sql.limits(role);
      return json(200, {
        ...plane.sql.schema(),
        limits: {
          seconds,
          memory_bytes: memoryBytes,
          rows_read: rowsRead,
          result_rows: resultRows,
          result_bytes: resultBytes,
        },
      });
    },
  ),
];
