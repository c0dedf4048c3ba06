import { type AnswerBytes, SqlFailed, type SqlStatement } from '@millrace/core';
import { type Asking, userOf } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { analystOf, permitTable } from '../sql/rights.ts';
import { ExportFailure } from './failure.ts';
import type { ExportFormat, SqlQuestion } from './schemas.ts';

interface Asked {
  readonly org: string;
  readonly question: SqlQuestion;
}

/** Whether a statement would be run for who asks, in their organisation or the one that they name.
 *  @returns the organisation  @throws Refusal 400, 403, 404, 422, 503 */
export async function checkSql(call: Call<unknown, unknown>, plane: Plane, question: SqlQuestion): Promise<string> {
  const { org } = await analystOf(call, plane);
  const { sql, statement } = await prepared(call, plane, { org, question });
  const refused = await sql.check(statement);
  if (refused !== null) throw new Refusal(refused.reason === 'forbidden' ? 403 : 400, refused.detail);
  return org;
}

/** The answer of a statement, with the rights and limits that who asked for it has now.
 *  @throws ExportFailure, Refusal, also while it is iterated */
export async function sqlAnswer(
  asking: Asking,
  plane: Plane,
  { org, question }: Asked,
  format: ExportFormat,
  signal: AbortSignal,
): Promise<AnswerBytes> {
  const { sql, statement } = await prepared(asking, plane, { org, question });
  const answer = await sql.stream({ ...statement, signal }, format);
  if (answer.kind === 'refused') throw new ExportFailure(answer.detail);
  return failing(answer.bytes);
}

async function* failing(bytes: AnswerBytes): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes;
  } catch (error) {
    throw error instanceof SqlFailed ? new ExportFailure(error.refused.detail) : error;
  }
}

async function prepared(asking: Asking, plane: Plane, { org, question }: Asked) {
  const { sql, registry } = plane;
  if (sql === null) throw new Refusal(503, 'This node answers no SQL: ask another one.');
  // Who asks by a job is asked as by a request.
  const call = { ...asking, user: async () => userOf(await asking.principal()) } as Call<unknown, unknown>;
  const { role } = await analystOf(call, plane, org);
  const statement: SqlStatement = {
    org,
    query: question.query,
    parameters: question.parameters ?? {},
    limits: registry.sql.limits(role),
    async inventory(table) {
      await permitTable(call, plane, org, table);
      return registry.sql.rows(org, table);
    },
  };
  return { sql, statement };
}
