import { everyItem } from './pages.ts';
import type { Page } from './schema.ts';
import { type CallOptions, type Query, type SendOptions, segment, type Transport } from './transport.ts';

export interface UpdateOptions extends CallOptions {
  /** The `version` that the change is made for: refused with 412 if it is another by now. */
  readonly ifVersion?: number;
}
export interface DeleteOptions extends CallOptions {
  /** With what depends on it; without, that is refused with 409. */
  readonly cascade?: boolean;
}

/** What can be listed. @shape of `GET <path>` with its items in the member `items` */
export class List<Items extends string, One, Filter extends object> {
  protected readonly transport: Transport;
  readonly path: string;
  readonly items: Items;

  constructor(transport: Transport, path: string, items: Items) {
    this.transport = transport;
    this.path = path;
    this.items = items;
  }

  /** One page, as the API gives it. */
  list(filter?: Filter, options: CallOptions = {}): Promise<Page<Items, One>> {
    return this.transport.call('GET', this.path, { ...options, query: filter as Query | undefined });
  }

  /** Every one, page after page. */
  all(filter?: Filter, options: CallOptions = {}): AsyncGenerator<One, void, undefined> {
    return everyItem((filter ?? {}) as Query, this.items, (query) => this.list(query as Filter, options));
  }

  protected at(id: string, ...rest: readonly string[]): string {
    return [this.path, segment(id), ...rest].join('/');
  }

  protected call<T>(method: string, path: string, options?: SendOptions): Promise<T> {
    return this.transport.call(method, path, options);
  }
}

/** What can be made, read, changed and deleted as well. */
export class Collection<
  Items extends string,
  One,
  New,
  Patch,
  Filter extends object,
  /** What making one answers: it may tell a secret this once. */
  Made = One,
> extends List<Items, One, Filter> {
  get(id: string, options: CallOptions = {}): Promise<One> {
    return this.call('GET', this.at(id), options);
  }

  create(body: New, options: CallOptions = {}): Promise<Made> {
    return this.call('POST', this.path, { ...options, body });
  }

  update(id: string, patch: Patch, { ifVersion, ...options }: UpdateOptions = {}): Promise<One> {
    return this.call('PATCH', this.at(id), {
      ...options,
      body: patch,
      headers: conditions(ifVersion, options.headers),
    });
  }

  /** @returns how many of what went with it, as `{ connections: 3 }` */
  async delete(id: string, { cascade, ...options }: DeleteOptions = {}): Promise<Readonly<Record<string, number>>> {
    const answer = await this.call<{ deleted: Record<string, number> } | undefined>('DELETE', this.at(id), {
      ...options,
      headers: { prefer: 'return=representation', ...options.headers },
      query: cascade === true ? { cascade } : {},
    });
    return answer?.deleted ?? {};
  }
}

/** What can be switched off and on too. */
export class Switchable<Items extends string, One, New, Patch, Filter extends object, Made = One> extends Collection<
  Items,
  One,
  New,
  Patch,
  Filter,
  Made
> {
  enable(id: string, options: CallOptions = {}): Promise<One> {
    return this.call('POST', this.at(id, 'enable'), options);
  }

  /** Takes effect at once: open sessions are cut. */
  disable(id: string, options: CallOptions = {}): Promise<One> {
    return this.call('POST', this.at(id, 'disable'), options);
  }
}

export const conditions = (
  ifVersion: number | undefined,
  headers: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> =>
  ifVersion === undefined ? headers : { ...headers, 'if-match': `"${ifVersion}"` };

const AT_ONCE_MAX = 1_000;

export interface ManyOptions extends CallOptions {
  readonly onProgress?: (done: number, total: number) => void;
}

/** Makes many: in calls of up to 1,000, each of which makes all of its or none. */
export async function createInBulk<One, New>(
  bodies: readonly New[],
  { onProgress }: ManyOptions,
  make: (chunk: readonly New[]) => Promise<readonly One[]>,
): Promise<One[]> {
  const made: One[] = [];
  for (let from = 0; from < bodies.length; from += AT_ONCE_MAX) {
    made.push(...(await make(bodies.slice(from, from + AT_ONCE_MAX))));
    onProgress?.(made.length, bodies.length);
  }
  return made;
}
