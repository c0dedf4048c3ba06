import { uuidV7 } from '@millrace/core';
import { gather } from './names.ts';
import { type Problems, told } from './problems.ts';

interface Entry {
  readonly id?: string | undefined;
  readonly name?: string | undefined;
  readonly alias?: string | null | undefined;
}
interface Existing {
  readonly id: string;
  readonly name: string;
  readonly alias?: string | null;
}
export interface Matched<E, S> {
  /** Of what is there, or of what will be. */
  readonly id: string;
  readonly path: string;
  readonly before: S | null;
  readonly entry: E;
}

/** Finds what each entry of a list is about: by its id, else by alias, else by name. What is found by none will be made.
 *  @param list as the manifest calls it  @param what in the singular */
export function match<E extends Entry, S extends Existing>(
  list: string,
  what: string,
  entries: readonly E[],
  existing: readonly S[],
  problems: Problems,
): Matched<E, S>[] {
  const byId = new Map(existing.map((each) => [each.id, each]));
  const byAlias = new Map(existing.flatMap((each) => (each.alias == null ? [] : [[each.alias, each] as const])));
  const claimed = new Set(entries.flatMap(({ id }) => (id === undefined ? [] : [id.toLowerCase()])));
  const byName = new Map<string, S[]>();
  for (const each of existing) if (!claimed.has(each.id)) gather(byName, each.name, each);
  const taken = new Map<string, string>();
  const names = new Map<string, string>();
  return entries.map((entry, index) => {
    const path = `${list}[${index}]`;
    let before: S | null = null;
    if (entry.id !== undefined) {
      before = byId.get(entry.id.toLowerCase()) ?? null;
    } else {
      const { name = '', alias = null } = entry;
      if (name === '' && alias === null) problems.add(path, `a ${what} needs a name or an id`);
      const aliased = alias === null ? undefined : byAlias.get(alias);
      const called = name === '' ? [] : (byName.get(name) ?? []);
      if (aliased !== undefined) before = aliased;
      else if (called.length > 1)
        problems.add(`${path}.name`, `the organisation has ${called.length} of the name ${told(name)}: give the id`);
      else before = called[0] ?? null;
      const twin = name === '' ? undefined : names.get(name);
      if (twin !== undefined) problems.add(`${path}.name`, `${twin} is called ${told(name)} too: give ids`);
      else names.set(name, path);
    }
    const id = before?.id ?? entry.id?.toLowerCase() ?? uuidV7();
    const other = taken.get(id);
    if (other !== undefined) problems.add(path, `is the same ${what} as ${other}`);
    taken.set(id, path);
    return { id, path, before, entry };
  });
}
