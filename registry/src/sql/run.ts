import type { SqlParameter, SqlRefused, SqlStatement, TenantSql } from '@millrace/core';
import { contentTypeOf, fileEndingOf, negotiated } from '../http/negotiation.ts';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { json } from '../http/route.ts';
import { streamedAnswer } from '../http/streamed.ts';
import { type Analyst, permitTable } from './rights.ts';

export interface Asked {
  readonly query: string;
  readonly parameters: Readonly<Record<string, SqlParameter>>;
  /** @units s */
  readonly timeout?: number | undefined;
  readonly format?: string | undefined;
}

/** An answer of JSON is made as a whole. */
const JSON_BYTES_MAX = 64 * 1024 * 1024;

/** Answers a statement in the form that is asked for.  @throws Refusal */
export async function answerSql(
  call: Call<unknown, unknown>,
  plane: Plane,
  analyst: Analyst,
  asked: Asked,
): Promise<Response> {
  const form = negotiated(call.request, ['json', 'ndjson', 'csv', 'arrow', 'parquet'], asked.format);
  const sql = sqlOf(plane);
  const leave = plane.registry.sql.enter(analyst.org, analyst.role);
  try {
    const statement = statementOf(call, plane, analyst, asked);
    plane.logger.debug({ org: analyst.org, query: asked.query }, 'a statement of SQL');
    if (form === 'json') {
      const { limits } = statement;
      const resultBytes = Math.min(limits.resultBytes, JSON_BYTES_MAX);
      const answer = await sql.ask({ ...statement, limits: { ...limits, resultBytes } });
      if (answer.kind === 'refused') throw refusalOfSql(answer);
      const { columns, data, elapsedSeconds, resultBytes: bytes } = answer;
      return json(200, { columns, data, rows: data.length, statistics: { elapsed: elapsedSeconds, bytes } });
    }
    const answer = await sql.stream(statement, form);
    if (answer.kind === 'refused') throw refusalOfSql(answer);
    return await streamedAnswer(leaving(answer.bytes, leave), {
      contentType: contentTypeOf(form),
      ...(form === 'parquet' || form === 'arrow' ? { fileName: `answer.${fileEndingOf(form)}` } : {}),
    });
  } catch (error) {
    leave();
    throw error;
  } finally {
    if (form === 'json') leave();
  }
}

/** Refuses a statement that would not be run.  @throws Refusal */
export async function checkSql(
  call: Call<unknown, unknown>,
  plane: Plane,
  analyst: Analyst,
  asked: Asked,
): Promise<void> {
  const refused = await sqlOf(plane).check(statementOf(call, plane, analyst, asked));
  if (refused !== null) throw refusalOfSql(refused);
}

function sqlOf({ sql }: Plane): TenantSql {
  if (sql !== null) return sql;
  throw new Refusal(503, 'This node answers no SQL: ask another one.', { 'retry-after': '2' });
}

function statementOf(
  call: Call<unknown, unknown>,
  plane: Plane,
  { org, role }: Analyst,
  { query, parameters, timeout }: Asked,
): SqlStatement {
  const limits = plane.registry.sql.limits(role);
  return {
    org,
    query,
    parameters,
    limits: { ...limits, seconds: Math.min(limits.seconds, timeout ?? limits.seconds) },
    async inventory(table) {
      await permitTable(call, plane, org, table);
      return plane.registry.sql.rows(org, table);
    },
    signal: call.request.signal,
  };
}

const STATUS: Readonly<Record<SqlRefused['reason'], number>> = {
  syntax: 400,
  invalid: 400,
  forbidden: 403,
  failed: 422,
  too_expensive: 422,
};
const BEGINNING: Readonly<Record<SqlRefused['reason'], string>> = {
  syntax: 'The statement is no SQL: ',
  invalid: 'The statement can not be answered: ',
  forbidden: 'The statement is refused: ',
  failed: 'The statement failed: ',
  too_expensive: 'The statement takes too much: ',
};
const refusalOfSql = ({ reason, detail }: SqlRefused): Refusal =>
  new Refusal(STATUS[reason], `${BEGINNING[reason]}${detail.replace(/\.$/, '')}.`);

async function* leaving(bytes: AsyncIterable<Uint8Array>, leave: () => void): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes;
  } finally {
    leave();
  }
}
