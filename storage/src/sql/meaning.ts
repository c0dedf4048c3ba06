import { isAllowed, isTotal } from './functions.ts';
import { argumentsOf, fact, type Node, nodesOf, treeOf, typeOf } from './tree.ts';

/** What a statement means once the engine has found what each name stands for (`EXPLAIN QUERY TREE`), over tables that have
 *  no rows and are none of the engine's own: whatever table is there then is one that nobody may ask. */
export interface Meaning {
  readonly forbidden: string | null;
  /** Whether whatever it computes can be computed of any row. What it was made of constants is not computed again. */
  readonly isTotal: boolean;
}

export function meaningOf(lines: readonly string[]): Meaning {
  const forbid = (forbidden: string): Meaning => ({ forbidden, isTotal: false });
  let total = true;
  for (const node of nodesOf(treeOf(lines))) {
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
        if (total && !isOfConstant(node))
          total = isTotal({
            name,
            type: typeOf(node),
            arguments: argumentsOf(node).map((each) => ({ type: typeOf(each), isConstant: each.kind === 'CONSTANT' })),
          });
        break;
      }
      case 'LAMBDA':
        total = false;
        break;
      default:
    }
  }
  return { forbidden: null, isTotal: total };
}

/** What the engine makes by itself. */
const OWN = new Set(['__scalarSubqueryResult', '__getScalar']);

function isOfConstant(node: Node): boolean {
  for (let above = node.parent; above !== null; above = above.parent) if (above.kind === 'CONSTANT') return true;
  return false;
}
