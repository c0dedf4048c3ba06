import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreError } from '@millrace/core';
import { type ChdbResult, drainPending, Session } from 'chdb';
import { bindingStatement, literal } from './binding.ts';
import type { EngineAnswerOptions } from './engine.ts';
import { makeFifo, throughFifo } from './fifo.ts';

/** One connection to the embedded engine: its own current database and parameters. */
interface Lane {
  readonly session: Session;
  /** Names of parameters that it has values of. */
  readonly held: Set<string>;
  readonly number: number;
  /** The pipe that its streamed answers come through, once there was one. */
  fifo: string | null;
}

/** Names come from our own statements and from a tenant's: a session that knows too many is not used again. */
const HELD_MAX = 64;
const KILL_AGAIN_MS = 100;
/** What an insert would gather before it writes: 65,409 rows however wide, of Arrow 256 MiB. */
const SMALL_BLOCKS =
  'use_strict_insert_block_limits=1, max_insert_block_size_bytes=1048576, min_insert_block_size_rows=65409, min_insert_block_size_bytes=1048576';

/** The embedded engine's sessions: each runs one statement at a time, and they run beside each other. As many are open as
 *  were ever needed at once; what is asked at once is bounded by who asks. */
export class Sessions {
  readonly #directory: string;
  readonly #spool: string;
  readonly #free: Lane[] = [];
  readonly #running = new Set<AbortController>();
  #made = 0;
  /** What each session is told first. */
  #first: string | null = null;
  #closed = false;

  /** @param spool a directory for files that last no longer than a statement */
  constructor(directory: string, spool: string, first: Session) {
    this.#directory = directory;
    this.#spool = spool;
    this.#free.push({ session: first, held: new Set(), number: this.#made++, fifo: null });
  }

  /** Those that are opened from now on start in it, and those that are free. */
  async use(database: string, settings = ''): Promise<void> {
    this.#first = `USE ${database}${settings === '' ? '' : `; SET ${settings}`}`;
    for (const { session } of this.#free) await session.queryAsync(this.#first);
  }

  /** Does something with a session of one's own. @param work is told the session's number too: no two have the same at once */
  async with<T>(work: (lane: Lane) => Promise<T>): Promise<T> {
    if (this.#closed) throw new StoreError('STORE_CLOSED', 'never');
    return this.#within(work);
  }
  async #within<T>(work: (lane: Lane) => Promise<T>): Promise<T> {
    const lane = await this.#take();
    let whole = false;
    try {
      const value = await work(lane);
      whole = true;
      return value;
    } finally {
      await this.#give(lane, whole);
    }
  }

  /** The whole answer.  @param options of a statement that answers nothing the format does not matter */
  async query(statement: string, options: Partial<EngineAnswerOptions> = {}): Promise<ChdbResult> {
    const { format = 'JSONEachRow', parameters, signal } = options;
    signal?.throwIfAborted();
    return this.with(async ({ session, held }) => {
      const binding = bindingStatement(parameters ?? {}, held);
      const mark = signal === undefined ? '' : markOf();
      const whole = `${binding === null ? '' : `${binding}; `}${mark}${statement}`;
      const answer = session.queryAsync(whole, { format });
      if (signal === undefined) return answer;
      let settled = false;
      const kill = (): void => void this.#kill(mark, () => settled);
      signal.addEventListener('abort', kill, { once: true });
      try {
        return await answer;
      } catch (error) {
        signal.throwIfAborted();
        throw error;
      } finally {
        settled = true;
        signal.removeEventListener('abort', kill);
      }
    });
  }

  /** The answer as it comes, in one document of the format. The engine writes it to a pipe: its own streams begin on the thread
   *  that asks, which would stand still while a subquery is computed, and make of each block a document of its own. */
  async *stream(statement: string, { format, parameters, signal }: EngineAnswerOptions): AsyncGenerator<Uint8Array> {
    signal?.throwIfAborted();
    if (this.#closed) throw new StoreError('STORE_CLOSED', 'never');
    const own = new AbortController();
    const lane = await this.#take();
    const mark = markOf();
    let settled = false;
    let whole = false;
    const end = (): void => own.abort(signal?.reason);
    const kill = (): void => void this.#kill(mark, () => settled);
    signal?.addEventListener('abort', end, { once: true });
    own.signal.addEventListener('abort', kill, { once: true });
    this.#running.add(own);
    try {
      lane.fifo ??= await this.#fifo();
      const { fifo, session, held } = lane;
      const binding = bindingStatement(parameters ?? {}, held);
      const into = `INSERT INTO FUNCTION file(${literal(fifo)}, '${format}') SETTINGS ${SMALL_BLOCKS} ${mark}${statement}`;
      if (signal?.aborted) end();
      own.signal.throwIfAborted();
      const write = () =>
        session.queryAsync(binding === null ? into : `${binding}; ${into}`).finally(() => {
          settled = true;
        });
      for await (const part of throughFifo(fifo, write, kill, own.signal)) {
        own.signal.throwIfAborted();
        yield part;
        own.signal.throwIfAborted();
      }
      whole = true;
    } catch (error) {
      own.signal.throwIfAborted();
      throw error;
    } finally {
      settled = true;
      signal?.removeEventListener('abort', end);
      this.#running.delete(own);
      await this.#give(lane, whole);
    }
  }
  async #fifo(): Promise<string> {
    const path = resolve(this.#spool, `${randomUUID()}.fifo`);
    await makeFifo(path);
    return path;
  }

  /** Ends what runs and waits for it. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const each of this.#running) each.abort(new StoreError('STORE_CLOSED', 'never'));
    await drainPending();
    for (const { session } of this.#free.splice(0)) session.close();
  }

  async #take(): Promise<Lane> {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    return this.#open();
  }
  async #open(number = this.#made++): Promise<Lane> {
    const session = new Session(this.#directory);
    try {
      if (this.#first !== null) await session.queryAsync(this.#first);
    } catch (error) {
      session.close();
      throw error;
    }
    return { session, held: new Set(), number, fifo: null };
  }
  /** Only one whose statement came to its end is used again: another holds what is left of it in the engine, may give that to
   *  who asks next, and may know values that nobody counts.
   *  @holds its successor is open before it closes: with the last session the engine itself would close */
  async #give(lane: Lane, whole: boolean): Promise<void> {
    const isGood = whole && lane.held.size <= HELD_MAX;
    const next = isGood || this.#closed ? lane : await this.#open(lane.number).catch(() => null);
    if (next !== lane) {
      lane.session.close();
      if (lane.fifo !== null) await rm(lane.fifo, { force: true });
    }
    if (this.#closed) next?.session.close();
    else if (next !== null) this.#free.push(next);
  }

  /** The engine gives its questions ids of its own: ours is a comment in the text. It may not have begun yet, so it is told
   *  until it is over. */
  async #kill(mark: string, settled: () => boolean): Promise<void> {
    const statement = `KILL QUERY WHERE position(query, '${mark}') > 0 AND query NOT LIKE 'KILL%' ASYNC`;
    while (!settled()) {
      // Also what runs when all is closed.
      await this.#within(({ session }) => session.queryAsync(statement)).catch(() => {});
      await sleep(KILL_AGAIN_MS, undefined, { ref: false });
    }
  }
}

const markOf = (): string => `/*${randomUUID()}*/ `;
