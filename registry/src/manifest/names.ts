import { isUuid } from '@millrace/core';
import { type Problems, told } from './problems.ts';

/** Puts a value beside those of the same key. */
export function gather<K, V>(into: Map<K, V[]>, key: K, value: V): void {
  const beside = into.get(key);
  if (beside === undefined) into.set(key, [value]);
  else beside.push(value);
}

/** What of one kind there is, by what it may be called: ids first, then each list of names in turn. */
export class Names {
  readonly #what: string;
  readonly #ids: ReadonlySet<string>;
  readonly #byName: readonly ReadonlyMap<string, readonly string[]>[];

  /** @param what in the singular  @param named of each list: name and id */
  constructor(what: string, ids: Iterable<string>, ...named: readonly (readonly (readonly [string, string])[])[]) {
    this.#what = what;
    this.#ids = new Set(ids);
    this.#byName = named.map((pairs) => {
      const ids = new Map<string, string[]>();
      for (const [name, id] of pairs) gather(ids, name, id);
      return ids;
    });
  }

  /** The id of what is meant; a problem at the path, and null, if it is none or several. */
  find(reference: string, path: string, problems: Problems): string | null {
    const id = reference.toLowerCase();
    if (isUuid(id) && this.#ids.has(id)) return id;
    for (const names of this.#byName) {
      const [found, another] = names.get(reference) ?? [];
      if (another !== undefined) {
        problems.add(path, `there are several ${this.#what}s ${told(reference)}: give the id`);
        return null;
      }
      if (found !== undefined) return found;
    }
    problems.add(path, `there is no ${this.#what} ${told(reference)}`);
    return null;
  }

  /** How a manifest can refer to it: by the first name that means nothing else, else by its id. */
  reference(id: string, ...names: readonly (string | null)[]): string {
    for (const name of names) {
      if (name === null || name === '' || isUuid(name.toLowerCase())) continue;
      const meant = this.#byName.map((each) => each.get(name)).find((ids) => ids !== undefined);
      if (meant?.length === 1 && meant[0] === id) return name;
    }
    return id;
  }
}
