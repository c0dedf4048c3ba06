import type {
  Command,
  CommandKind,
  CommandOutcome,
  Commands,
  Lwm2mAccount,
  Lwm2mDirectory,
  Lwm2mRegistration,
} from '@millrace/core';

/** Accounts and registrations in memory, for tests. */
export class MemoryLwm2mDirectory implements Lwm2mDirectory {
  readonly accounts = new Map<string, Lwm2mAccount>();
  readonly registrations = new Map<string, Lwm2mRegistration>();
  /** Asking throws this. */
  failure: Error | null = null;

  async account(endpoint: string, thing?: string): Promise<Lwm2mAccount | null> {
    this.#check();
    const account = this.accounts.get(endpoint) ?? null;
    return thing === undefined || account?.thing === thing ? account : null;
  }

  async accountOf(thing: string): Promise<Lwm2mAccount | null> {
    this.#check();
    return [...this.accounts.values()].find((account) => account.thing === thing) ?? null;
  }

  async register(registration: Lwm2mRegistration): Promise<void> {
    this.#check();
    this.registrations.set(registration.thing, registration);
  }

  async registration(location: string): Promise<Lwm2mRegistration | null> {
    this.#check();
    return [...this.registrations.values()].find((each) => each.location === location) ?? null;
  }

  async registrationOf(thing: string): Promise<Lwm2mRegistration | null> {
    this.#check();
    return this.registrations.get(thing) ?? null;
  }

  async remove(location: string): Promise<void> {
    for (const [thing, each] of this.registrations) if (each.location === location) this.registrations.delete(thing);
  }

  #check(): void {
    if (this.failure !== null) throw this.failure;
  }
}

interface Kept {
  readonly command: Command;
  state: string;
  leaseUntilMs: number;
  readonly outcomes: CommandOutcome[];
  readonly waiting: ((outcome: CommandOutcome) => void)[];
}
const FINAL = ['done', 'failed', 'expired', 'cancelled'];

/** A queue of commands in memory, for tests. */
export class MemoryCommands implements Commands {
  readonly kept = new Map<string, Kept>();
  taken = 0;
  /** The next answers to `settle` are this failure. */
  readonly failures: Error[] = [];
  readonly #listeners = new Set<(thing: string) => void>();

  async put(command: Command): Promise<boolean> {
    if (this.kept.has(command.id)) return false;
    this.kept.set(command.id, { command, state: 'queued', leaseUntilMs: 0, outcomes: [], waiting: [] });
    for (const listener of this.#listeners) listener(command.thing);
    return true;
  }

  async take(thing: string, kinds: readonly CommandKind[], leaseMs: number, max = 64): Promise<readonly Command[]> {
    const nowMs = Date.now();
    const free = [...this.kept.values()].filter(
      ({ command, state, leaseUntilMs }) =>
        command.thing === thing && kinds.includes(command.kind) && !FINAL.includes(state) && leaseUntilMs <= nowMs,
    );
    const given = free.slice(0, max);
    for (const each of given) {
      each.leaseUntilMs = nowMs + leaseMs;
      this.taken++;
    }
    return given.map(({ command }) => command);
  }

  async takeAny(): Promise<readonly Command[]> {
    return [];
  }

  async settle(id: string, outcome: CommandOutcome): Promise<boolean> {
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
    const kept = this.kept.get(id);
    if (kept === undefined || FINAL.includes(kept.state)) return false;
    kept.state = outcome.state;
    kept.outcomes.push(outcome);
    if (!FINAL.includes(outcome.state)) kept.leaseUntilMs = Number.POSITIVE_INFINITY;
    else for (const tell of kept.waiting.splice(0)) tell(outcome);
    return true;
  }

  onQueued(listener: (thing: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** How a command ends. */
  end(id: string): Promise<CommandOutcome> {
    const kept = this.kept.get(id);
    if (kept === undefined) throw new Error('no such command');
    const last = kept.outcomes.at(-1);
    if (last !== undefined && FINAL.includes(kept.state)) return Promise.resolve(last);
    return new Promise((resolve) => kept.waiting.push(resolve));
  }
}
