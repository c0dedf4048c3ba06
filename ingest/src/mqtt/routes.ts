// hot
import { isUtf8 } from 'node:buffer';
import { Route } from './publisher.ts';
import { parsePublishTopic } from './topic.ts';

/** Topics of one connection of which is kept where they lead. */
const ROUTES_MAX = 64;

export interface NoRoute {
  readonly kind: 'malformed' | 'reserved';
  readonly detail: string;
}

/** Where the topics of one client lead. Most clients publish to one, again and again. */
export class Routes {
  #known: Map<string, Route> | null = null;
  #lastTopic: Buffer = Buffer.alloc(0);
  #last: Route | null = null;

  /** @param bytes a packet  @param from where its topic begins, and `to` ends */
  find(bytes: Buffer, from: number, to: number): Route | NoRoute {
    const last = this.#lastTopic;
    if (this.#last !== null && last.length === to - from && last.compare(bytes, from, to) === 0) return this.#last;
    const topic = bytes.subarray(from, to);
    const text = topic.toString('utf8');
    this.#known ??= new Map();
    let route = this.#known.get(text);
    if (route === undefined) {
      if (!isUtf8(topic)) return { kind: 'malformed', detail: 'The topic is not UTF-8.' };
      const parsed = parsePublishTopic(text);
      if (parsed.kind === 'reserved') return { kind: 'reserved', detail: 'The topic is the broker’s own.' };
      if (parsed.kind === 'malformed') return parsed;
      route = new Route(parsed);
      if (this.#known.size >= ROUTES_MAX) this.#known.clear();
      this.#known.set(text, route);
    }
    this.#lastTopic = Buffer.from(topic);
    this.#last = route;
    return route;
  }
}
