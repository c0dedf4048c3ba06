import type { StoredStream, StreamedDeadLetter, StreamedReading, StreamPage, StreamQuery } from '@millrace/core';
import type { Asker } from '../read/asker.ts';
import { between, inOrder, PAGE_BYTES_MAX, type ReadingRow, toReading } from './arrivals.ts';
import { invalid } from './selection.ts';

const LIMIT_MAX = 10_000;
const RECEIVED = 'toString(toUnixTimestamp64Micro(received)) AS received_us';
/** A dead letter's place in its message: the whole message comes before its records. */
const DEAD_INDEX = 'ifNull(toUInt32(dead_letters.record_index + 1), 0)';

/** @see StoredStream */
export function createStoredStream(asker: Asker, check: () => void): StoredStream {
  return {
    async readings(query) {
      check();
      return streamReadings(asker, query);
    },
    async deadLetters(query) {
      check();
      return streamDeadLetters(asker, query);
    },
  };
}

interface StreamedRow extends ReadingRow {
  readonly org: string;
  readonly received_us: string;
}

async function streamReadings(asker: Asker, query: StreamQuery): Promise<StreamPage<StreamedReading>> {
  const parameters = placesOf(query);
  if (parameters === null) return { rows: [], next: query.from };
  const statement = inOrder(between, query.limit, `org, ${RECEIVED}, `);
  const rows = await asker.ask<StreamedRow>('topics', statement, parameters, { urgency: 'background' });
  const readings = rows.map((row) => ({ ...toReading(row), org: row.org, receivedUs: row.received_us }));
  return pageOf(readings, Number(rows[0]?.found ?? 0), query, ({ offset, index }) => ({ offset, index: index + 1 }));
}

interface DeadRow extends Omit<StreamedDeadLetter, 'message' | 'offset' | 'payload'> {
  readonly id: string;
  readonly at_offset: string;
  readonly base64: string;
  readonly found: string;
}

async function streamDeadLetters(
  asker: Asker,
  query: StreamQuery & { readonly payloadBytesMax: number },
): Promise<StreamPage<StreamedDeadLetter>> {
  const parameters = placesOf(query);
  if (parameters === null) return { rows: [], next: query.from };
  const bytes = Math.max(0, Math.floor(query.payloadBytesMax));
  const statement = `SELECT * EXCEPT (ahead, place) FROM (
  SELECT *, sum(length(base64)) OVER (ORDER BY log_offset, place
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS ahead, toString(count() OVER ()) AS found
  FROM (SELECT toString(dead_letters.id) AS id, org, channel, subtopic, publisher, protocol, content_type AS contentType,
      toString(toUnixTimestamp64Micro(received)) AS receivedUs, record_index AS \`index\`, reason, detail,
      base64Encode(substring(payload, 1, ${bytes})) AS base64, toUInt32(length(payload)) AS size,
      log_partition AS partition, log_offset, toString(log_offset) AS at_offset, ${DEAD_INDEX} AS place
    FROM dead_letters WHERE dead_letters.log_partition = {at_partition:UInt16}
      AND dead_letters.log_offset >= {at_offset:UInt64} AND dead_letters.log_offset < {at_end:UInt64}
      AND (dead_letters.log_offset, ${DEAD_INDEX}) >= ({at_offset:UInt64}, {at_index:UInt32})
    ORDER BY dead_letters.log_offset, place LIMIT ${query.limit}))
WHERE ahead < ${PAGE_BYTES_MAX} ORDER BY log_offset, ifNull(\`index\`, -1)`;
  const rows = await asker.ask<DeadRow & { readonly log_offset: unknown }>('topics', statement, parameters, {
    urgency: 'background',
  });
  const letters = rows.map(({ id, at_offset, base64, found: _, log_offset: __, ...rest }) => ({
    ...rest,
    message: id,
    offset: Number(at_offset),
    payload: Buffer.from(base64, 'base64'),
  }));
  return pageOf(letters, Number(rows[0]?.found ?? 0), query, ({ offset, index }) => ({
    offset,
    index: index === null ? 1 : index + 2,
  }));
}

/** null: there is nothing in between. */
function placesOf({ partition, from, before, limit }: StreamQuery): Record<string, string | number> | null {
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= LIMIT_MAX)) throw invalid(`limit must be 1 to ${LIMIT_MAX}`);
  if (from.offset >= before) return null;
  return { at_partition: partition, at_offset: String(from.offset), at_index: from.index, at_end: String(before) };
}

/** @param found how many there were before large ones were left for the next page */
function pageOf<Row>(
  rows: readonly Row[],
  found: number,
  { before, limit }: StreamQuery,
  after: (row: Row) => StreamPage<Row>['next'],
): StreamPage<Row> {
  const last = rows.at(-1);
  const isWhole = last === undefined || (found < limit && found === rows.length);
  return { rows, next: isWhole ? { offset: before, index: 0 } : after(last) };
}
