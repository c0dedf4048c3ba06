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
} from '@millrace/core';
import type { Asker } from './asker.ts';
import { checkPage } from './readings.ts';

const ORIGIN = `toString(id) AS id, org, channel, subtopic, publisher, protocol, content_type AS contentType,
  toString(toUnixTimestamp64Micro(received)) AS receivedUs`;

/** One page of a channel's raw payloads, newest first. */
export async function readPayloads(asker: Asker, query: PayloadsQuery): Promise<PayloadsPage> {
  const { org, channel, offset, limit } = query;
  checkPage(offset, limit);
  const rows = await asker.ask<PayloadHead>(
    'payloads',
    `SELECT ${ORIGIN}, size FROM messages WHERE org = {org:String} AND channel = {channel:String}
ORDER BY received DESC, log_partition DESC, log_offset DESC LIMIT ${limit + 1} OFFSET ${offset}`,
    { org, channel },
  );
  return { ...pageOf(rows.length, offset, limit), payloads: rows.slice(0, limit) };
}

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

interface DeadLetterRow extends Omit<DeadLetter, 'message' | 'offset' | 'payload'> {
  readonly id: string;
  readonly offset: string;
  readonly base64: string;
}

/** One page of dead letters, newest first. */
export async function readDeadLetters(asker: Asker, query: DeadLettersQuery): Promise<DeadLettersPage> {
  const { org, channel, message, reason, offset, limit } = query;
  checkPage(offset, limit);
  if (message !== undefined && !isUuid(message)) return { ...pageOf(0, offset, limit), deadLetters: [] };
  const where = ['1'];
  const parameters: Record<string, string> = {};
  if (org !== null) {
    where.push('org = {org:String}');
    parameters.org = org;
  }
  if (channel !== undefined) {
    where.push('channel = {channel:String}');
    parameters.channel = channel;
  }
  if (message !== undefined) {
    where.push('dead_letters.id = {message:UUID}');
    parameters.message = message;
  }
  if (reason !== undefined) {
    where.push('reason = {reason:String}');
    parameters.reason = reason;
  }
  const rows = await asker.ask<DeadLetterRow>(
    'dead_letters',
    `SELECT ${ORIGIN}, record_index AS \`index\`, reason, detail, base64Encode(payload) AS base64,
  log_partition AS partition, toString(log_offset) AS offset
FROM dead_letters WHERE ${where.join(' AND ')}
ORDER BY received DESC, log_partition DESC, log_offset DESC, record_index DESC LIMIT ${limit + 1} OFFSET ${offset}`,
    parameters,
  );
  const deadLetters = rows.slice(0, limit).map(({ id, base64, offset: at, ...rest }) => ({
    ...rest,
    message: id,
    offset: Number(at),
    payload: Buffer.from(base64, 'base64'),
  }));
  return { ...pageOf(rows.length, offset, limit), deadLetters };
}

type FateRow = Omit<MessageFate, 'offset'> & { readonly offset: string };
const FATE = `${ORIGIN}, size, log_partition AS partition, toString(log_offset) AS offset, decision, readings,
  dead_letters AS deadLetters, stored, reason`;
const fateOf = (row: FateRow | undefined): MessageFate | null =>
  row === undefined ? null : { ...row, offset: Number(row.offset) };

/** What the log says of a message. */
export async function readFate(asker: Asker, id: string): Promise<MessageFate | null> {
  if (!isUuid(id)) return null;
  const [row] = await asker.ask<FateRow>(
    'fate',
    `SELECT ${FATE} FROM message_log WHERE toUInt128(message_log.id) = toUInt128({id:UUID}) LIMIT 1`,
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
