import { type Logger, MillraceError, type SessionKey, type SessionStore } from '@millrace/core';
import { SessionError } from './error.ts';
import { keyText, type SessionRecord } from './record.ts';
import type { SessionTally } from './tally.ts';

export interface WriteBehindOptions {
  readonly store: SessionStore;
  readonly logger: Logger;
  readonly tally: SessionTally;
  readonly nowMs: () => number;
  readonly intervalMs: number;
  readonly rowsMax: number;
  readonly expiryMs: number;
  readonly unsavedMax: number;
  /** A record whose holder has left is saved, or given up: nothing needs to be kept of it. */
  readonly onSettled: (record: SessionRecord) => void;
  /** The store answers again. */
  readonly onBack: () => void;
}

/** Due since a moment of performance.now(). */
interface Removal {
  readonly key: SessionKey;
  readonly dueMs: number;
}

const BACKOFF_MS_MIN = 50;
const BACKOFF_MS_MAX = 2_000;

/** Writes changed sessions to the store: one statement at a time, the next gathers meanwhile.
 *  What somebody waits for (`urge`) goes at once, then what has left, then the oldest changes, those at most `rowsMax` in
 *  `intervalMs`. Removals are gathered for as long, unless somebody waits for one.
 *  @holds a record is written with one generation; a fenced one is never written again; records that have left and can't
 *         be written are at most `unsavedMax`: beyond it the oldest is forgotten, so an older state of it is found */
