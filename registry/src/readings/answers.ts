import { setImmediate as turn } from 'node:timers/promises';
import { z } from '@hono/zod-openapi';
import type { AnswerBytes, LatestPage, Reading, ReadingsPage, Series, SeriesAnswer, SeriesPoint } from '@millrace/core';
import { contentTypeOf, fileEndingOf, type MediaForm } from '../http/negotiation.ts';
import { streamedAnswer } from '../http/streamed.ts';
import { type TimeFormat, timeJson } from '../http/time.ts';

export const ReadingAnswer = z
  .object({
    channel: z.string(),
    subtopic: z.string().describe('"" if none.'),
    publisher: z.string(),
    protocol: z.string().optional().describe('Not of latest and aggregated values.'),
    name: z.string(),
    unit: z.string().optional(),
    time: z.union([z.number(), z.string()]),
    update_time: z.number().optional(),
    value: z.number().nullable().optional().describe('null: a number that JSON does not know, or none in a bucket.'),
    string_value: z.string().optional(),
    bool_value: z.boolean().optional(),
    data_value: z.string().optional().describe('base64url without padding.'),
    sum: z.number().optional(),
  })
  .openapi('Reading');
export const SeriesQueryAnswer = z
  .object({
    columns: z.array(z.string()).describe('What the members of a point are: time, then the values.'),
    series: z.array(
      z.object({
        channel: z.string().optional(),
        publisher: z.string().optional(),
        name: z.string().optional(),
        subtopic: z.string().optional(),
        unit: z.string().optional(),
        points: z
          .array(z.array(z.any()))
          .describe('[time, value, …]; null where there is no value, or none that JSON knows.'),
        cut: z.boolean().describe('Whether limit left points out.'),
      }),
    ),
    cut: z.boolean().describe('Whether series_limit left series out.'),
    used: z.object({ source: z.enum(['readings', 'rollups_1m', 'rollups_1h']), why: z.string() }),
    channels_left_out: z
      .int()
      .optional()
      .describe('Channels of the organisation that were not asked, where none was named.'),
  })
  .openapi('SeriesAnswer');
export const LatestAnswer = z
  .object({
    limit: z.int(),
    messages: z.array(ReadingAnswer),
    cursor: z.string().optional().describe('Gives the next page; absent when this was the last.'),
    channels_left_out: z.int().optional(),
  })
  .openapi('Latest');

/** Points that are written in one go, without letting others do something in between. */
const POINTS_AT_ONCE = 20_000;
/** Of points that are text already, so much takes less. @units characters */
const TEXT_PER_POINT = 100;
/** Of an answer that is written piece by piece. */
const PART_CHARACTERS = 65_536;

function jsonText(text: string | Uint8Array): Response {
  return new Response(text as string, {
    headers: { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)), vary: 'Accept' },
  });
}

/** Members that are written down only where there is something to tell. */
const leftOutText = (leftOut: number): string => (leftOut === 0 ? '' : `,"channels_left_out":${leftOut}`);

/** JSON by hand: a double does not carry ns, so JSON.stringify could not write them. */
export function pageAnswer({ total, offset, limit, cursor, readings }: ReadingsPage, format: TimeFormat): Response {
  const frame = JSON.stringify({ total, offset, limit, ...(cursor === undefined ? {} : { cursor }) });
  return jsonText(
    `${frame.slice(0, -1)},"messages":[${readings.map((reading) => readingText(reading, format)).join(',')}]}`,
  );
}

export function readingText(reading: Reading, format: TimeFormat): string {
  const start = JSON.stringify({
    channel: reading.channel,
    subtopic: reading.subtopic,
    publisher: reading.publisher,
    protocol: reading.protocol,
    name: reading.name,
    ...(reading.unit === '' ? {} : { unit: reading.unit }),
  });
  const rest = JSON.stringify({
    update_time: reading.updateTime,
    value: reading.value,
    string_value: reading.stringValue,
    bool_value: reading.boolValue,
    data_value: reading.dataValue,
    sum: reading.sum,
  });
  return `${start.slice(0, -1)},"time":${timeJson(reading.timeNs, format)}${rest === '{}' ? '}' : `,${rest.slice(1)}`}`;
}

/** Fields of a series that tell what it is; `unit` is left out where it has none. */
function headOf({ channel, publisher, name, subtopic, unit }: Omit<Series, 'points'>): string {
  const head = JSON.stringify({ channel, publisher, name, subtopic, unit: unit === '' ? undefined : unit });
  return head.slice(1, -1);
}

/** A page of buckets of several series, as the classic dialect has it: each tells of which series it is.
 *  @holds in the order of time those of equal time stay in the order of their series */
