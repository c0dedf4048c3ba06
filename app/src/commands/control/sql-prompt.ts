import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { SqlSchema } from '@millrace/sdk';
import { failureOf, tell as tellFailure } from './failure.ts';
import { writeSecret } from './input.ts';
import { profilesPath } from './profiles.ts';
import type { Call } from './specification.ts';

const HISTORY_LINES_MAX = 500;
const KEYWORDS =
  'SELECT DISTINCT FROM WHERE GROUP BY HAVING ORDER LIMIT OFFSET JOIN LEFT INNER ON USING WITH UNION ALL AS AND OR NOT IN BETWEEN LIKE IS NULL CASE WHEN THEN ELSE END DESC ASC INTERVAL ARRAY EXPLAIN'.split(
    ' ',
  );

/** What the last word of a line can become, as readline asks for it. */
export function completions(schema: SqlSchema, line: string): [string[], string] {
  const [begun = ''] = /[\w.]*$/.exec(line) ?? [];
  if (begun === '') return [[], begun];
  const tables = schema.tables.map(({ name }) => name);
  const columns = schema.tables.flatMap((table) => table.columns.map(({ name }) => name));
  const functions = Object.values(schema.functions).flat();
  const words = [...new Set([...tables, ...columns, ...KEYWORDS, ...functions.map((name) => `${name}(`)])];
  const small = begun.toLowerCase();
  return [words.filter((word) => word.toLowerCase().startsWith(small)), begun];
}

/** Statements until Ctrl-D, each ended by `;`. What is refused is told, and the next may come. */
export async function converse(call: Call, answer: (statement: string) => Promise<void>): Promise<void> {
  const client = await call.client();
  const schema = await client.sql.schema({ signal: call.signal });
  const file = join(dirname(profilesPath()), 'sql-history');
  const history = existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
  const prompt = createInterface({
    input: process.stdin,
    output: process.stderr,
    history,
    historySize: HISTORY_LINES_MAX,
    completer: (line: string) => completions(schema, line),
  });
  call.output.note(
    `Tables: ${schema.tables.map(({ name }) => name).join(', ')}. A statement ends with ;, Ctrl-D leaves.`,
  );
  let lines: string[] = [];
  const ask = (): void => {
    prompt.setPrompt(lines.length === 0 ? 'sql> ' : '...> ');
    prompt.prompt();
  };
  prompt.on('SIGINT', () => {
    lines = [];
    // What is being typed goes, too.
    for (const name of ['e', 'u']) prompt.write(null, { ctrl: true, name });
    ask();
  });
  prompt.on('history', (kept: string[]) => {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    // What is looked for may be somebody's name.
    writeSecret(file, kept.join('\n'));
  });
  ask();
  for await (const line of prompt) {
    lines.push(line);
    if (!/;\s*$/.test(line)) {
      if (lines.every((one) => one.trim() === '')) lines = [];
      ask();
      continue;
    }
    const query = lines.join('\n').replace(/;\s*$/, '');
    lines = [];
    try {
      await answer(query);
    } catch (error) {
      if (call.signal.aborted) throw error;
      process.stderr.write(tellFailure(failureOf(error)));
    }
    ask();
  }
}
