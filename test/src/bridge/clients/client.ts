export type Qos = 0 | 1 | 2;

/** Where a node answers. */
export interface Place {
  readonly http: string;
  readonly mqtt: string;
}

/** Who a client is. */
export interface Identity {
  readonly thing: string;
  readonly key: string;
}

/** What is published to, or as a filter (with + and #) subscribed to. @shape subtopic: "" is none */
export interface Topic {
  readonly channel: string;
  readonly subtopic: string;
}

export interface PublishOptions {
  /** Undefined: none is named. */
  readonly contentType?: string;
  readonly qos?: Qos;
  readonly retain?: boolean;
}

/** What a subscriber got; null is what its protocol does not tell. */
export interface Received {
  readonly channel: string;
  readonly subtopic: string | null;
  readonly payload: Buffer;
  readonly contentType: string | null;
  readonly qos: Qos | null;
  readonly retain: boolean | null;
}

/** One connection, or as many as the program needs to do the same. */
export interface Client {
  /** Resolves when the node has acknowledged it, where the protocol can say so. Calls keep their order. */
  publish(topic: Topic, payload: Uint8Array, options?: PublishOptions): Promise<void>;
  /** Resolves when what is published from now on comes. */
  subscribe(filters: readonly Topic[], options?: { readonly qos?: Qos }): Promise<Inbox>;
  close(): Promise<void>;
}

/** A program or library that speaks one of our protocols, made by somebody else. */
export interface ClientKind {
  readonly name: string;
  /** Why it can't run here; null if it can. */
  readonly missing: string | null;
  readonly publishes: boolean;
  readonly subscribes: boolean;
  /** Whether it can publish what has no bytes. */
  readonly publishesEmpty: boolean;
  connect(place: Place, identity: Identity): Promise<Client>;
}

/** What a subscriber received, in order. */
export class Inbox {
  readonly messages: Received[] = [];
  /** Why nothing more comes; null while more may come. */
  over: string | null = null;
  readonly #waiting = new Set<() => void>();

  add(message: Received): void {
    this.messages.push(message);
    for (const check of this.#waiting) check();
  }

  end(reason: string): void {
    this.over ??= reason;
    for (const check of this.#waiting) check();
  }

  /** Waits until so many are there, or it is as told.
   *  @throws with what is there when that takes too long, or nothing more can come */
  until(wanted: number | (() => boolean), what: string, msMax = 30_000): Promise<readonly Received[]> {
    const met = typeof wanted === 'number' ? () => this.messages.length >= wanted : wanted;
    return new Promise((resolve, reject) => {
      const settle = (done: () => void): void => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        done();
      };
      const check = (): void => {
        if (met()) settle(() => resolve(this.messages));
        else if (this.over !== null) settle(() => reject(new Error(`${what}: ${this.#told()}`)));
      };
      const timer = setTimeout(() => {
        settle(() => reject(new Error(`${what}: not within ${msMax} ms, ${this.#told()}`)));
      }, msMax);
      this.#waiting.add(check);
      check();
    });
  }

  #told(): string {
    const last = this.messages.slice(-3).map(({ payload }) => payload.toString('latin1').slice(0, 60));
    return `${this.messages.length} messages, the last ${JSON.stringify(last)}; ${this.over ?? 'still open'}`;
  }
}

/** Whether a filter stands for a topic of the same channel. */
export function matches(filter: string, subtopic: string): boolean {
  const wanted = filter === '' ? [] : filter.split('/');
  const segments = subtopic === '' ? [] : subtopic.split('/');
  for (const [index, segment] of wanted.entries()) {
    if (segment === '#') return true;
    if (segments[index] === undefined || (segment !== '+' && segment !== segments[index])) return false;
  }
  return wanted.length === segments.length;
}
