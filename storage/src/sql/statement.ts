import { type SqlParameter, type SqlRefused, type SqlTable, sqlTables } from '@millrace/core';
import { isWord, lex, type Token, textOf } from './lexer.ts';
import { isTable } from './views.ts';

/** A statement as we read it ourselves. */
export interface Statement {
  readonly kind: 'statement';
  /** What the engine is given: a SELECT, without comments. */
  readonly text: string;
  readonly isExplain: boolean;
  /** A parameter that has no value. */
  readonly missing: string | null;
  /** Of ours, what it may mean by some word of it. */
  readonly tables: readonly SqlTable[];
  /** Names that it gives to parts of itself: WITH … AS. */
  readonly ownTables: ReadonlySet<string>;
  /** The engine's words with positions of what the user wrote. */
  shown(words: string): string;
}

export const STATEMENT_BYTES_MAX = 64 * 1024;
const NESTED_MAX = 100;

/** Words that have no place in a SELECT over views, wherever they stand. One who means a column writes it in quotes. */
const FORBIDDEN: Readonly<Record<string, string>> = {
  SETTINGS: 'SETTINGS',
  OUTFILE: 'INTO OUTFILE',
  INTO: 'INTO OUTFILE',
  SAMPLE: 'SAMPLE',
  RECURSIVE: 'WITH RECURSIVE',
  PARALLEL: 'PARALLEL WITH',
  MATERIALIZED: 'MATERIALIZED',
  APPLY: 'APPLY',
  EXPLAIN: 'EXPLAIN inside of a statement',
  DESCRIBE: 'DESCRIBE',
  SHOW: 'SHOW',
};
const DATABASES = new Set(['system', 'information_schema', 'default', '_temporary_and_external_tables']);

/** @param database ours  @throws never */
export function readStatement(
  query: string,
  parameters: Readonly<Record<string, SqlParameter>>,
  database: string,
): Statement | SqlRefused {
  const refused = (reason: SqlRefused['reason'], detail: string): SqlRefused => ({ kind: 'refused', reason, detail });
  if (Buffer.byteLength(query) > STATEMENT_BYTES_MAX)
    return refused('syntax', `the statement is larger than ${STATEMENT_BYTES_MAX} bytes`);
  const lexed = lex(query);
  if (lexed.kind === 'refused')
    return refused(lexed.reason, lexed.reason === 'forbidden' ? `${lexed.detail} can not be used here` : lexed.detail);
  let { tokens } = lexed;
  const isExplain = isWord(tokens[0], 'EXPLAIN');
  if (isExplain) tokens = tokens.slice(isWord(tokens[1], 'PLAN') ? 2 : 1);
  const [first] = tokens;
  if (first === undefined) return refused('syntax', 'the statement is empty');
  if (!isWord(first, 'SELECT') && !isWord(first, 'WITH') && first.text !== '(')
    return refused(
      'forbidden',
      isExplain
        ? `EXPLAIN ${first.text}: only EXPLAIN and EXPLAIN PLAN of a SELECT can be asked`
        : `${first.text.slice(0, 50)}: only SELECT (with WITH and UNION) and EXPLAIN can be asked`,
    );
  const forbidden = forbiddenWord(tokens, database);
  if (forbidden !== null) return refused('forbidden', `${forbidden} can not be used here`);
  const depth = depthOf(tokens);
  if (depth === null) return refused('syntax', 'its parentheses and brackets do not match');
  if (depth > NESTED_MAX) return refused('syntax', `it is nested deeper than ${NESTED_MAX} levels`);
  const text = textOf(tokens);
  return {
    kind: 'statement',
    text,
    isExplain,
    missing: tokens.find(({ kind, value }) => kind === 'parameter' && !Object.hasOwn(parameters, value))?.value ?? null,
    tables: tablesOf(tokens),
    ownTables: ownTablesOf(tokens),
    shown: (words) => shown(words, query, text),
  };
}

function forbiddenWord(tokens: readonly Token[], database: string): string | null {
  for (const [index, token] of tokens.entries()) {
    const next = tokens[index + 1]?.text;
    if (token.kind === 'word') {
      const upper = token.text.toUpperCase();
      const named = FORBIDDEN[upper];
      if (named !== undefined && Object.hasOwn(FORBIDDEN, upper)) return named;
      if (upper === 'FORMAT' && next !== '(') return 'FORMAT';
    }
    // The engine tells it as it stands, in what we read of it.
    if (isWord(token, 'COLUMNS') && /[^ -~]/.test(tokens[index + 2]?.value ?? '')) return 'COLUMNS by such a pattern';
    if (token.kind === 'string' && /AggregateFunction\s*\(/i.test(token.value)) return 'states of aggregate functions';
    if ((token.kind === 'word' || token.kind === 'quoted') && next === '.') {
      const name = token.value.toLowerCase();
      if (DATABASES.has(name) || name === database.toLowerCase()) return `the database ${token.value}`;
    }
  }
  return null;
}

/** @returns null if they do not match: the statement stands within parentheses of ours */
function depthOf(tokens: readonly Token[]): number | null {
  const open: string[] = [];
  let deepest = 0;
  for (const { kind, text } of tokens) {
    if (kind !== 'sign') continue;
    if (text === '(' || text === '[') deepest = Math.max(deepest, open.push(text));
    else if ((text === ')' || text === ']') && open.pop() !== (text === ')' ? '(' : '[')) return null;
  }
  return open.length === 0 ? deepest : null;
}

const nameOf = (token: Token | undefined): string | null =>
  token?.kind === 'word' || token?.kind === 'quoted' ? token.value : null;

/** More than it means, never less: a column may be called as a table is. */
function tablesOf(tokens: readonly Token[]): readonly SqlTable[] {
  const named = new Set(tokens.map(nameOf).filter((name) => name !== null && isTable(name)));
  return sqlTables.filter((table) => named.has(table));
}

function ownTablesOf(tokens: readonly Token[]): ReadonlySet<string> {
  const names = new Set<string>();
  for (const [index, token] of tokens.entries()) {
    if (!isWord(tokens[index + 1], 'AS') || tokens[index + 2]?.text !== '(') continue;
    const name = nameOf(token);
    if (name !== null) names.add(name);
  }
  return names;
}

/** Positions are of the text that the engine was given: they are told of what the user wrote, found by what stands there. */
function shown(words: string, query: string, text: string): string {
  const found = /failed at position (\d+) \(([\s\S]*?)\)/.exec(words);
  if (found === null) return words;
  const [whole, , near = ''] = found;
  // The engine counts from the beginning of what it was asked, which our own words stand in front of.
  const at = positionOf(query, text, near, words);
  return words
    .replace(whole, at === null ? `near "${near}"` : `at position ${at} ("${near}")`)
    .replace(/: [\s\S]*?\. Expected/, '. Expected');
}

/** Where the rest of the statement that the engine quotes begins, if that is plain. */
function positionOf(query: string, text: string, near: string, words: string): number | null {
  if (near === 'end of query') return query.trimEnd().length + 1;
  const quoted = /failed at position \d+ \([\s\S]*?\): ([\s\S]*?)(?:\.\.\.|\. Expected|$)/.exec(words)?.[1]?.trim();
  if (quoted === undefined || quoted === '' || !text.includes(quoted.slice(0, 20))) return null;
  const begin = query.indexOf(quoted.slice(0, 20));
  return begin === -1 || query.indexOf(quoted.slice(0, 20), begin + 1) !== -1 ? null : begin + 1;
}
