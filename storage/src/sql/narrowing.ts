import { argumentsOf, constantOf, fact, type Node, nodesOf } from './tree.ts';

/** A condition that the org's rows of a table may be chosen by before the statement sees them. Comparing a column with a
 *  constant of its own type can fail on no row, so it tells nothing of rows that are not the org's.
 *  It only has to keep what the statement asks for: the statement's own conditions stand behind it. */
export type Bound =
  | { readonly column: string; readonly is: 'one of'; readonly texts: readonly string[] }
  | { readonly column: string; readonly is: 'begins with'; readonly text: string }
  /** As the engine writes it. */
  | { readonly column: string; readonly is: 'compared'; readonly sign: string; readonly number: string }
  /** @units ns since 1970 */
  | { readonly column: string; readonly is: 'from' | 'to'; readonly ns: bigint };

/** By table: rows that hold all bounds of one of the lists. A table that is not here is asked as a whole. */
export type Narrowing = ReadonlyMap<string, readonly (readonly Bound[])[]>;

/** @param tree of a statement over tables without rows, whose questions within expressions are still there  @throws never */
export function narrowingOf(tree: Node): Narrowing {
  const bounds = new Map<Node, readonly Bound[]>();
  for (const query of nodesOf(tree)) {
    if (query.kind !== 'QUERY') continue;
    const conditions = conjuncts(labelled(query, 'WHERE')?.children[0]);
    for (const table of sourcesOf(labelled(query, 'JOIN TREE')?.children[0]))
      bounds.set(
        table,
        conditions.flatMap((condition) => boundsOf(condition, table.id)),
      );
  }
  const found = new Map<string, (readonly Bound[])[]>();
  const whole = new Set<string>();
  for (const table of nodesOf(tree)) {
    if (!isTable(table)) continue;
    const name = fact(table, 'cte_name');
    const own = bounds.get(table) ?? [];
    if (own.length === 0) whole.add(name);
    found.set(name, [...(found.get(name) ?? []), own]);
  }
  return new Map([...found].filter(([name]) => !whole.has(name)));
}

const labelled = (node: Node, label: string): Node | undefined =>
  node.children.find(({ kind, isLabel }) => isLabel && kind === label);

/** One of ours: nobody else may ask a table function. */
const isTable = (node: Node): boolean =>
  node.kind === 'QUERY' &&
  fact(node, 'is_cte') === '1' &&
  labelled(node, 'JOIN TREE')?.children[0]?.kind === 'TABLE_FUNCTION';

/** Tables whose rows can be left out one by one before they are joined, if the condition leaves them out afterwards. */
function sourcesOf(node: Node | undefined): readonly Node[] {
  if (node === undefined) return [];
  if (isTable(node)) return [node];
  const side = (label: string): readonly Node[] => sourcesOf(labelled(node, label)?.children[0]);
  switch (node.kind) {
    case 'CROSS JOIN':
      return node.children.filter(({ isLabel }) => isLabel).flatMap(({ children }) => sourcesOf(children[0]));
    case 'ARRAY_JOIN':
      return side('TABLE EXPRESSION');
    case 'JOIN': {
      const kind = fact(node, 'kind');
      if (kind === 'INNER' && fact(node, 'strictness') === 'ALL')
        return [...side('LEFT TABLE EXPRESSION'), ...side('RIGHT TABLE EXPRESSION')];
      return kind === 'LEFT' ? side('LEFT TABLE EXPRESSION') : [];
    }
    default:
      return [];
  }
}

function conjuncts(condition: Node | undefined): readonly Node[] {
  if (condition === undefined) return [];
  if (condition.kind !== 'FUNCTION' || fact(condition, 'function_name') !== 'and') return [condition];
  return argumentsOf(condition).flatMap(conjuncts);
}

const SIGNS: Readonly<Record<string, string>> = {
  equals: '=',
  less: '<',
  lessOrEquals: '<=',
  greater: '>',
  greaterOrEquals: '>=',
};
const FLIPPED: Readonly<Record<string, string>> = {
  equals: 'equals',
  less: 'greater',
  lessOrEquals: 'greaterOrEquals',
  greater: 'less',
  greaterOrEquals: 'lessOrEquals',
};

function boundsOf(condition: Node, table: string): readonly Bound[] {
  const [left, right, ...more] = argumentsOf(condition);
  if (condition.kind !== 'FUNCTION' || left === undefined || right === undefined || more.length > 0) return [];
  const name = fact(condition, 'function_name');
  if (left.kind === 'CONSTANT') {
    const flipped = FLIPPED[name];
    return flipped === undefined ? [] : bounded(flipped, right, left, table);
  }
  return bounded(name, left, right, table);
}

