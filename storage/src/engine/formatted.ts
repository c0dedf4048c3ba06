import { randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import type { Session } from 'chdb';
import { literal } from './binding.ts';
import { throughFifo } from './fifo.ts';
import { ARROW_END, hasHead, type Joining, joiningOf } from './joined.ts';

/** The answer of a statement in one document of a format, as it comes.
 *  @param spool a directory for a named pipe
 *  @param kill ends the statement in the engine */
export function formatted(
  session: Session,
  statement: string,
  format: string,
  spool: string,
  kill: () => void,
): AsyncGenerator<Uint8Array> {
  const joining = joiningOf(format);
  if (joining !== null) return inBlocks(session, statement, format, joining);
  const path = resolve(spool, randomUUID());
  const into = `INSERT INTO FUNCTION file(${literal(path)}, '${format}') ${statement}`;
  return throughFifo(path, () => session.queryAsync(into), kill);
}

async function* inBlocks(
  session: Session,
  statement: string,
  format: string,
  joining: Joining,
): AsyncGenerator<Uint8Array> {
  let count = 0;
  for await (const part of session.queryStream(statement, { format })) yield joining(part.raw(), count++);
  // Of no rows there is no block, but there is a head.
  if (count === 0 && hasHead(format))
    yield (await session.queryAsync(`SELECT * FROM (${statement}) LIMIT 0`, { format })).bytes();
  else if (format === 'ArrowStream') yield ARROW_END;
}
