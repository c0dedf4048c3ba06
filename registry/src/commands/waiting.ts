import type { Command, Logger } from '@millrace/core';
import type { Session } from '../database/database.ts';

/** Requests that wait for the end of a command; a further one is answered at once that it goes on. */
const WAITING_MAX = 2_000;
/** Of which one organisation may have so many: its devices may all be asleep. */
const WAITING_PER_ORG_MAX = 500;
/** Those of another node's device are asked for so often, all in one statement. */
const POLL_MS = 400;

const ENDED = `SELECT wanted::text AS id FROM unnest($1::uuid[]) AS wanted
  LEFT JOIN registry.commands ON commands.id = wanted WHERE commands.id IS NULL OR settled_at IS NOT NULL`;

/** Who waits for the end of a command. What ends on this node is told at once, what ends elsewhere by a poll.
 *  @holds nobody who waits holds a connection to the database */
export class Waiting {
  readonly #session: Session;
  readonly #logger: Logger;
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #perOrg = new Map<string, number>();
  #count = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(session: Session, logger: Logger) {
    this.#session = session;
    this.#logger = logger;
  }

  get count(): number {
    return this.#count;
  }

  /** Until it has ended, is gone, or the time is over; not at all where too many wait.
   *  @param signal of who asked: no longer than they are there */
  async ended({ id, org }: Pick<Command, 'id' | 'org'>, ms: number, signal?: AbortSignal): Promise<void> {
    const ofOrg = this.#perOrg.get(org) ?? 0;
    const full = this.#count >= WAITING_MAX || ofOrg >= WAITING_PER_ORG_MAX;
    if (ms <= 0 || this.#stopped || full || signal?.aborted === true) return;
    this.#count++;
    this.#perOrg.set(org, ofOrg + 1);
    const { promise, resolve } = withResolvers();
    const others = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, others.add(resolve));
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', resolve, { once: true });
    this.#schedule();
    await promise;
    clearTimeout(timer);
    signal?.removeEventListener('abort', resolve);
    this.#count--;
    const left = (this.#perOrg.get(org) ?? 1) - 1;
    if (left === 0) this.#perOrg.delete(org);
    else this.#perOrg.set(org, left);
    others.delete(resolve);
    if (others.size === 0 && this.#waiting.get(id) === others) this.#waiting.delete(id);
  }

  /** Tells who waits here. */
  tell(id: string): void {
    for (const resolve of this.#waiting.get(id) ?? []) resolve();
  }

  /** Nobody waits any more, nor from now on. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const id of this.#waiting.keys()) this.tell(id);
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => void this.#poll(), POLL_MS);
  }

  async #poll(): Promise<void> {
    try {
      const rows = await this.#session.query<{ id: string }>(ENDED, [[...this.#waiting.keys()]]);
      for (const { id } of rows) this.tell(id);
    } catch (error) {
      this.#logger.debug({ err: error }, 'can not ask what became of commands; tries again');
    } finally {
      this.#timer = undefined;
      if (this.#waiting.size > 0 && !this.#stopped) this.#schedule();
    }
  }
}

/** @source ES2024, which Node 20 has not */
function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
