import {
  type DeadLetter,
  type DeadLettersPage,
  type DeadLettersQuery,
  GONE_PARTITION_MIN,
  isUuid,
  type MessageFate,
  type MessageOrigin,
  type PayloadHead,
  type PayloadsPage,
  type PayloadsQuery,
  type StoredPayload,
  StoreError,
} from '@millrace/core';
import type { Asker } from './asker.ts';
import { decodePlace, encodePlace } from './cursor.ts';
import { checkPage } from './readings.ts';

const ORIGIN = `toString(id) AS id, org, channel, subtopic, publisher, protocol, content_type AS contentType,
  toString(toUnixTimestamp64Micro(received)) AS receivedUs`;

/** The newest first; of one batch the later ones of the log. */
const KEY = ['received', 'log_partition', 'log_offset'];

/** One page of a channel's raw payloads, newest first. */
export async function readPayloads(asker: Asker, query: PayloadsQuery): Promise<PayloadsPage> {
  const { org, channel, offset, limit, cursor } = query;
  checkPage(offset, limit);
  const where = ['org = {org:String}', 'channel = {channel:String}'];
  const parameters: Record<string, string | number> = { org, channel };
  if (cursor !== undefined) where.push(...beyond(cursor, offset, KEY, parameters));
  const rows = await asker.ask<PayloadHead & { readonly atPartition: number; readonly atOffset: string }>(
    'payloads',
    `SELECT ${ORIGIN}, size, log_partition AS atPartition, toString(log_offset) AS atOffset
FROM messages WHERE ${where.join(' AND ')}
ORDER BY ${KEY.map((each) => `${each} DESC`).join(', ')} LIMIT ${limit + 1} OFFSET ${offset}`,
    parameters,
  );
  const last = rows.length > limit ? rows[limit - 1] : undefined;
  return {
    ...pageOf(rows.length, offset, limit),
    payloads: rows.slice(0, limit).map(({ atPartition: _, atOffset: __, ...head }) => head),
    ...(last === undefined
      ? {}
      : {
          cursor: encodePlace({
            receivedUs: last.receivedUs,
            partition: last.atPartition,
            offset: last.atOffset,
            index: -1,
          }),
        }),
  };
}

/** Conditions for what comes after a cursor's place. The first lets the primary key skip, the second is exact.
 *  @throws StoreError STORE_QUERY_INVALID */
function beyond(
  cursor: string,
  pageOffset: number,
  key: readonly string[],
  parameters: Record<string, string | number>,
): string[] {
  if (pageOffset !== 0)
    throw new StoreError('STORE_QUERY_INVALID', 'never', { problem: 'a cursor begins its page: offset must be 0' });
  const { receivedUs, partition, offset, index } = decodePlace(cursor);
  Object.assign(parameters, { at: receivedUs, at_partition: partition, at_offset: offset, at_index: index });
  const at = [instant('at'), '{at_partition:UInt16}', '{at_offset:UInt64}', '{at_index:Int64}'].slice(0, key.length);
  return [`received <= ${at[0]}`, `(${key.join(', ')}) < (${at.join(', ')})`];
}
const instant = (name: string): string => `fromUnixTimestamp64Micro({${name}:Int64}, 'UTC')`;

/** The message's row in the log tells where in `messages` its payload is. */
export async function readPayload(asker: Asker, id: string): Promise<StoredPayload | null> {
  if (!isUuid(id)) return null;
  const [row] = await asker.ask<PayloadHead & { readonly base64: string }>(
    'payload',
    `SELECT ${ORIGIN}, size, base64Encode(payload) AS base64 FROM messages
WHERE messages.id = {id:UUID} AND (org, channel, received) IN
  (SELECT org, channel, received FROM message_log WHERE toUInt128(message_log.id) = toUInt128({id:UUID}))
LIMIT 1`,
    { id },
  );
  if (row === undefined) return null;
  const { base64, ...head } = row;
  return { ...head, bytes: Buffer.from(base64, 'base64') };
}

interface DeadLetterRow extends Omit<DeadLetter, 'message' | 'offset' | 'payload' | 'cursor'> {
  readonly id: string;
  readonly offset: string;
  readonly base64: string;
}

/** A whole message comes after its records. */
const DEAD_KEY = [...KEY, 'ifNull(toInt64(record_index), -1)'];
const MESSAGES_MAX = 1_000;
/** Microseconds that the engine's clock can say.  @source DateTime64(6) */
const US_MIN = -2_208_988_800_000_000n;
const US_MAX = 9_223_372_036_854_775n;

