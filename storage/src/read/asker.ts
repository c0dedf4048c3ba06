import { type AnswerBytes, type Histogram, type Metrics, StoreError } from '@millrace/core';
import type { Engine, QueryParameters } from '../engine/engine.ts';
import { engineCode, type QueryLimit, queryError, tooExpensive } from '../engine/errors.ts';
import { FORMAT_SETTINGS, type QueryLimits, settingsOf, type Urgency } from '../engine/limits.ts';
import type { Leave, Turnstile } from '../engine/turnstile.ts';

/** What is asked, as a label of metrics: a closed list. */
export type Question =
  | 'readings'
  | 'total'
  | 'series'
  | 'rows'
  | 'latest'
  | 'live'
  | 'topics'
  | 'sql'
  | 'export'
  | 'deletion'
  | 'verification'
  | 'retention'
  | 'payloads'
  | 'payload'
  | 'dead_letters'
  | 'fate'
  | 'activity'
  | 'last_message'
  | 'health';

export interface AskOptions {
  /** Who asks: orgs take turns. */
  readonly org?: string;
  /** Ends the question in the engine. */
  readonly signal?: AbortSignal;
  /** `interactive` if left out. */
  readonly urgency?: Urgency;
  /** In place of the standard ones. */
  readonly limits?: Partial<QueryLimits>;
  /** Numbers that JSON cannot hold come as texts, tuples as arrays: cheaper to plan than a statement that writes them. */
  readonly exact?: boolean;
}

export interface AskStreamOptions extends AskOptions {
  /** ClickHouse's own name: JSONEachRow, CSVWithNames, ArrowStream, Parquet, TabSeparated… */
  readonly format: string;
}

export interface AskerLimits extends QueryLimits {
  /** Work in the background. @units s */
  readonly backgroundSecondsMax: number;
  /** A reader that takes nothing for so long loses its place. @units s */
  readonly stalledSecondsMax: number;
}

const EXACT =
  ', output_format_json_quote_64bit_integers=1, output_format_json_quote_denormals=1, output_format_json_named_tuples_as_objects=0';

/** A streamed answer holds its place so long at most, whoever reads. @units s */
const HELD_SECONDS_MAX = 86_400;

/** What a statement says that has more rows than it may. */
const TOO_MANY_ROWS = 'more rows than may be answered';
const THROW_IF = 395;

type Asked = Pick<Engine, 'querySettings' | 'rows' | 'bytes' | 'stream'>;

/** Asks the engine within limits: so many at a time, so long, so much memory. */
export class Asker {
  readonly #engine: Asked;
  readonly #places: Readonly<Record<Urgency, Turnstile>>;
  readonly #limits: AskerLimits;
  readonly #seconds: Histogram<'question' | 'outcome'>;

  constructor(engine: Asked, places: Readonly<Record<Urgency, Turnstile>>, metrics: Metrics, limits: AskerLimits) {
    this.#engine = engine;
    this.#places = places;
    this.#limits = limits;
    this.#seconds = metrics.histogram(
      'millrace_store_query_seconds',
      'Time of a query, in s, by question and outcome',
      [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
      ['question', 'outcome'],
    );
  }

