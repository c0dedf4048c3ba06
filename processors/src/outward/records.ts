import type { StreamedDeadLetter, StreamedReading } from '@millrace/core';

/** What other programs read: one record of a topic. */
export interface OutwardRecord {
  /** The channel: its messages stay in order. */
  readonly key: string;
  readonly position: string;
  readonly bytes: Buffer;
}

/** Readings of one message beyond this go into a further record with the same position. */
const READINGS_CHARS_MAX = 256 * 1024;

/** One record a message; of what has very many readings, several.  @holds rows are in the order of the log */
export function readingRecords(partition: number, rows: readonly StreamedReading[]): OutwardRecord[] {
  const records: OutwardRecord[] = [];
  let of: StreamedReading | undefined;
  let texts: string[] = [];
  let size = 0;
  const end = (): void => {
    if (of === undefined) return;
    const head = JSON.stringify({ ...originOf(of), position: `${partition}-${of.offset}` });
    records.push(recordOf(of, partition, `${head.slice(0, -1)},"readings":[${texts.join(',')}]}`));
    texts = [];
    size = 0;
  };
  for (const row of rows) {
    const text = readingText(row);
    if (of?.offset !== row.offset || size + text.length > READINGS_CHARS_MAX) {
      end();
      of = row;
    }
    texts.push(text);
    size += text.length;
  }
  end();
  return records;
}

/** One record a dead letter. */
export function deadLetterRecords(partition: number, rows: readonly StreamedDeadLetter[]): OutwardRecord[] {
  return rows.map((row) => {
    const { message, contentType, index, reason, detail, size, payload } = row;
    const text = JSON.stringify({
      message,
      ...originOf(row),
      position: `${partition}-${row.offset}`,
      content_type: contentType,
      index,
      reason,
      detail,
      size,
      payload_base64: Buffer.from(payload).toString('base64'),
      ...(payload.length < size ? { truncated: true } : {}),
    });
    return recordOf(row, partition, text);
  });
}

type Origin = Pick<
  StreamedDeadLetter,
  'org' | 'channel' | 'subtopic' | 'publisher' | 'protocol' | 'receivedUs' | 'offset'
>;

const recordOf = ({ channel, offset }: Origin, partition: number, text: string): OutwardRecord => ({
  key: channel,
  position: `${partition}-${offset}`,
  bytes: Buffer.from(text),
});

const originOf = ({ org, channel, subtopic, publisher, protocol, receivedUs }: Origin) => ({
  org,
  channel,
  subtopic,
  publisher,
  protocol,
  received: Number(receivedUs) / 1e6,
});

/** The time stands there with all its digits, which no double holds. */
function readingText(row: StreamedReading): string {
  const { index, name, unit, timeNs, value, stringValue, boolValue, dataValue, sum, updateTime } = row;
  const rest = JSON.stringify({
    index,
    name,
    unit,
    ...(value === undefined ? {} : { value: Number.isFinite(value) ? value : String(value) }),
    ...(stringValue === undefined ? {} : { string_value: stringValue }),
    ...(boolValue === undefined ? {} : { bool_value: boolValue }),
    ...(dataValue === undefined ? {} : { data_value: dataValue }),
    ...(sum === undefined ? {} : { sum }),
    ...(updateTime === undefined ? {} : { update_time: updateTime }),
  });
  return `${rest.slice(0, -1)},"time":${secondsText(timeNs)}}`;
}

/** Decimal s of decimal ns. */
export function secondsText(ns: string): string {
  const [sign, digits] = ns.startsWith('-') ? ['-', ns.slice(1)] : ['', ns];
  const padded = digits.padStart(10, '0');
  const fraction = padded.slice(-9).replace(/0+$/, '');
  return `${sign}${padded.slice(0, -9)}${fraction === '' ? '' : `.${fraction}`}`;
}
