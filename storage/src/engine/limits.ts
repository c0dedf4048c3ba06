/** What a question may cost. */
export interface QueryLimits {
  /** Of the engine's work: waiting for a slow reader does not count. @units s */
  readonly secondsMax: number;
  /** Memory in the engine. @units bytes */
  readonly bytesMax: number;
  /** Rows that it reads; absent: any. */
  readonly rowsReadMax?: number;
  readonly resultRowsMax?: number;
  /** Of a streamed answer, in its format; of another, in the engine's columns. */
  readonly resultBytesMax?: number;
}

/** The clause that holds the engine to them. In the statement itself: elsewhere settings would stay with the connection.
 *  @param heldSecondsMax how long the engine may hold a query in all, slow readers included */
export function settingsOf(limits: QueryLimits, heldSecondsMax: number, urgency: Urgency): string {
  const settings = [
    `max_execution_time=${heldSecondsMax}`,
    "timeout_overflow_mode='throw'",
    `max_memory_usage=${limits.bytesMax}`,
    // One of two threads is enough for who does not wait.
    `max_threads=${urgency === 'background' ? 1 : 2}`,
  ];
  if (limits.rowsReadMax !== undefined)
    settings.push(`max_rows_to_read=${limits.rowsReadMax}`, "read_overflow_mode='throw'");
  if (limits.resultRowsMax !== undefined)
    settings.push(`max_result_rows=${limits.resultRowsMax}`, "result_overflow_mode='throw'");
  return `SETTINGS ${settings.join(', ')}`;
}

/** A question of somebody who waits, or work that must not stand in their way. */
export type Urgency = 'interactive' | 'background';

/** Settings of ClickHouse's formats that readers elsewhere count on. */
export const FORMAT_SETTINGS: Readonly<Record<string, string>> = {
  // What a number of JSON cannot hold is text.
  JSONCompactEachRowWithNamesAndTypes:
    ', output_format_json_quote_64bit_integers=1, output_format_json_quote_denormals=1, output_format_json_quote_decimals=1, output_format_json_validate_utf8=1',
  // As they are in the answer: null for what JSON does not know.
  JSONCompactEachRow:
    ', output_format_json_quote_64bit_integers=0, output_format_json_quote_denormals=0, output_format_json_named_tuples_as_objects=0',
  // Nothing stands for nothing, and times are RFC 3339.
  CSVWithNames: ", format_csv_null_representation='', date_time_output_format='iso'",
  // Many readers of Arrow know no compression inside; HTTP's own does it as well.
  ArrowStream: ", output_format_arrow_compression_method='none'",
  Arrow: ", output_format_arrow_compression_method='none'",
};
