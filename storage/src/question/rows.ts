import type { AnswerBytes, AnswerFormat, RowsQuestion, StreamOptions } from '@millrace/core';
import type { QueryParameters } from '../engine/engine.ts';
import type { Asker } from '../read/asker.ts';
import { LINES, LINES_SETTINGS, readingLine, rfc3339 } from './lines.ts';
import { invalid, selectReadings } from './selection.ts';

/** Names that ClickHouse has for the formats. */
export const FORMATS: Readonly<Record<AnswerFormat, string>> = {
  ndjson: LINES,
  csv: 'CSVWithNames',
  arrow: 'ArrowStream',
  parquet: 'Parquet',
};

/** So much of a sort is held in memory, the rest on disk. */
const SORT_BYTES_MAX = 128 * 1024 * 1024;

/** Readings as they are, in the bytes of a format.  @see Questions.rows */
export function streamRows(asker: Asker, question: RowsQuestion, options: StreamOptions): AnswerBytes {
  const { format, signal, urgency } = options;
  const { statement, parameters } = planRows(question, options);
  const name = urgency === 'background' ? 'export' : 'rows';
  return asker.stream(name, statement, parameters, { format: FORMATS[format], org: question.org, signal, urgency });
}

/** In the order of time, or of name: then of channel, name and publisher first, as the readings lie, so that nothing is
 *  sorted however many there are.  @throws StoreError STORE_QUERY_INVALID */
export function planRows(
  question: RowsQuestion,
  { format, time = 's' }: Pick<StreamOptions, 'format' | 'time'>,
): { statement: string; parameters: QueryParameters } {
  const { order, direction, limit } = question;
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 1)) throw invalid('limit must be 1 or more');
  const { where, parameters } = selectReadings(question);
  const position = ['time', 'log_partition', 'log_offset', '`index`'];
  const key = order === 'name' ? ['channel', 'name', 'publisher', ...position] : position;
  const sorted = key.map((column) => `readings.${column} ${direction === 'desc' ? 'DESC' : 'ASC'}`).join(', ');
  const readings = `SELECT channel, subtopic, publisher, protocol, name, unit, readings.time AS at, kind, value, string_value,
    bool_value, data_value, sum, update_time
  FROM readings WHERE ${where.join(' AND ')}
  ORDER BY ${sorted}${limit === undefined ? '' : ` LIMIT ${limit}`} SETTINGS max_bytes_before_external_sort = ${SORT_BYTES_MAX}`;
  if (format === 'ndjson') {
    const line = `SELECT ${readingLine(time, true)} AS line FROM (${readings}) ${LINES_SETTINGS}`;
    return { statement: `SELECT line FROM (${line})`, parameters };
  }
  const statement = `SELECT channel::String AS channel, subtopic::String AS subtopic, publisher::String AS publisher,
  protocol::String AS protocol, name::String AS name, unit::String AS unit, ${format === 'csv' ? rfc3339('at') : 'at'} AS time,
  value, if(kind = 'string', string_value, NULL) AS string_value, bool_value,
  if(kind = 'data', base64URLEncode(data_value), NULL) AS data_value, sum, update_time
FROM (${readings})`;
  return { statement, parameters };
}
