import { isAllowed } from './functions.ts';
import { isValueType } from './lexer.ts';
import { argumentsOf, fact, isSource, type Node, nodesOf, textOfConstant, treeOf } from './tree.ts';
import { isTable } from './views.ts';

/** Every name in a statement, before anything is looked up or computed: what the engine reads of it, all of it. */
export interface Names {
  readonly forbidden: string | null;
  /** Holds a question within an expression. Over empty tables it is answered otherwise than over full ones, and with it
   *  what is computed at all. */
  readonly hasScalar: boolean;
}

/** @param lines of `EXPLAIN QUERY TREE run_passes = 0`
 *  @param ownTables names that the statement gives to parts of itself: where they do not hold, they find nothing */
export function namesOf(lines: readonly string[], ownTables: ReadonlySet<string>): Names {
  const forbid = (forbidden: string): Names => ({ forbidden, hasScalar: true });
  let hasScalar = false;
  for (const node of nodesOf(treeOf(lines))) {
    const { kind } = node;
    if (kind === 'FUNCTION') {
      const name = fact(node, 'function_name');
      if (!isAllowed(name)) return forbid(`the function ${name}`);
      if (TYPED.has(name.toLowerCase()) && !isTyped(node)) return forbid(`the type of ${name}`);
    } else if (kind === 'IDENTIFIER') {
      const name = fact(node, 'identifier');
      const isOurs = isTable(name) || ownTables.has(name) || name === NO_TABLE;
      if (isSource(node) && !isOurs) return forbid(`the table ${name}`);
      // What stands beside IN may be a table.
      if (isSought(node) && name.includes('.')) return forbid(`the table ${name}`);
    } else if (kind === 'TABLE_FUNCTION') {
      return forbid(`the table function ${fact(node, 'table_function_name')}`);
    } else if (kind === 'QUERY' || kind === 'UNION') {
      hasScalar ||= !isRows(node);
    } else if (!KINDS.has(kind)) {
      return forbid(kind);
    }
  }
  return { forbidden: null, hasScalar };
}

/** What a SELECT without FROM reads. */
const NO_TABLE = 'system.one';
const KINDS = new Set([
  'LIST',
  'CONSTANT',
  'MATCHER',
  'SORT',
  'WINDOW',
  'LAMBDA',
  'INTERPOLATE',
  'ARRAY_JOIN',
  'JOIN',
  'CROSS JOIN',
  'EXCEPT COLUMN TRANSFORMER',
  'REPLACE COLUMN TRANSFORMER',
]);

const IN = /^(?:global)?(?:not)?(?:null)?in$/i;
function isSought(node: Node): boolean {
  const called = node.parent?.parent?.parent;
  if (called?.kind !== 'FUNCTION' || !IN.test(fact(called, 'function_name'))) return false;
  return argumentsOf(called)[1] === node;
}

/** A SELECT that rows come from: not one whose answer is a value. */
function isRows(node: Node): boolean {
  if (isSource(node) || isSought(node) || fact(node, 'is_cte') === '1') return true;
  const holder = node.parent;
  // The statement itself, and parts of a UNION.
  return holder?.parent === null || (holder?.kind === 'LIST' && holder.parent?.kind === 'QUERIES');
}

/** Functions whose last argument names a type: of states of aggregate functions any bytes could be made. */
const TYPED = new Set(['cast', '_cast', 'accuratecast', 'accuratecastornull', 'jsonextract']);
function isTyped(node: Node): boolean {
  const last = argumentsOf(node).at(-1);
  const text = last === undefined ? null : textOfConstant(last);
  return text !== null && isValueType(text.replace(/\bEnum(?:8|16)?\([^()]*\)/g, 'String'));
}
