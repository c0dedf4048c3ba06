interface Placed {
  readonly id: string;
  readonly name: string;
  readonly parent: string | null;
}
const LEVELS_MAX = 64;

/** Where groups are, by what stands above each. */
export class Tree {
  readonly #groups: ReadonlyMap<string, Placed>;
  readonly #paths = new Map<string, string>();

  constructor(groups: Iterable<Placed>) {
    this.#groups = new Map([...groups].map((group) => [group.id, group]));
  }

  /** From the topmost to the group itself, as the gate asks for; none of null. */
  branch(id: string | null): readonly string[] {
    const branch: string[] = [];
    for (let at = id; at !== null && branch.length < LEVELS_MAX; at = this.#groups.get(at)?.parent ?? null)
      branch.unshift(at);
    return branch;
  }

  /** Names from the topmost to the group itself: `plant/hall-1`. */
  path(id: string): string {
    const known = this.#paths.get(id);
    if (known !== undefined) return known;
    const path = this.branch(id)
      .map((each) => this.#groups.get(each)?.name ?? each)
      .join('/');
    this.#paths.set(id, path);
    return path;
  }

  paths(): [string, string][] {
    return [...this.#groups.keys()].map((id) => [this.path(id), id]);
  }
}
