import type { Messages, Reading, ReadingsQuery } from '../messages/messages.ts';
import type { BodyOf, Json, Schema } from '../schema.ts';
import type { CallOptions, Transport } from '../transport.ts';
import { rowsOf } from './lines.ts';
import { followQuestion, type LiveEvent, type LiveOptions, type LiveQuestion } from './live.ts';

type Timed<Body> = Omit<Body, 'from' | 'to'> & {
  /** From this time on. A number: seconds since 1970; text: RFC 3339, or relative as `now-1d/d`. */
  readonly from?: string | number | Date;
  /** Before this time. */
  readonly to?: string | number | Date;
};

/** What is asked of the readings of many series. */
export type ReadingsQuestion = Timed<BodyOf<'/readings/query', 'post'>>;
export type LatestQuestion = BodyOf<'/readings/latest', 'post'>;
export type SeriesAnswer = Schema<'SeriesAnswer'>;
export type LatestAnswer = Schema<'Latest'>;
/** Forms that an answer comes in as a file. */
export type FileForm = 'ndjson' | 'csv' | 'arrow' | 'parquet';

/** Readings: called with a channel all of them, page after page; else by questions. */
export interface Readings {
  /** Every reading of a channel that the query covers.  @param channel id or alias */
  (channel: string, query?: ReadingsQuery, options?: CallOptions): AsyncGenerator<Reading, void, undefined>;
  /** Series with their points, of many channels, things and names. */
  query(question: ReadingsQuestion, options?: CallOptions): Promise<SeriesAnswer>;
  /** The same as rows, as they come; all there are unless `limit` says fewer, and of every kind of value. */
  rows(question: ReadingsQuestion, options?: CallOptions): AsyncGenerator<Reading & Json, void, undefined>;
  /** The same as a file; its body is read as fast as it is taken. */
  stream(question: ReadingsQuestion, form: FileForm, options?: CallOptions): Promise<Response>;
  /** Its rows as they arrive, or its buckets as they end, until the signal aborts. Goes on by itself after a break. */
  live(question: LiveQuestion, options?: LiveOptions): AsyncGenerator<LiveEvent, void, undefined>;
  /** The last value of each series; on with the `cursor` that is answered. */
  latest(question?: LatestQuestion, options?: CallOptions): Promise<LatestAnswer>;
}

export function readingsBy(transport: Transport, messages: Messages): Readings {
  const stream: Readings['stream'] = (question, form, options) =>
    transport.stream('POST', '/readings/query', {
      ...options,
      body: bodyOf(question),
      query: { format: form },
      headers: { accept: '*/*', ...options?.headers },
      repeatable: true,
    });
  const questions = {
    query: (question: ReadingsQuestion, options: CallOptions = {}): Promise<SeriesAnswer> =>
      transport.call('POST', '/readings/query', { ...options, body: bodyOf(question), repeatable: true }),
    async *rows(question: ReadingsQuestion, options?: CallOptions) {
      yield* rowsOf<Reading & Json>(await stream(question, 'ndjson', options));
    },
    stream,
    live: (question: LiveQuestion, options?: LiveOptions) => followQuestion(transport, question, options),
    latest: (question: LatestQuestion = {}, options: CallOptions = {}): Promise<LatestAnswer> =>
      transport.call('POST', '/readings/latest', { ...options, body: question, repeatable: true }),
  };
  const ofChannel = (channel: string, query?: ReadingsQuery, options?: CallOptions) =>
    messages.readings(channel, query, options);
  return Object.assign(ofChannel, questions);
}

/** Dates become text as JSON writes them. */
const bodyOf = ({ from, to, ...rest }: ReadingsQuestion): object => ({ ...rest, from: timeOf(from), to: timeOf(to) });
const timeOf = (time: string | number | Date | undefined): unknown => (typeof time === 'number' ? String(time) : time);