  /** @throws StoreError STORE_QUERY_TOO_EXPENSIVE, STORE_QUERY_INVALID, STORE_UNREACHABLE; the signal's reason */
  ask<Row>(
    question: Question,
    statement: string,
    parameters: QueryParameters = {},
    { exact = false, ...options }: AskOptions = {},
  ): Promise<Row[]> {
    return this.#whole(question, options, exact ? EXACT : '', (settings) =>
      this.#engine.rows<Row>(`${statement} ${settings}`, parameters, options.signal),
    );
  }

  /** A whole answer in the bytes of a format: of what is bounded, sooner than `stream`.
   *  @param options `bytesMax` of the format; `limits.resultBytesMax`, if any, of the engine's columns  @throws as `ask` */
  bytes(
    question: Question,
    statement: string,
    parameters: QueryParameters,
    { format, exact = false, bytesMax, ...options }: AskStreamOptions & { readonly bytesMax: number },
  ): Promise<Uint8Array> {
    const { signal } = options;
    const asked = { format, parameters, bytesMax, ...(signal === undefined ? {} : { signal }) };
    return this.#whole(question, options, exact ? EXACT : (FORMAT_SETTINGS[format] ?? ''), async (settings) => {
      const bytes = await this.#engine.bytes(`${statement} ${settings}`, asked);
      // What the engine counts are its columns: one value of a dictionary may stand for many.
      if (bytes.length > bytesMax) throw tooExpensive(question, 'result', bytesMax);
      return bytes;
    });
  }

  #whole<T>(
    question: Question,
    { org, signal, urgency = 'interactive', limits }: AskOptions,
    more: string,
    asked: (settings: string) => Promise<T>,
  ): Promise<T> {
    const within = this.#within(urgency, limits);
    const { resultBytesMax } = within;
    const settings = [
      settingsOf(within, within.secondsMax, urgency),
      this.#engine.querySettings,
      resultBytesMax === undefined ? '' : `, max_result_bytes=${resultBytesMax}, result_overflow_mode='throw'`,
      more,
    ].join('');
    const work = async (): Promise<T> => {
      const end = this.#seconds.startTimer({ question });
      try {
        const answer = await asked(settings);
        end({ outcome: 'ok' });
        return answer;
      } catch (cause) {
        if (signal?.aborted) {
          end({ outcome: 'aborted' });
          throw signal.reason;
        }
        const error = queryError(cause, question, within);
        end({ outcome: error.code });
        throw error;
      }
    };
    return this.#places[urgency].pass(work, org, signal);
  }

  /** The answer in the bytes of a format, as it comes. Nothing is asked before the first `next()`; an iterator that is
   *  returned, the signal, or a reader that takes nothing for long ends the query in the engine and frees its place.
   *  @holds what nobody takes is not read: one block at a time
   *  @throws StoreError while it is iterated, also after the first bytes; the signal's reason */
  stream(question: Question, statement: string, parameters: QueryParameters, options: AskStreamOptions): AnswerBytes {
    return {
      [Symbol.asyncIterator]: () => {
        const own = new AbortController();
        const parts = this.#parts(own, question, statement, parameters, options);
        return {
          next: () => parts.next(),
          // A generator would hear of it only when the engine has answered once more.
          return: async () => {
            own.abort(
              new StoreError('STORE_CLOSED', 'never', { question, problem: 'nobody reads the answer any more' }),
            );
            await parts.return(undefined).catch(() => {});
            return { done: true, value: undefined };
          },
        };
      },
    };
  }

  async *#parts(
    own: AbortController,
    question: Question,
    statement: string,
    parameters: QueryParameters,
    { format, org, signal, urgency = 'interactive', limits }: AskStreamOptions,
  ): AsyncGenerator<Uint8Array, undefined> {
    const within = this.#within(urgency, limits);
    const settings = `${settingsOf(within, HELD_SECONDS_MAX, urgency)}${this.#engine.querySettings}${FORMAT_SETTINGS[format] ?? ''}`;
    const tooMuch = (limit: QueryLimit, limitMax: number): void => own.abort(tooExpensive(question, limit, limitMax));
    const abort = (): void => own.abort(signal?.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort, { once: true });
    let leave: Leave | null = null;
    let end: ((labels: { outcome: string }) => void) | null = null;
    let outcome = 'aborted';
    try {
      leave = await this.#places[urgency].enter(org, own.signal);
      end = this.#seconds.startTimer({ question });
      const answer = this.#engine
        .stream(`${rowsBounded(statement, within)} ${settings}`, { format, parameters, signal: own.signal })
        [Symbol.asyncIterator]();
      // Nobody may ever ask for more: the place is not theirs any longer.
      const drop = (): void => void answer.return?.().then(leave ?? undefined, leave ?? undefined);
      let workedMs = 0;
      let size = 0;
      try {
        for (;;) {
          const begunMs = performance.now();
          const late = setTimeout(() => tooMuch('time', within.secondsMax), within.secondsMax * 1_000 - workedMs);
          const part = await answer.next().finally(() => clearTimeout(late));
          own.signal.throwIfAborted();
          if (part.done) break;
          workedMs += performance.now() - begunMs;
          size += part.value.length;
          if (within.resultBytesMax !== undefined && size > within.resultBytesMax)
            tooMuch('result', within.resultBytesMax);
          own.signal.throwIfAborted();
          const stalled = setTimeout(
            () => tooMuch('reader', this.#limits.stalledSecondsMax),
            this.#limits.stalledSecondsMax * 1_000,
          ).unref();
          own.signal.addEventListener('abort', drop, { once: true });
          try {
            yield part.value;
          } finally {
            clearTimeout(stalled);
            own.signal.removeEventListener('abort', drop);
          }
          own.signal.throwIfAborted();
        }
      } finally {
        await answer.return?.().catch(() => {});
      }
      outcome = 'ok';
    } catch (cause) {
      const known = own.signal.aborted ? own.signal.reason : cause;
      if (own.signal.aborted && !(known instanceof StoreError)) throw known;
      const error = isTooManyRows(known)
        ? tooExpensive(question, 'result', within.resultRowsMax, known)
        : queryError(known, question, within);
      outcome = error.code;
      throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
      leave?.();
      end?.({ outcome });
    }
  }

  #within(urgency: Urgency, limits: Partial<QueryLimits> | undefined): QueryLimits {
    const { backgroundSecondsMax, bytesMax } = this.#limits;
    const secondsMax = urgency === 'background' ? backgroundSecondsMax : this.#limits.secondsMax;
    return { secondsMax, bytesMax, ...limits };
  }
}

/** An engine that writes its answer somewhere does not count the rows of it. */
function rowsBounded(statement: string, { resultRowsMax }: QueryLimits): string {
  if (resultRowsMax === undefined) return statement;
  return `SELECT * FROM (SELECT * FROM (${statement}) LIMIT ${resultRowsMax + 1})
WHERE throwIf(rowNumberInAllBlocks() >= ${resultRowsMax}, '${TOO_MANY_ROWS}') = 0`;
}
const isTooManyRows = (error: unknown): boolean =>
  error instanceof Error && engineCode(error) === THROW_IF && error.message.includes(TOO_MANY_ROWS);
