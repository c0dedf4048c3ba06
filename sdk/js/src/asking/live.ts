import { MillraceApiError, MillraceConnectionError, MillraceSubscriptionEnded } from '../error.ts';
import type { Reading } from '../messages/messages.ts';
import { pause } from '../retry.ts';
import type { Json } from '../schema.ts';
import type { Transport } from '../transport.ts';
import { rowsOf } from './lines.ts';
import type { ReadingsQuestion } from './readings.ts';

/** What can be asked of what is yet to come. With aggregations it needs an interval. */
export type LiveQuestion = Omit<ReadingsQuestion, 'limit' | 'dir' | 'order' | 'thin' | 'fill'>;
export interface LiveOptions {
  /** Of an earlier event: what came after it comes first. */
  readonly from?: string;
  readonly signal?: AbortSignal;
  /** What is stored from now on comes. Told after each reconnection too. */
  readonly onOpen?: () => void;
  /** The connection is lost; it is tried again after the pause.  @units ms */
  readonly onRetry?: (error: Error, pauseMs: number) => void;
}
export type LiveEvent =
  | { readonly type: 'readings'; readonly position?: string; readonly readings: readonly (Reading & Json)[] }
  | {
      readonly type: 'bucket';
      readonly position?: string;
      readonly channel?: string;
      readonly publisher?: string;
      readonly name?: string;
      readonly subtopic?: string;
      readonly unit?: string;
      /** Of the bucket's start. */
      readonly time: number | string;
      readonly values: Readonly<Record<string, unknown>>;
      /** 0, and more where readings came after it was told. */
      readonly revision: number;
    };
type Told =
  | LiveEvent
  | { readonly type: 'subscribed' | 'heartbeat'; readonly position?: string }
  | { readonly type: 'ended'; readonly position?: string; readonly reason: string };

const PAUSE_MS_MIN = 250;
const PAUSE_MS_MAX = 30_000;
/** After these there is no use in asking again. */
const FINAL = ['revoked', 'forbidden', 'too_expensive'];

/** A live question that outlives its connections.
 *  @throws MillraceSubscriptionEnded, MillraceApiError when there is no use in trying again */
export async function* followQuestion(
  transport: Transport,
  question: LiveQuestion,
  { from, signal, onOpen, onRetry }: LiveOptions = {},
): AsyncGenerator<LiveEvent, void, undefined> {
  const isOver = (): boolean => signal?.aborted === true;
  let position = from;
  let failures = 0;
  while (!isOver()) {
    let problem: Error = new MillraceConnectionError('CLOSED', transport.url, 'The connection was closed.');
    try {
      const response = await transport.stream('GET', '/readings/live', {
        query: { ...parametersOf(question), last_event_id: position },
        headers: { accept: 'application/x-ndjson' },
        ...(signal === undefined ? {} : { signal }),
      });
      for await (const told of rowsOf<Told>(response)) {
        if (isOver()) return;
        if (told.type === 'subscribed') onOpen?.();
        failures = 0;
        if (told.type === 'ended' && FINAL.includes(told.reason)) throw new MillraceSubscriptionEnded(told.reason);
        if (told.type === 'readings' || told.type === 'bucket') yield told;
        // Only what the reader has taken is passed.
        position = told.position ?? position;
      }
    } catch (error) {
      if (isOver()) return;
      if (!isWorthAnotherTry(error)) throw error;
      problem = error as Error;
    }
    const waitMs = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** failures++) * (0.5 + Math.random() / 2);
    onRetry?.(problem, waitMs);
    await pause(waitMs, signal).catch(() => undefined);
  }
}

const isWorthAnotherTry = (error: unknown): boolean =>
  (error instanceof MillraceConnectionError || error instanceof MillraceApiError) && error.retryable;

/** As a query string has them: lists parted by commas, objects as JSON. */
function parametersOf(question: LiveQuestion): Record<string, string> {
  const parameters: Record<string, string> = {};
  for (const [name, value] of Object.entries(question)) {
    if (value === undefined) continue;
    if (Array.isArray(value)) parameters[name] = value.join(',');
    else if (value instanceof Date) parameters[name] = value.toISOString();
    else parameters[name] = typeof value === 'object' ? JSON.stringify(value) : String(value);
  }
  return parameters;
}