/** One page of dead letters, newest first. */
export async function readDeadLetters(asker: Asker, query: DeadLettersQuery): Promise<DeadLettersPage> {
  const { offset, limit } = query;
  checkPage(offset, limit);
  const messages = query.message === undefined ? query.messages : [query.message];
  if (messages !== undefined && messages.length > MESSAGES_MAX)
    throw new StoreError('STORE_QUERY_INVALID', 'never', { problem: `at most ${MESSAGES_MAX} messages at once` });
  if (messages !== undefined && (messages.length === 0 || !messages.every(isUuid)))
    return { ...pageOf(0, offset, limit), deadLetters: [] };
  const { where, parameters } = deadLetterConditions(query, messages);
  const bytes = Math.max(0, Math.floor(query.payloadBytesMax ?? 0));
  const payload = query.payloadBytesMax === undefined ? 'payload' : `substring(payload, 1, ${bytes})`;
  const rows = await asker.ask<DeadLetterRow>(
    'dead_letters',
    `SELECT ${ORIGIN}, record_index AS \`index\`, reason, detail, base64Encode(${payload}) AS base64,
  toUInt32(length(payload)) AS size, log_partition AS partition, toString(log_offset) AS offset
FROM dead_letters WHERE ${where.join(' AND ')}
ORDER BY ${DEAD_KEY.map((each) => `${each} DESC`).join(', ')} LIMIT ${limit + 1} OFFSET ${offset}`,
    parameters,
  );
  const deadLetters = rows.slice(0, limit).map(({ id, base64, offset: at, ...rest }) => ({
    ...rest,
    message: id,
    offset: Number(at),
    payload: Buffer.from(base64, 'base64'),
    cursor: encodePlace({
      receivedUs: rest.receivedUs,
      partition: rest.partition,
      offset: at,
      index: rest.index ?? -1,
    }),
  }));
  const last = rows.length > limit ? deadLetters.at(-1) : undefined;
  return {
    ...pageOf(rows.length, offset, limit),
    deadLetters,
    ...(last === undefined ? {} : { cursor: last.cursor }),
  };
}

function deadLetterConditions(query: DeadLettersQuery, messages: readonly string[] | undefined) {
  const where = ['1'];
  const parameters: Record<string, string | number | readonly string[]> = {};
  for (const [field, value] of [
    ['org', query.org ?? undefined],
    ['channel', query.channel],
    ['publisher', query.publisher],
    ['reason', query.reason],
  ] as const) {
    if (value === undefined) continue;
    where.push(`${field} = {${field}:String}`);
    parameters[field] = value;
  }
  if (messages !== undefined) {
    where.push('dead_letters.id IN {messages:Array(UUID)}');
    parameters.messages = messages;
  }
  if (query.message !== undefined) {
    // The table is in the order of reception: the message's row in the log tells when that was.
    where.push(`(org, received) IN
  (SELECT org, received FROM message_log WHERE toUInt128(message_log.id) = toUInt128({message:UUID}))`);
    parameters.message = query.message;
  }
  const clamped = (us: bigint): string => String(us < US_MIN ? US_MIN : us > US_MAX ? US_MAX : us);
  if (query.fromUs !== undefined) {
    where.push(`received >= ${instant('from')}`);
    parameters.from = clamped(query.fromUs);
  }
  if (query.toUs !== undefined) {
    where.push(`received < ${instant('to')}`);
    parameters.to = clamped(query.toUs);
  }
  if (query.cursor !== undefined) {
    const at: Record<string, string | number> = {};
    where.push(...beyond(query.cursor, query.offset, DEAD_KEY, at));
    Object.assign(parameters, at);
  }
  return { where, parameters };
}

export type FateRow = Omit<MessageFate, 'offset'> & { readonly offset: string };
export const FATE = `${ORIGIN}, size, log_partition AS partition, toString(log_offset) AS offset, decision, readings,
  dead_letters AS deadLetters, stored, reason`;
export const fateOf = (row: FateRow | undefined): MessageFate | null =>
  row === undefined ? null : { ...row, offset: Number(row.offset) };

/** What the log says of a message. */
export async function readFate(asker: Asker, id: string): Promise<MessageFate | null> {
  if (!isUuid(id)) return null;
  const [row] = await asker.ask<FateRow>(
    'fate',
    // What is replayed twice has the same id, and the second is left out: the first counts.
    `SELECT ${FATE} FROM message_log WHERE toUInt128(message_log.id) = toUInt128({id:UUID})
ORDER BY reason = 'duplicate' LIMIT 1`,
    { id },
  );
  return fateOf(row);
}

/** Nodes' clocks differ, so the order of ids is not quite that of the log: of so many newest ones the last is taken. */
const NEWEST = 64;
/** Rows of a log that is gone are older than all of the log, those of a later restore younger. */
const LOG_AGE = `if(log_partition < ${GONE_PARTITION_MIN}, 65536, log_partition)`;

/** The last message of a channel and subtopic. The table is sorted as messages were made and is read from its end, so
 *  whatever was published lately is found at once. */
export async function readLastMessage(
  asker: Asker,
  { org, channel, subtopic }: MessageOrigin,
): Promise<MessageFate | null> {
  const [row] = await asker.ask<FateRow>(
    'last_message',
    `SELECT ${FATE} FROM (
  SELECT * FROM message_log WHERE org = {org:String} AND channel = {channel:String} AND subtopic = {subtopic:String}
  ORDER BY toUInt128(message_log.id) DESC LIMIT ${NEWEST}
) AS message_log ORDER BY ${LOG_AGE} DESC, log_offset DESC LIMIT 1`,
    { org, channel, subtopic },
  );
  return fateOf(row);
}

const pageOf = (rowCount: number, offset: number, limit: number) => ({
  total: offset + rowCount,
  totalExact: false,
  offset,
  limit,
});
