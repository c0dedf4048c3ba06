import {
  type ClientConnection,
  type ClientStore,
  type DueWill,
  type KeptWill,
  type Logger,
  uuidV7,
} from '@millrace/core';

/** What comes in so short a time is written together. */
const GATHER_MS = 50;
const RETRY_MS = 500;
const ROWS_MAX = 1_000;
/** Connections that have ended and must still be told of, while the store does not answer. */
const GONE_MAX = 100_000;

/** Who holds a claim. */
export interface Claimant {
  /** The client has come to another node since. */
  takenOver(): void;
  /** This node was taken for dead, and the client's will has been published by another. */
  buried(): void;
}

export interface Claim extends ClientConnection {
  readonly will: KeptWill | null;
  readonly claimant: Claimant;
  /** performance.now() of its CONNECT. */
  readonly sinceMs: number;
  /** The store may have it. */
  written: boolean;
  gone: boolean;
}

/** Tells the other nodes which clients are connected here, and leaves their wills with the registry, in statements of many
 *  at a time. No CONNECT waits for it.
 *  @holds one claim a client, the last; while there is no other node only those with a will are written */
export class Claims {
  readonly #store: ClientStore | undefined;
  readonly #logger: Logger;
  readonly #onDue: (wills: readonly DueWill[]) => void;
  readonly #live = new Map<string, Claim>();
  #dirty = new Set<Claim>();
  #ended: ClientConnection[] = [];
  #gone = 0;
  #timer: NodeJS.Timeout | null = null;
  #running = false;
  #away = false;
  #stopped = false;

  constructor(store: ClientStore | undefined, logger: Logger, onDue: (wills: readonly DueWill[]) => void) {
    this.#store = store;
    this.#logger = logger;
    this.#onDue = onDue;
  }

  async join(): Promise<void> {
    await this.#store?.join({
      joined: () => this.#claimAll(),
      taken: (key, connection) => {
        const claim = this.#live.get(`${key.owner}/${key.clientId}`);
        // Which of the two is the later is the store's to say.
        if (claim !== undefined && claim.connection !== connection) this.#enqueue(claim);
      },
      buried: () => {
        for (const claim of [...this.#live.values()]) if (claim.will !== null && claim.written) claim.claimant.buried();
        this.#claimAll();
      },
      due: this.#onDue,
    });
  }

  /** A client has connected. */
  enter(key: Claim['key'], will: KeptWill | null, claimant: Claimant): Claim {
    const sinceMs = performance.now();
    const claim: Claim = { key, connection: uuidV7(), will, claimant, sinceMs, written: false, gone: false };
    this.#live.set(`${key.owner}/${key.clientId}`, claim);
    if (will !== null || this.#store?.alone === false) this.#enqueue(claim);
    return claim;
  }

  /** Its connection is over, and its will, if there was one. */
  release(claim: Claim): void {
    if (claim.gone) return;
    claim.gone = true;
    const text = `${claim.key.owner}/${claim.key.clientId}`;
    if (this.#live.get(text) === claim) this.#live.delete(text);
    // What is to be written is written first: another node may hold the client's earlier connection.
    if (this.#dirty.has(claim)) {
      if (++this.#gone > GONE_MAX || this.#store?.alone === true) this.#forget(claim);
    } else if (claim.written) this.done(claim);
  }

  /** The will of a dead node's client is over. */
  done({ key, connection }: ClientConnection): void {
    if (this.#ended.length < GONE_MAX) this.#ended.push({ key, connection });
    this.#later(GATHER_MS);
  }

  async flush(deadlineMs: number): Promise<void> {
    const end = performance.now() + deadlineMs;
    while (
      (this.#running || this.#dirty.size > 0 || this.#ended.length > 0) &&
      performance.now() < end &&
      !this.#away
    ) {
      if (!this.#running) await this.#write();
      else await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#store?.leave();
  }

  #claimAll(): void {
    for (const claim of this.#live.values()) this.#enqueue(claim);
  }

  #enqueue(claim: Claim): void {
    if (this.#store === undefined) return;
    this.#dirty.add(claim);
    this.#later(GATHER_MS);
  }

  #forget(claim: Claim): void {
    this.#dirty.delete(claim);
    this.#gone--;
    if (claim.written) this.done(claim);
  }

  #later(ms: number): void {
    if (this.#timer !== null || this.#running || this.#stopped || this.#store === undefined) return;
    this.#timer = setTimeout(() => void this.#write(), ms);
    this.#timer.unref();
  }

  /** @holds one at a time */
  async #write(): Promise<void> {
    const store = this.#store;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (store === undefined) return;
    this.#running = true;
    const claims = this.#take();
    const ended = this.#ended.splice(0, ROWS_MAX);
    try {
      if (claims.length > 0) await this.#claim(store, claims);
      if (ended.length > 0) await store.release(ended);
      this.#away = false;
    } catch (error) {
      if (!this.#away)
        this.#logger.warn({ err: error }, 'mqtt: the other nodes can not be told who is here; tries again');
      this.#away = true;
      for (const claim of claims) {
        if (claim.gone) this.#gone++;
        this.#dirty.add(claim);
      }
      this.#ended.push(...ended);
    } finally {
      this.#running = false;
      if (this.#dirty.size > 0 || this.#ended.length > 0) this.#later(this.#away ? RETRY_MS : 0);
    }
  }

  #take(): Claim[] {
    const claims: Claim[] = [];
    for (const claim of this.#dirty) {
      if (claims.length === ROWS_MAX) break;
      this.#dirty.delete(claim);
      if (claim.gone) this.#gone--;
      claim.written = true;
      claims.push(claim);
    }
    return claims;
  }

  async #claim(store: ClientStore, claims: readonly Claim[]): Promise<void> {
    const nowMs = performance.now();
    const over = new Set(
      await store.claim(
        claims.map(({ key, connection, will, sinceMs }) => ({ key, connection, will, ageMs: nowMs - sinceMs })),
      ),
    );
    for (const claim of claims) {
      if (over.has(claim.connection)) {
        claim.written = false;
        if (!claim.gone) claim.claimant.takenOver();
      } else if (claim.gone) this.done(claim);
    }
  }
}
