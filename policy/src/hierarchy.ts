import type { RoleManager } from 'casbin';

const DEPTH_MAX = 16;

/** Who has which roles, in one organisation: the links behind Casbin's `g`.
 *  Casbin's own role manager remembers every name it is asked for; this one remembers only its links.
 *  @holds a chain of more than DEPTH_MAX links and a cycle end in "no" */
export class Hierarchy implements RoleManager {
  readonly #org: string;
  readonly #parents = new Map<string, string[]>();

  constructor(org: string) {
    this.#org = org;
  }

  link(child: string, parent: string): void {
    const parents = this.#parents.get(child);
    if (parents === undefined) this.#parents.set(child, [parent]);
    else if (!parents.includes(parent)) parents.push(parent);
  }

  syncedHasLink(name: string, ancestor: string, ...domain: string[]): boolean {
    if (domain[0] !== this.#org) return false;
    if (name === ancestor) return true;
    let level: ReadonlySet<string> = new Set(this.#parents.get(name));
    const seen = new Set(level);
    for (let depth = 0; depth < DEPTH_MAX && level.size > 0; depth++) {
      if (level.has(ancestor)) return true;
      const next = new Set<string>();
      for (const at of level) {
        for (const parent of this.#parents.get(at) ?? []) {
          if (!seen.has(parent)) {
            seen.add(parent);
            next.add(parent);
          }
        }
      }
      level = next;
    }
    return false;
  }

  // The rest of Casbin's interface.
  async hasLink(name: string, ancestor: string, ...domain: string[]): Promise<boolean> {
    return this.syncedHasLink(name, ancestor, ...domain);
  }
  async addLink(child: string, parent: string): Promise<void> {
    this.link(child, parent);
  }
  async deleteLink(child: string, parent: string): Promise<void> {
    const left = (this.#parents.get(child) ?? []).filter((one) => one !== parent);
    if (left.length === 0) this.#parents.delete(child);
    else this.#parents.set(child, left);
  }
  async getRoles(name: string): Promise<string[]> {
    return [...(this.#parents.get(name) ?? [])];
  }
  async getUsers(name: string): Promise<string[]> {
    return [...this.#parents].filter(([, parents]) => parents.includes(name)).map(([child]) => child);
  }
  async clear(): Promise<void> {
    this.#parents.clear();
  }
  async getDomains(): Promise<string[]> {
    return [this.#org];
  }
  async getAllDomains(): Promise<string[]> {
    return [this.#org];
  }
  async printRoles(): Promise<void> {}
}
