import type { EnvelopeReader } from '@millrace/core';
import type { Route } from './cursor.ts';
import { FilterTrie } from './filter-trie.ts';

// hot

/** Which subscriptions a record concerns: by its channel, by its organisation for those that want every channel, and
 *  those of users, who may be members of any. */
export class Router {
  readonly #channels = new Map<string, FilterTrie<Route>>();
  readonly #orgs = new Map<string, FilterTrie<Route>>();
  readonly #users = new FilterTrie<Route>();
  size = 0;
  nodes = 0;

  add(route: Route): void {
    const trie = this.#trieOf(route, true) as FilterTrie<Route>;
    const before = trie.nodes;
    trie.add(route.filter.subtopic, route);
    this.nodes += trie.nodes - before;
    this.size++;
  }

  remove(route: Route): void {
    const trie = this.#trieOf(route, false);
    if (trie === undefined || route.node === null) return;
    const before = trie.nodes;
    trie.remove(route);
    this.nodes += trie.nodes - before;
    this.size--;
    if (trie.size > 0) return;
    if (route.channel !== null) this.#channels.delete(route.channel);
    else if (route.org !== null) this.#orgs.delete(route.org);
  }

  /** Appends the routes of a record to `out`. Decodes of it only what is needed to tell. */
  match(channel: string, reader: EnvelopeReader, out: Route[]): void {
    const ofChannel = this.#channels.get(channel);
    const ofOrg = this.#orgs.size === 0 ? undefined : this.#orgs.get(reader.org);
    const users = this.#users;
    if (ofChannel === undefined && ofOrg === undefined && users.size === 0) return;
    const { subtopic } = reader;
    ofChannel?.match(subtopic, out);
    ofOrg?.match(subtopic, out);
    if (users.size > 0) users.match(subtopic, out);
  }

  #trieOf({ channel, org }: Route, make: boolean): FilterTrie<Route> | undefined {
    if (channel === null && org === null) return this.#users;
    const tries = channel === null ? this.#orgs : this.#channels;
    const key = (channel ?? org) as string;
    let trie = tries.get(key);
    if (trie === undefined && make) {
      trie = new FilterTrie();
      tries.set(key, trie);
    }
    return trie;
  }
}
