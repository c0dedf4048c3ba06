// hot

/** Deepest filter that is taken. Messages may be deeper: '#' matches them without going down. */
export const FILTER_LEVELS_MAX = 64;

/** Where an entry stands in a trie; kept in the entry itself, so that it is taken out without a search. */
export interface FilterEntry {
  node: FilterNode<this> | null;
  /** True: ends in '#'. */
  rest: boolean;
  slot: number;
}

/** One level of filters.  @holds a node without entries and children is removed from its parent */
export class FilterNode<E> {
  readonly parent: FilterNode<E> | null;
  readonly segment: string;
  children: Map<string, FilterNode<E>> | null = null;
  /** The child for '+'. */
  one: FilterNode<E> | null = null;
  /** Entries whose filter ends here. */
  exact: E[] | null = null;
  /** Entries whose filter goes on with '#': this level and all below. */
  rest: E[] | null = null;

  constructor(parent: FilterNode<E> | null, segment: string) {
    this.parent = parent;
    this.segment = segment;
  }

  get empty(): boolean {
    return this.exact === null && this.rest === null && this.one === null && this.children === null;
  }
}

/** How many levels a filter has, as the trie counts them. */
export function filterLevels(filter: string): number {
  if (filter === '') return 0;
  let levels = 1;
  for (let at = filter.indexOf('/'); at >= 0; at = filter.indexOf('/', at + 1)) levels++;
  return levels;
}

/** Filters of subtopics: '+' stands for one segment, '#' at the end for any rest, none included.
 *  Adding and removing cost the filter's levels; matching costs the message's levels times the wildcards on its way.
 *  @shape "" has no segment: it is matched by "" and "#" only */
export class FilterTrie<E extends FilterEntry> {
  readonly #root = new FilterNode<E>(null, '');
  size = 0;
  /** Nodes beside the root. */
  nodes = 0;

  /** @holds the filter is well-formed and has at most FILTER_LEVELS_MAX levels */
  add(filter: string, entry: E): void {
    let node = this.#root;
    let rest = false;
    for (let start = 0; start <= filter.length && filter !== ''; ) {
      const slash = filter.indexOf('/', start);
      const end = slash < 0 ? filter.length : slash;
      const segment = filter.slice(start, end);
      if (segment === '#' && slash < 0) {
        rest = true;
        break;
      }
      node = this.#below(node, segment);
      start = end + 1;
    }
    if (rest) node.rest ??= [];
    else node.exact ??= [];
    const list = (rest ? node.rest : node.exact) as E[];
    entry.node = node as FilterEntry['node'] & FilterNode<E>;
    entry.rest = rest;
    entry.slot = list.push(entry) - 1;
    this.size++;
  }

  remove(entry: E): void {
    let node = entry.node as FilterNode<E> | null;
    if (node === null) return;
    entry.node = null;
    this.size--;
    const list = (entry.rest ? node.rest : node.exact) as E[];
    const last = list.pop() as E;
    if (last !== entry) {
      list[entry.slot] = last;
      last.slot = entry.slot;
    }
    if (list.length > 0) return;
    if (entry.rest) node.rest = null;
    else node.exact = null;
    while (node.parent !== null && node.empty) {
      const { parent, segment }: FilterNode<E> = node;
      if (segment === '+') parent.one = null;
      else {
        parent.children?.delete(segment);
        if (parent.children?.size === 0) parent.children = null;
      }
      this.nodes--;
      node = parent;
    }
  }

  /** Appends each entry that matches, once, to `out`. */
  match(subtopic: string, out: E[]): void {
    if (subtopic === '') {
      take(this.#root.rest, out);
      take(this.#root.exact, out);
    } else descend(this.#root, subtopic, 0, out);
  }

  #below(node: FilterNode<E>, segment: string): FilterNode<E> {
    if (segment === '+') {
      if (node.one === null) {
        node.one = new FilterNode<E>(node, '+');
        this.nodes++;
      }
      return node.one;
    }
    node.children ??= new Map();
    let child = node.children.get(segment);
    if (child === undefined) {
      child = new FilterNode<E>(node, segment);
      node.children.set(segment, child);
      this.nodes++;
    }
    return child;
  }
}

/** @param start of the first segment below the node; beyond the end when there is none */
function descend<E>(node: FilterNode<E>, subtopic: string, start: number, out: E[]): void {
  take(node.rest, out);
  if (start > subtopic.length) {
    take(node.exact, out);
    return;
  }
  if (node.one === null && node.children === null) return;
  const slash = subtopic.indexOf('/', start);
  const end = slash < 0 ? subtopic.length : slash;
  if (node.one !== null) descend(node.one, subtopic, end + 1, out);
  if (node.children === null) return;
  const child = node.children.get(subtopic.slice(start, end));
  if (child !== undefined) descend(child, subtopic, end + 1, out);
}

function take<E>(list: readonly E[] | null, out: E[]): void {
  if (list === null) return;
  for (let index = 0; index < list.length; index++) out.push(list[index] as E);
}

/** Whether a filter matches, without a trie: for a few filters. */
export function filterMatches(filter: string, subtopic: string): boolean {
  if (filter === '#') return true;
  if (filter === '' || subtopic === '') return filter === subtopic;
  let at = 0;
  let start = 0;
  for (;;) {
    const slash = filter.indexOf('/', at);
    const end = slash < 0 ? filter.length : slash;
    if (slash < 0 && end === at + 1 && filter[at] === '#') return true;
    if (start > subtopic.length) return false;
    const next = subtopic.indexOf('/', start);
    const stop = next < 0 ? subtopic.length : next;
    const anyOne = end === at + 1 && filter[at] === '+';
    if (!anyOne && (end - at !== stop - start || !filter.startsWith(subtopic.slice(start, stop), at))) return false;
    at = end + 1;
    start = stop + 1;
    if (at > filter.length) return start > subtopic.length;
  }
}
