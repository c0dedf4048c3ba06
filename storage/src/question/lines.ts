import type { StreamOptions } from '@millrace/core';

export type TimeFormat = NonNullable<StreamOptions['time']>;

/** Whole units of so many ns since 1970, rounded down also before it. */
const floored = (ns: string, per: number): string => `intDiv(${ns} - positiveModulo(${ns}, ${per}), ${per})`;

/** JSON of a time, as the registry writes it: seconds to the µs, whole ms and µs rounded down, ns exact. */
export function timeJson(time: string, format: TimeFormat): string {
  const ns = `toUnixTimestamp64Nano(${time})`;
  if (format === 'ns') return `toString(${ns})`;
  if (format === 'us') return `toString(${floored(ns, 1_000)})`;
  if (format === 'ms') return `toString(${floored(ns, 1_000_000)})`;
  if (format === 's') return `toJSONString(${floored(ns, 1_000)} / 1e6)`;
  return `concat('"', ${rfc3339(time)}, '"')`;
}

/** RFC 3339 in UTC, without zeros at the end of the fraction. */
export const rfc3339 = (time: string): string =>
  `concat(replaceOne(trim(TRAILING '.' FROM trim(TRAILING '0' FROM toString(${time}))), ' ', 'T'), 'Z')`;

const text = (column: string, name = column): string => `',"${name}":', toJSONString(${column})`;
const number = (column: string): string =>
  `if(isNull(${column}), '', concat(',"${column}":', assumeNotNull(toJSONString(${column}))))`;

/** One reading as the engine writes it, in the JSON dialect: value fields that are absent are left out.
 *  @shape of columns channel, subtopic, publisher, name, unit, at, kind, value, string_value, bool_value, data_value, sum,
 *         and, if its message is known, protocol and update_time */
export function readingLine(format: TimeFormat, message: boolean): string {
  return `concat('{"channel":', toJSONString(channel), ${text('subtopic')}, ${text('publisher')},
  ${message ? `${text('protocol')}, ` : ''}${text('name')}, if(unit = '', '', concat(${text('unit')})),
  ',"time":', ${timeJson('at', format)}, ${message ? `${number('update_time')}, ` : ''}${number('value')},
  if(kind = 'string', concat(${text('string_value')}), ''),
  if(isNull(bool_value), '', concat(',"bool_value":', if(assumeNotNull(bool_value), 'true', 'false'))),
  if(kind = 'data', concat(',"data_value":"', base64URLEncode(data_value), '"'), ''), ${number('sum')}, '}')`;
}

/** Bytes as they are, a row a line: what is in them is JSON already, which holds no line break. */
export const LINES = 'TSVRaw';
/** JSON needs no `\/`. Where a part of the statement says so, the rest is not concerned. */
export const LINES_SETTINGS = 'SETTINGS output_format_json_escape_forward_slashes=0';