export function bucketsAnswer(
  { series, cut }: SeriesAnswer,
  page: {
    readonly offset: number;
    readonly limit: number;
    readonly order: 'time' | 'name';
    readonly descending: boolean;
  },
  format: TimeFormat,
): Response {
  const { offset, limit } = page;
  const buckets = series.flatMap((each) => {
    const head = headOf(each);
    return each.points.map((point) => ({ head, point, ns: BigInt(point.timeNs) }));
  });
  const sign = page.descending ? -1 : 1;
  if (page.order === 'time') buckets.sort((a, b) => (a.ns === b.ns ? 0 : a.ns < b.ns ? -sign : sign));
  const shown = buckets.slice(offset, offset + limit);
  // What was cut in a series lies behind this page.
  const isWhole = !cut && !series.some((each) => each.cut);
  const total = isWhole ? buckets.length : Math.max(buckets.length, offset + shown.length + 1);
  const messages = shown.map(
    ({ head, point }) =>
      `{${head},"time":${timeJson(point.timeNs, format)},"value":${JSON.stringify(point.values[0])}}`,
  );
  return jsonText(`{"total":${total},"offset":${offset},"limit":${limit},"messages":[${messages.join(',')}]}`);
}

/** Series with their points as arrays; what is large is written piece by piece. */
export async function seriesAnswer(answer: AnySeriesAnswer, leftOut: number, format: TimeFormat): Promise<Response> {
  const count = answer.series.reduce(
    (sum, { points }) => sum + (typeof points === 'string' ? points.length / TEXT_PER_POINT : points.length),
    0,
  );
  const parts = seriesParts(answer, leftOut, format);
  if (count <= POINTS_AT_ONCE) return jsonText([...parts].join(''));
  return streamedAnswer(inTurns(parts), { contentType: contentTypeOf('json') });
}

type AnySeriesAnswer = SeriesAnswer<string | readonly SeriesPoint[]>;

function* seriesParts(
  { columns, series, cut, used }: AnySeriesAnswer,
  leftOut: number,
  format: TimeFormat,
): Generator<string> {
  yield `{"columns":${JSON.stringify(['time', ...columns])},"series":[`;
  for (const [index, each] of series.entries()) {
    const head = headOf(each);
    yield `${index === 0 ? '' : ','}{${head}${head === '' ? '' : ','}"points":[`;
    if (typeof each.points === 'string') yield* pieces(each.points);
    else
      for (let at = 0; at < each.points.length; at += POINTS_AT_ONCE) {
        const points = each.points.slice(at, at + POINTS_AT_ONCE).map((point) => pointText(point, format));
        yield `${at === 0 ? '' : ','}${points.join(',')}`;
      }
    yield `],"cut":${each.cut}}`;
  }
  yield `],"cut":${cut},"used":${JSON.stringify(used)}${leftOutText(leftOut)}}`;
}

/** Times and numbers: every character is a byte. */
function* pieces(text: string): Generator<string> {
  for (let at = 0; at < text.length; at += PART_CHARACTERS) yield text.slice(at, at + PART_CHARACTERS);
}

const pointText = ({ timeNs, values }: SeriesPoint, format: TimeFormat): string =>
  `[${timeJson(timeNs, format)},${JSON.stringify(values).slice(1)}`;

async function* inTurns(parts: Iterable<string>): AnswerBytes {
  let text = '';
  for (const part of parts) {
    text += part;
    if (text.length < PART_CHARACTERS) continue;
    yield Buffer.from(text);
    text = '';
    await turn();
  }
  yield Buffer.from(text);
}

const NEWLINE = 0x0a;
const COMMA = 0x2c;

/** Latest values, written by the engine: the lines of its JSON become members of an array. */
export function latestAnswer({ lines, cursor }: LatestPage, limit: number, leftOut: number): Response {
  const members = Buffer.from(lines.buffer, lines.byteOffset, lines.byteLength);
  for (let at = members.indexOf(NEWLINE); at >= 0; at = members.indexOf(NEWLINE, at)) members[at] = COMMA;
  const more = cursor === undefined ? '' : `,"cursor":${JSON.stringify(cursor)}`;
  return jsonText(
    Buffer.concat([
      Buffer.from(`{"limit":${limit}${more}${leftOutText(leftOut)},"messages":[`),
      // The last line ends, too.
      members.subarray(0, -1),
      Buffer.from(']}'),
    ]),
  );
}

/** Rows as the engine writes them.  @param name of the file, without its ending */
export const rowsAnswer = (bytes: AnswerBytes, form: MediaForm, name: string, leftOut = 0): Promise<Response> =>
  streamedAnswer(bytes, {
    contentType: contentTypeOf(form),
    fileName: `${name}.${fileEndingOf(form)}`,
    ...(leftOut === 0 ? {} : { headers: { 'channels-left-out': String(leftOut) } }),
  });