function bounded(name: string, { kind, facts }: Node, value: Node, table: string): readonly Bound[] {
  const [, column, type, source] = /^, column_name: (\w+), result_type: (.*), source_id: (\d+)$/.exec(facts) ?? [];
  if (kind !== 'COLUMN' || column === undefined || source !== table) return [];
  if (type === 'String' || type === 'LowCardinality(String)') {
    const texts = textsOf(value);
    const [text] = texts;
    if (text === undefined) return [];
    if (name === 'in' || (name === 'equals' && texts.length === 1)) return [{ column, is: 'one of', texts }];
    return name === 'startsWith' && texts.length === 1 ? [{ column, is: 'begins with', text }] : [];
  }
  if (type === 'Nullable(Float64)') {
    const sign = SIGNS[name];
    const number = numberOf(value);
    return sign === undefined || number === null ? [] : [{ column, is: 'compared', sign, number }];
  }
  if (!/^DateTime64\(\d, 'UTC'\)$/.test(type ?? '')) return [];
  const moment = momentOf(value);
  if (moment === null) return [];
  const from: Bound = { column, is: 'from', ns: moment.fromNs };
  const to: Bound = { column, is: 'to', ns: moment.toNs };
  if (name === 'greater' || name === 'greaterOrEquals') return [from];
  if (moment.isRising) return [];
  if (name === 'less' || name === 'lessOrEquals') return [to];
  return name === 'equals' ? [from, to] : [];
}

/** Texts that are written as they are read: one that needs escapes bounds nothing. */
const TEXT = "'[^'\\\\]*'";
const ONE = new RegExp(`^${TEXT}$`);
const SEVERAL = new RegExp(`^(?:Tuple_\\(|Array_\\[)(${TEXT}(?:, ${TEXT})*)[)\\]]$`);
const TYPE_OF_SEVERAL = /^(?:Array\(String\)|Tuple\(String(?:, String)*\))$/;
function textsOf(node: Node): readonly string[] {
  const { value, type } = constantOf(node);
  if (type === 'String' && ONE.test(value)) return [value.slice(1, -1)];
  const several = TYPE_OF_SEVERAL.test(type) ? SEVERAL.exec(value)?.[1] : undefined;
  return several?.slice(1, -1).split("', '") ?? [];
}

/** A number of 64 bits, written so that it is read as the same. */
function numberOf(node: Node): string | null {
  const { value, type } = constantOf(node);
  if (!/^(?:U?Int(?:8|16|32|64)|Float64)$/.test(type) || changeOf(node) !== 'never') return null;
  return /^(?:U?Int64|Float64)_(-?\d{1,40}(?:\.\d{1,40})?(?:e[+-]?\d{1,3})?)$/.exec(value)?.[1] ?? null;
}

interface Moment {
  readonly fromNs: bigint;
  readonly toNs: bigint;
  /** Later each time that it is asked. */
  readonly isRising: boolean;
}
const SECOND_NS = 1_000_000_000n;
const DAY_NS = 86_400n * SECOND_NS;
const WRITTEN = /^'(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?)?'$/;
/** How far clocks may run apart. */
const SLACK_NS = 60n * SECOND_NS;

function momentOf(node: Node): Moment | null {
  const { value, type } = constantOf(node);
  const change = changeOf(node);
  if (change === 'any') return null;
  const isRising = change === 'rises';
  const between = (ns: bigint, slackNs = 0n): Moment => ({
    fromNs: ns - slackNs - (isRising ? SLACK_NS : 0n),
    toNs: ns + slackNs,
    isRising,
  });
  const whole = /^UInt64_(\d{1,10})$/.exec(value)?.[1];
  // A day begins somewhere else in each zone.
  if (type === 'Date') return whole === undefined ? null : between(BigInt(whole) * DAY_NS, DAY_NS);
  if (/^DateTime(?:\('[^']*'\))?$/.test(type)) return whole === undefined ? null : between(BigInt(whole) * SECOND_NS);
  if (/^DateTime64\(/.test(type)) {
    const [, seconds, fraction = ''] = /^Decimal64_'(\d{1,10})(?:\.(\d{1,9}))?'$/.exec(value) ?? [];
    return seconds === undefined ? null : between(BigInt(seconds) * SECOND_NS + BigInt(fraction.padEnd(9, '0')));
  }
  // Read in the column's zone, which is UTC.
  const [, day, time = '00:00:00', fraction = ''] = (type === 'String' && WRITTEN.exec(value)) || [];
  const ms = day === undefined ? Number.NaN : Date.parse(`${day}T${time}Z`);
  return ms >= 0 ? between(BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, '0'))) : null;
}

const CLOCKS = new Set(['now', 'now64', 'today', 'yesterday']);
/** The later their first argument, the later they are. */
const RISING =
  /^(?:plus|minus|_?cast|todatetime(?:64)?|todate|tostartof\w+|tomonday|datetrunc|(?:add|subtract)(?:seconds|minutes|hours|days|weeks))$/;

/** Whether a constant that was made by an expression is another one later on. */
function changeOf(node: Node): 'never' | 'rises' | 'any' {
  const reads = (each: Node): boolean =>
    [...nodesOf(each)].some(({ kind, facts }) => kind === 'FUNCTION' && CLOCKS.has(called(facts)));
  const rises = (each: Node): boolean => {
    if (each.kind === 'CONSTANT') {
      const made = labelled(each, 'EXPRESSION')?.children[0];
      return made === undefined || rises(made);
    }
    if (each.kind !== 'FUNCTION') return false;
    const name = called(each.facts);
    const [first, ...rest] = argumentsOf(each);
    return CLOCKS.has(name) || (RISING.test(name) && first !== undefined && rises(first) && !rest.some(reads));
  };
  if (!reads(node)) return 'never';
  return rises(node) ? 'rises' : 'any';
}
const called = (facts: string): string => /^, function_name: ([^,]*)/.exec(facts)?.[1]?.toLowerCase() ?? '';
