import { uuidV7 } from '@millrace/core';
import { LEVELS_MAX } from '../inventory/groups.ts';
import { gather, Names } from './names.ts';
import { type Problems, told } from './problems.ts';
import type { GroupInput } from './schemas.ts';
import type { GroupState } from './state.ts';
import { Tree } from './tree.ts';
import type { Wanted } from './wanted.ts';

interface Flat {
  readonly entry: GroupInput;
  readonly path: string;
  /** undefined: as it is. */
  readonly name: string | undefined;
  /** The entry that it stands in; else where it is in the tree. */
  readonly above: Flat | string | null;
  readonly level: number;
}

/** Groups of a manifest: found by their ids, else by their paths. The tree of the manifest says what is below what. */
export function wantedGroups(
  entries: readonly GroupInput[],
  existing: readonly GroupState[],
  stay: boolean,
  problems: Problems,
): { groups: Wanted<GroupState>[]; tree: Tree; groupNames: Names } {
  const flat = flatten(entries, problems).toSorted((one, other) => one.level - other.level);
  const claimed = new Set(flat.flatMap(({ entry: { id } }) => (id === undefined ? [] : [id.toLowerCase()])));
  const byId = new Map(existing.map((group) => [group.id, group]));
  const below = new Map<string, GroupState[]>();
  for (const group of existing) if (!claimed.has(group.id)) gather(below, placeKey(group.parent, group.name), group);
  const existingPaths = new Map<string, string[]>();
  for (const [path, id] of new Tree(existing).paths()) gather(existingPaths, path, id);
  const idOf = new Map<Flat, string>();
  const idAt = new Map<string, string>();
  const taken = new Map<string, string>();
  const places = new Set<string>();
  const groups: Wanted<GroupState>[] = [];
  const placed = new Map(existing.map(({ id, name, parent }) => [id, { id, name, parent }]));

  for (const each of flat) {
    const { entry, path, above } = each;
    const parent = parentOf(above, path);
    if (parent === undefined) continue;
    const found = entry.id === undefined ? foundBelow(parent, each.name ?? '', path) : byId.get(entry.id.toLowerCase());
    const name = each.name ?? found?.name ?? '';
    const id = found?.id ?? entry.id?.toLowerCase() ?? uuidV7();
    const other = taken.get(id);
    if (other !== undefined) problems.add(path, `is the same group as ${other}`);
    taken.set(id, path);
    idOf.set(each, id);
    placed.set(id, { id, name, parent });
    const full = pathOf(parent, name);
    idAt.set(full, id);
    const place = placeKey(parent, name);
    if (entry.id === undefined && places.has(place)) problems.add(path, `another one is ${told(full)} too: give ids`);
    places.add(place);
    const { id: _, path: __, groups: ___, name: ____, ...rest } = entry;
    groups.push({
      id,
      path,
      before: found ?? null,
      members: { ...(each.name === undefined ? {} : { name }), ...rest, parent },
    });
  }
  const named = new Set(groups.map(({ id }) => id));
  const after = [...placed.values()].filter(({ id }) => stay || named.has(id));
  const tree = new Tree(after);
  for (const { id, path } of groups) {
    const branch = tree.branch(id);
    if (new Set(branch).size < branch.length) problems.add(path, 'lies in itself');
    else if (branch.length > LEVELS_MAX) problems.add(path, `is deeper than ${LEVELS_MAX} levels`);
  }
  return {
    groups,
    tree,
    groupNames: new Names(
      'group',
      after.map(({ id }) => id),
      tree.paths(),
    ),
  };

  /** undefined: there is none, which has been told. */
  function parentOf(above: Flat['above'], path: string): string | null | undefined {
    if (above === null) return null;
    // What stands in one that is wrong is not told beside it.
    if (typeof above !== 'string') return idOf.get(above);
    const [only, another] = existingPaths.get(above) ?? [];
    const id = idAt.get(above) ?? (another === undefined && stay ? only : undefined);
    if (id === undefined)
      problems.add(`${path}.path`, `there is ${another === undefined ? 'no' : 'more than one'} group ${told(above)}`);
    return id;
  }

  function foundBelow(parent: string | null, name: string, path: string): GroupState | undefined {
    const found = below.get(placeKey(parent, name)) ?? [];
    if (found.length > 1)
      problems.add(`${path}.name`, `there are ${found.length} groups ${told(pathOf(parent, name))}: give the id`);
    return found[0];
  }

  function pathOf(parent: string | null, name: string): string {
    const names = [name];
    for (let at = parent; at !== null && names.length <= LEVELS_MAX; ) {
      const group = placed.get(at);
      names.unshift(group?.name ?? at);
      at = group?.parent ?? null;
    }
    return names.join('/');
  }
}

const placeKey = (parent: string | null, name: string): string => `${parent} ${name}`;

function flatten(entries: readonly GroupInput[], problems: Problems): Flat[] {
  const flat: Flat[] = [];
  const walk = (list: readonly GroupInput[], at: string, above: Flat | null): void => {
    for (const [index, entry] of list.entries()) {
      const path = `${at}[${index}]`;
      const place = placeOf(entry, above);
      if (typeof place === 'string') {
        problems.add(path, place);
        continue;
      }
      const one: Flat = { entry, path, ...place };
      flat.push(one);
      walk(entry.groups ?? [], `${path}.groups`, one);
    }
  };
  walk(entries, 'groups', null);
  return flat;
}

/** What is wrong with it, if it is a text. */
function placeOf({ id, name, path }: GroupInput, above: Flat | null): Pick<Flat, 'name' | 'above' | 'level'> | string {
  if (path === undefined) {
    if ((name ?? '') === '' && id === undefined) return 'a group needs a name, a path or an id';
    return { name, above, level: (above?.level ?? 0) + 1 };
  }
  if (above !== null) return 'has a path, but stands in another group already';
  if (name !== undefined) return 'has a path and a name: either will do';
  const names = path.split('/');
  if (names.includes('')) return `the path ${told(path)} has an empty name`;
  return {
    name: names.at(-1) ?? '',
    above: names.length === 1 ? null : names.slice(0, -1).join('/'),
    level: names.length,
  };
}
