import type { Reading, ReadingsPage, ReadingsQuery } from '@millrace/core';
import type { QueryParameters } from '../engine/engine.ts';
import { instant, invalid, selectReadings } from '../question/selection.ts';
import type { Asker } from './asker.ts';
import { decodeCursor, encodeCursor } from './cursor.ts';

interface Row {
  readonly subtopic: string;
  readonly publisher: string;
  readonly protocol: string;
  readonly name: string;
  readonly unit: string;
  readonly time_ns: string;
  readonly kind: string;
  readonly value: number | null;
  readonly string_value: string;
  readonly bool_value: boolean | null;
  readonly data_value: string;
  readonly sum: number | null;
  readonly update_time: number | null;
  readonly at_partition: number;
  readonly at_offset: string;
  readonly at_index: number;
}

const OFFSET_MAX = 1_000_000;
const LIMIT_MAX = 1_000;

/** One page of a channel's readings. @see ReadingsStore.readings */
export async function readReadings(asker: Asker, query: ReadingsQuery): Promise<ReadingsPage> {
  const { offset, limit } = query;
  checkPage(offset, limit);
  const plan = planReadings(query);
  const rows = await asker.ask<Row>('readings', plan.statement, plan.parameters);
  const more = rows.length > limit;
  const last = more ? rows[limit - 1] : undefined;
  const shown = rows.slice(0, limit);
  let total = offset + shown.length + (more ? 1 : 0);
  // A last page tells it by itself.
  const isTold = !more && query.cursor === undefined && (shown.length > 0 || offset === 0);
  if (query.total === 'exact' && !isTold) {
    const [counted] = await asker.ask<{ total: string }>('total', plan.count, plan.parameters);
    total = Number(counted?.total ?? 0);
  }
  return {
    total,
    totalExact: query.total === 'exact',
    offset,
    limit,
    readings: shown.map((row) => toReading(query.channel, row)),
    ...(last === undefined
      ? {}
      : {
          cursor: encodeCursor({
            order: query.order,
            direction: query.direction,
            timeNs: last.time_ns,
            partition: last.at_partition,
            offset: last.at_offset,
            index: last.at_index,
            name: query.order === 'name' ? last.name : '',
          }),
        }),
  };
}

export interface ReadingsPlan {
  readonly statement: string;
  readonly count: string;
  readonly parameters: QueryParameters;
}

/** Statements for a query: all that comes from outside is a parameter.
 *  @throws StoreError STORE_QUERY_INVALID */
export function planReadings(query: ReadingsQuery): ReadingsPlan {
  const { channel, name, subtopic, publisher, protocol, ...filters } = query;
  const selected = selectReadings({
    ...filters,
    channels: [channel],
    ...(name === undefined ? {} : { names: [name] }),
    ...(subtopic === undefined ? {} : { subtopics: [subtopic] }),
    ...(publisher === undefined ? {} : { publishers: [publisher] }),
    ...(protocol === undefined ? {} : { protocols: [protocol] }),
  });
  const where = [...selected.where];
  const parameters: Record<string, string | number> = { ...selected.parameters };
  const count = `SELECT toString(count()) AS total FROM readings WHERE ${where.join(' AND ')}`;

  const descending = query.direction === 'desc';
  const key = ['time', 'log_partition', 'log_offset', '`index`'];
  if (query.order === 'name') key.unshift('name');
  if (query.cursor !== undefined) {
    if (query.offset !== 0) throw invalid('a cursor begins its page: offset must be 0');
    const cursor = decodeCursor(query.cursor, query.order, query.direction);
    const at = [instant('at'), '{at_partition:UInt16}', '{at_offset:UInt64}', '{at_index:UInt32}'];
    parameters.at = cursor.timeNs;
    parameters.at_partition = cursor.partition;
    parameters.at_offset = cursor.offset;
    parameters.at_index = cursor.index;
    if (query.order === 'name') {
      at.unshift('{at_name:String}');
      parameters.at_name = cursor.name;
    }
    // The first half lets the index skip; the second is exact.
    where.push(`${key[0]} ${descending ? '<=' : '>='} ${at[0]}`);
    where.push(`(${key.join(', ')}) ${descending ? '<' : '>'} (${at.join(', ')})`);
  }
  const direction = descending ? 'DESC' : 'ASC';
  const statement = `SELECT subtopic, publisher, protocol, name, unit, toString(toUnixTimestamp64Nano(time)) AS time_ns, kind,
  value, string_value, bool_value, base64URLEncode(data_value) AS data_value, sum, update_time,
  log_partition AS at_partition, toString(log_offset) AS at_offset, \`index\` AS at_index
FROM readings WHERE ${where.join(' AND ')}
ORDER BY ${key.map((each) => `readings.${each} ${direction}`).join(', ')} LIMIT ${query.limit + 1} OFFSET ${query.offset}`;
  return { statement, count, parameters };
}

function toReading(channel: string, row: Row): Reading {
  return {
    channel,
    subtopic: row.subtopic,
    publisher: row.publisher,
    protocol: row.protocol,
    name: row.name,
    unit: row.unit,
    timeNs: row.time_ns,
    ...(row.update_time === null ? {} : { updateTime: row.update_time }),
    ...(row.value === null ? {} : { value: row.value }),
    ...(row.kind === 'string' ? { stringValue: row.string_value } : {}),
    ...(row.bool_value === null ? {} : { boolValue: row.bool_value }),
    ...(row.kind === 'data' ? { dataValue: row.data_value } : {}),
    ...(row.sum === null ? {} : { sum: row.sum }),
  };
}

/** @throws StoreError STORE_QUERY_INVALID */
export function checkPage(offset: number, limit: number): void {
  if (!Number.isInteger(offset) || offset < 0 || offset > OFFSET_MAX)
    throw invalid(`offset must be 0 to ${OFFSET_MAX}; go on with the cursor beyond`);
  if (!Number.isInteger(limit) || limit < 1 || limit > LIMIT_MAX) throw invalid(`limit must be 1 to ${LIMIT_MAX}`);
}