export class WriteBehind {
  readonly #options: WriteBehindOptions;
  readonly #urgent = new Set<SessionRecord>();
  readonly #left = new Set<SessionRecord>();
  readonly #changed = new Set<SessionRecord>();
  readonly #removals = new Map<string, Removal>();
  #removing = new Set<string>();
  #waiting: (() => void)[] = [];
  #running = false;
  #scheduled = false;
  #stopped = false;
  #backoffMs = 0;
  #rowsMax: number;
  #changedDueMs = 0;
  #removalsDueMs = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: WriteBehindOptions) {
    this.#options = options;
    this.#rowsMax = options.rowsMax;
  }

  /** The store did not answer the last time. */
  get away(): boolean {
    return this.#backoffMs > 0;
  }

  get unsaved(): number {
    return this.#urgent.size + this.#left.size + this.#changed.size;
  }

  /** @units ms since 1970; null if all is saved */
  get oldestMs(): number | null {
    let oldest: number | null = null;
    for (const records of [this.#urgent, this.#left, this.#changed]) {
      // Each set is in the order of changing.
      for (const { dirtySinceMs } of records) {
        oldest = oldest === null ? dirtySinceMs : Math.min(oldest, dirtySinceMs);
        break;
      }
    }
    return oldest;
  }

  /** A change that may be lost by a crash. @returns its mark */
  touch(record: SessionRecord): number {
    const mark = ++record.mark;
    if (!record.persistent || record.lost || this.#stopped) return mark;
    if (this.#urgent.has(record) || this.#left.has(record) || this.#changed.has(record)) return mark;
    record.dirtySinceMs = this.#options.nowMs();
    // The first change in a while waits for those that follow it.
    if (this.#changed.size === 0) {
      this.#changedDueMs = Math.max(this.#changedDueMs, performance.now() + this.#options.intervalMs);
    }
    this.#changed.add(record);
    if (this.#timer === null && !this.#running) this.#timer = setTimeout(this.#tick, this.#options.intervalMs);
    return mark;
  }

  /** A change that somebody waits for. @returns its mark */
  urge(record: SessionRecord): number {
    const mark = ++record.mark;
    if (!record.persistent || record.lost || this.#stopped || this.#urgent.has(record)) return mark;
    this.#enter(record, this.#urgent);
    this.#soon();
    return mark;
  }

  /** Its connection is over: it is written with the time of its expiry. */
  leave(record: SessionRecord): void {
    record.mark++;
    if (record.lost || this.#stopped) {
      this.#options.onSettled(record);
      return;
    }
    this.#enter(record, this.#left);
    while (this.#left.size > this.#options.unsavedMax) {
      const [oldest] = this.#left;
      if (oldest === undefined) break;
      this.#left.delete(oldest);
      this.#options.tally.dropped('session_unsaved');
      this.#options.onSettled(oldest);
    }
    this.#soon();
  }

  /** It has a connection again before it was written. */
  unleave(record: SessionRecord): void {
    if (this.#left.delete(record)) this.#changed.add(record);
    this.touch(record);
  }

  /** Nothing of it is to be written any more. */
  forget(record: SessionRecord): void {
    this.#urgent.delete(record);
    this.#left.delete(record);
    this.#changed.delete(record);
  }

  /** Removes what is kept under a key, gathered. */
  remove(key: SessionKey): void {
    if (this.#stopped) return;
    if (this.#removals.size === 0) this.#removalsDueMs = performance.now() + this.#options.intervalMs;
    this.#removals.set(keyText(key), { key, dueMs: performance.now() });
    if (this.#removals.size >= this.#options.rowsMax) this.#hasten();
    else if (!this.#running && !this.#scheduled && this.#timer === null) this.#later();
  }

  /** Removals go with the next statement. */
  #hasten(): void {
    this.#removalsDueMs = 0;
    this.#soon();
  }

  get #removalsDue(): boolean {
    return this.#removals.size > 0 && performance.now() >= this.#removalsDueMs;
  }

  /** Settles once no removal of this key is to come. */
  async whenRemoved(text: string): Promise<void> {
    while ((this.#removals.has(text) || this.#removing.has(text)) && !this.#stopped) {
      this.#hasten();
      await this.#turn();
    }
  }

  get removals(): number {
    return this.#removals.size;
  }

  async flush(deadlineMs: number): Promise<void> {
    const end = performance.now() + deadlineMs;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, deadlineMs);
    });
    const busy = (): boolean => this.#running || this.unsaved > 0 || this.#removals.size > 0;
    while (busy() && performance.now() < end && !this.#stopped) {
      for (const record of this.#changed) this.#urgent.add(record);
      this.#changed.clear();
      this.#hasten();
      await Promise.race([this.#turn(), late]);
    }
    clearTimeout(timer);
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  #enter(record: SessionRecord, into: Set<SessionRecord>): void {
    const known = this.#urgent.delete(record) || this.#left.delete(record) || this.#changed.delete(record);
    if (!known) record.dirtySinceMs = this.#options.nowMs();
    into.add(record);
  }

  /** Resolves after the statement that runs or comes next. */
  #turn(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #later(): void {
    const changed = this.#changed.size > 0 ? this.#changedDueMs : Number.POSITIVE_INFINITY;
    const removals = this.#removals.size > 0 ? this.#removalsDueMs : Number.POSITIVE_INFINITY;
    const untilDueMs = Math.min(changed, removals) - performance.now() + 1;
    const waitMs = Math.max(1, Math.min(this.#options.intervalMs, untilDueMs));
    this.#timer = setTimeout(this.#tick, waitMs);
  }

  #soon(): void {
    if (this.#running || this.#scheduled || this.#stopped || this.away) return;
    this.#scheduled = true;
    setImmediate(this.#tick);
  }

  readonly #tick = (): void => {
    this.#scheduled = false;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#running || this.#stopped) return;
    this.#running = true;
    this.#write()
      .then(
        () => this.#succeeded(),
        (error: unknown) => this.#failed(error),
      )
      .finally(() => {
        const waiting = this.#waiting;
        this.#waiting = [];
        for (const wake of waiting) wake();
      });
  };

  #succeeded(): void {
    const back = this.away;
    this.#backoffMs = 0;
    this.#running = false;
    if (this.#urgent.size > 0 || this.#left.size > 0 || this.#removalsDue) this.#soon();
    else if ((this.#changed.size > 0 || this.#removals.size > 0) && !this.#stopped && this.#timer === null) {
      this.#later();
    }
    if (back) this.#options.onBack();
  }

  #failed(error: unknown): void {
    const { logger, tally } = this.#options;
    const code = error instanceof MillraceError ? error.code : 'fault';
    if (!this.away) logger.warn({ code, err: error }, 'sessions cannot be saved: they wait in memory');
    tally.saveFailed();
    this.#backoffMs = Math.min(BACKOFF_MS_MAX, Math.max(BACKOFF_MS_MIN, this.#backoffMs * 2));
    this.#running = false;
    if (!this.#stopped) this.#timer = setTimeout(this.#tick, this.#backoffMs);
  }

  async #write(): Promise<void> {
    await this.#writeRemovals();
    const next = this.#next();
    if (next.size > 0) await this.#save(next);
  }

  async #writeRemovals(): Promise<void> {
    if (!this.#removalsDue) return;
    const keys = [...this.#removals].slice(0, this.#options.rowsMax);
    this.#removing = new Set(keys.map(([text]) => text));
    for (const [text] of keys) this.#removals.delete(text);
    try {
      const nowMs = performance.now();
      await this.#options.store.remove(keys.map(([, { key, dueMs }]) => ({ key, ageMs: nowMs - dueMs })));
    } catch (error) {
      // Of the same client's removals the later removes more.
      for (const [text, removal] of keys) if (!this.#removals.has(text)) this.#removals.set(text, removal);
      throw error;
    } finally {
      this.#removing = new Set();
    }
  }

  /** The next to write, and where each waited. */
  #next(): Map<SessionRecord, Set<SessionRecord>> {
    const { intervalMs } = this.#options;
    const rowsMax = this.#rowsMax;
    const next = new Map<SessionRecord, Set<SessionRecord>>();
    const take = (set: Set<SessionRecord>, most: number): void => {
      for (const record of set) {
        if (next.size >= most) return;
        set.delete(record);
        next.set(record, set);
      }
    };
    const nowMs = performance.now();
    const due = nowMs >= this.#changedDueMs && this.#changed.size > 0;
    // A part is always left to those for whom nobody waits.
    take(this.#urgent, Math.max(1, rowsMax - (due ? rowsMax >>> 2 : 0)));
    take(this.#left, rowsMax);
    if (due) {
      this.#changedDueMs = nowMs + intervalMs;
      take(this.#changed, rowsMax);
    }
    return next;
  }

  async #save(waited: ReadonlyMap<SessionRecord, Set<SessionRecord>>): Promise<void> {
    const records = [...waited.keys()];
    const { store, expiryMs, tally, nowMs } = this.#options;
    const marks = records.map((record) => record.mark);
    const rows = records.map((record) => ({
      key: record.key,
      generation: record.generation,
      state: record.snapshot(),
      expiresMs: record.leftMs === null ? null : record.leftMs + expiryMs,
    }));
    const startedMs = nowMs();
    let fenced: ReadonlySet<string>;
    try {
      fenced = new Set((await store.save(rows)).map(keyText));
    } catch (error) {
      if (isLasting(error)) this.#narrow(records);
      for (const [record, set] of waited) this.#again(record, set);
      throw error;
    }
    this.#rowsMax = Math.min(this.#options.rowsMax, this.#rowsMax * 2);
    tally.saved(rows.length, (nowMs() - startedMs) / 1_000);
    for (const [index, record] of records.entries()) {
      if (fenced.has(record.keyText)) {
        this.forget(record);
        tally.fenced();
        record.fenced(new SessionError('SESSION_TAKEN', 'now'));
        this.#options.onSettled(record);
      } else {
        const mark = marks[index] as number;
        record.saved(mark);
        if (record.leftMs !== null && record.mark === mark) this.#options.onSettled(record);
      }
    }
  }

  /** A row can't be written, now or ever: fewer at a time until it is alone. Then its session is over. */
  #narrow(records: readonly SessionRecord[]): void {
    this.#rowsMax = Math.max(1, records.length >>> 1);
    const [only] = records;
    if (records.length > 1 || only === undefined) return;
    this.forget(only);
    only.fenced(new SessionError('SESSION_NOT_SAVED', 'never'));
    this.#options.onSettled(only);
  }

  /** Back to where it waited, unless it waits elsewhere by now. */
  #again(record: SessionRecord, set: Set<SessionRecord>): void {
    if (record.lost || this.#urgent.has(record) || this.#left.has(record)) return;
    this.#changed.delete(record);
    if (record.leftMs !== null) this.#left.add(record);
    else (set === this.#left ? this.#changed : set).add(record);
  }
}

/** Whether trying again is of no use. */
const isLasting = (error: unknown): boolean => !(error instanceof MillraceError) || error.retry === 'never';
