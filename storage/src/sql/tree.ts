/** A node of the engine's `EXPLAIN QUERY TREE`, or a label between nodes, as `JOIN TREE`.
 *  @holds of a statement that `lex` let through: no name of it breaks a line or holds a comma, values are escaped */
export interface Node {
  /** `FUNCTION`, `IDENTIFIER`, `CROSS JOIN`…; of a label the label. */
  readonly kind: string;
  readonly isLabel: boolean;
  /** The engine's number for it; "" of a label. */
  readonly id: string;
  /** What follows, as `, function_name: plus, …`. */
  readonly facts: string;
  readonly children: Node[];
  readonly parent: Node | null;
}

const NODE = /^ *([A-Z_]+(?: [A-Z_]+)*) id: (\d+)(.*)$/;

/** @param lines each two spaces deeper than what it belongs to */
export function treeOf(lines: readonly string[]): Node {
  const root: Node = { kind: '', isLabel: true, id: '', facts: '', children: [], parent: null };
  const path: { depth: number; node: Node }[] = [{ depth: -1, node: root }];
  for (const line of lines) {
    const depth = line.length - line.trimStart().length;
    while ((path.at(-1) as { depth: number }).depth >= depth) path.pop();
    const { node: parent } = path.at(-1) as { node: Node };
    const [, kind = line.trim(), id = '', facts = ''] = NODE.exec(line) ?? [];
    const node: Node = { kind, isLabel: id === '', id, facts, children: [], parent };
    parent.children.push(node);
    path.push({ depth, node });
  }
  return root;
}

export function* nodesOf(node: Node): Generator<Node> {
  if (!node.isLabel) yield node;
  for (const child of node.children) yield* nodesOf(child);
}

/** One fact of a node; "" if it has none. */
export const fact = ({ facts }: Node, name: string): string =>
  new RegExp(`(?:^|, )${name}: ([^,]*)`).exec(facts)?.[1] ?? '';
/** The last fact: a type holds commas itself. */
export const typeOf = ({ facts }: Node): string =>
  /(?:result_type|constant_value_type): (.*?)(?:, source_id: \d+)?$/.exec(facts)?.[1] ?? '';
/** As the engine shows them; "" of all else. */
export function constantOf({ kind, facts }: Node): { readonly value: string; readonly type: string } {
  const [, value = '', type = ''] = /^, constant_value: (.*), constant_value_type: (.*)$/.exec(facts) ?? [];
  return kind === 'CONSTANT' ? { value, type } : { value: '', type: '' };
}
/** Of a constant text: its value; null for all else. */
export function textOfConstant(node: Node): string | null {
  const { value, type } = constantOf(node);
  return type === 'String' && /^'(?:[^'\\]|\\.)*'$/.test(value) ? value.slice(1, -1).replace(/\\(.)/g, '$1') : null;
}

export const argumentsOf = (node: Node): readonly Node[] =>
  node.children.find(({ kind, isLabel }) => isLabel && kind === 'ARGUMENTS')?.children[0]?.children ?? [];

/** Whether it stands where rows come from. */
export const isSource = ({ parent }: Node): boolean =>
  parent?.isLabel === true && (parent.kind === 'JOIN TREE' || parent.kind.endsWith('TABLE EXPRESSION'));
