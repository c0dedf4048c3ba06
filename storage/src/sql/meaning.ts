import { isAllowed } from './functions.ts';
import { type Narrowing, narrowingOf } from './narrowing.ts';
import { fact, nodesOf, treeOf, typeOf } from './tree.ts';

/** What a statement means once the engine has found what each name stands for (`EXPLAIN QUERY TREE`), over tables that have
 *  no rows and are none of the engine's own: whatever table is there then is one that nobody may ask. */
export interface Meaning {
  readonly forbidden: string | null;
  readonly narrowing: Narrowing;
}

export function meaningOf(lines: readonly string[]): Meaning {
  const forbid = (forbidden: string): Meaning => ({ forbidden, narrowing: new Map() });
  const tree = treeOf(lines);
  for (const node of nodesOf(tree)) {
    if (typeOf(node).includes('AggregateFunction(')) return forbid('states of aggregate functions');
    switch (node.kind) {
      case 'TABLE': {
        const name = fact(node, 'table_name');
        if (name !== 'system.one') return forbid(`the table ${name}`);
        break;
      }
      case 'TABLE_FUNCTION': {
        const name = fact(node, 'table_function_name');
        if (name !== 'null') return forbid(`the table function ${name}`);
        break;
      }
      case 'FUNCTION': {
        const name = fact(node, 'function_name');
        if (fact(node, 'function_type') !== 'ordinary') break;
        if (!isAllowed(name) && !OWN.has(name)) return forbid(`the function ${name}`);
        break;
      }
      default:
    }
  }
  return { forbidden: null, narrowing: narrowingOf(tree) };
}

/** What the engine makes by itself. */
const OWN = new Set(['__scalarSubqueryResult', '__getScalar']);
