import { isUuid, type Metrics, type RetainedMessage, type RetainedStore } from '@millrace/core';
import type { Session } from '../database/database.ts';
import { isKeepable } from './keepable.ts';
import { Room } from './room.ts';

/** Longer ones do not fit into the index. */
const SUBTOPIC_BYTES_MAX = 2_048;
const TEXT_BYTES_MAX = 4_096;
const ROWS_A_STATEMENT_MAX = 1_000;
const BYTES_A_STATEMENT_MAX = 4 * 1024 * 1024;
const FOUND_BYTES_MAX = 64 * 1024 * 1024;
/** Received so much later, a message with a lower offset is of a log that began anew. */
const ANEW_US_MIN = 3_600_000_000;

export interface RetainedStoreOptions {
  readonly session: Session;
  readonly perOrgMax: number;
  readonly metrics: Metrics;
}

/** What a statement did in one org. */
interface KeptRow {
  readonly org: string;
  readonly clears: boolean;
  readonly grown: number;
  readonly left: number | null;
  readonly refused: number[] | null;
}

interface RetainedRow {
  readonly id: string;
  readonly org: string;
  readonly channel: string;
  readonly subtopic: string;
  readonly publisher: string;
  readonly contentType: string;
  readonly received_us: string;
  readonly qos: 0 | 1 | 2;
  readonly payload: Buffer;
  readonly partition: number;
  readonly log_offset: string;
}

/** One row a topic, the last by the log's order, whichever comes first to the database.
 *  @holds the org is the channel's, whatever the message says; what is of a channel that is gone is not kept */
export function createRetainedStore({ session, perOrgMax, metrics }: RetainedStoreOptions): RetainedStore {
  const refusals = metrics.counter(
    'millrace_registry_retained_refused_total',
    'Retained messages that were not kept.',
    ['reason'],
  );
  const topics = new Room(perOrgMax);
  const tombstones = new Room(perOrgMax);
  return {
    async keep(messages) {
      const refused = new Set<number>();
      const latest = new Map<string, number>();
      for (const [index, message] of messages.entries()) {
        if (!isValid(message)) {
          refused.add(index);
          refusals.inc({ reason: 'malformed' });
          continue;
        }
        const topic = `${message.channel}/${message.subtopic}`;
        const before = messages[latest.get(topic) ?? -1];
        if (before === undefined || isLater(message, before)) latest.set(topic, index);
      }
      for (const chunk of chunks(messages, [...latest.values()])) {
        const pick = <T>(of: (message: RetainedMessage) => T): T[] =>
          chunk.map((index) => of(messages[index] as RetainedMessage));
        const nowMs = performance.now();
        const orgs = pick(({ org }) => org).filter(isUuid);
        const rows = await session.query<KeptRow>(KEEP, [
          chunk,
          pick(({ channel }) => channel),
          pick(({ subtopic }) => subtopic),
          pick(({ id }) => id),
          pick(({ publisher }) => publisher),
          pick(({ contentType }) => contentType),
          pick(({ receivedUs }) => receivedUs),
          pick(({ qos }) => qos),
          pick(({ payload }) => payload),
          pick(({ partition }) => partition),
          pick(({ offset }) => offset),
          perOrgMax,
          topics.sure(orgs, chunk.length, nowMs),
          tombstones.sure(orgs, chunk.length, nowMs),
        ]);
        for (const row of rows) {
          (row.clears ? tombstones : topics).grown(row.org, row.grown, row.left, nowMs);
          for (const at of row.refused ?? []) refused.add(at);
          if (row.refused !== null) refusals.inc({ reason: 'full' }, row.refused.length);
        }
      }
      return [...refused].sort((one, other) => one - other);
    },

    async find({ owner, channel, prefix, exact, limit }) {
      if (!isUuid(owner) || (channel !== null && !isUuid(channel)) || !isKeepable(prefix, TEXT_BYTES_MAX)) return [];
      const values = [channel ?? owner, limit, FOUND_BYTES_MAX];
      const where = channel === null ? OF_ORGS : 'channel = $1';
      const all = prefix === '' && !exact;
      const topic = exact ? 'subtopic = $4' : UNDER;
      const rows = await session.query<RetainedRow>(
        found(all ? where : `${where} AND ${topic}`),
        all ? values : [...values, prefix],
      );
      return rows.map(({ received_us, log_offset, ...row }) => ({
        ...row,
        receivedUs: Number(received_us),
        offset: Number(log_offset),
      }));
    },
  };
}

/** @holds the same as LATER says of two rows */
function isLater(one: RetainedMessage, other: RetainedMessage): boolean {
  if (one.receivedUs > other.receivedUs + ANEW_US_MIN) return true;
  return one.partition === other.partition ? one.offset > other.offset : one.receivedUs > other.receivedUs;
}

const isValid = (message: RetainedMessage): boolean =>
  isUuid(message.channel) &&
  isUuid(message.id) &&
  isKeepable(message.subtopic, SUBTOPIC_BYTES_MAX) &&
  isKeepable(message.publisher, TEXT_BYTES_MAX) &&
  isKeepable(message.contentType, TEXT_BYTES_MAX);

/** Statements of bounded size. */
function* chunks(messages: readonly RetainedMessage[], indexes: readonly number[]): Generator<number[]> {
  let chunk: number[] = [];
  let size = 0;
  for (const index of indexes) {
    const next = messages[index]?.payload.length ?? 0;
    if (chunk.length === ROWS_A_STATEMENT_MAX || (chunk.length > 0 && size + next > BYTES_A_STATEMENT_MAX)) {
      yield chunk;
      chunk = [];
      size = 0;
    }
    chunk.push(index);
    size += next;
  }
  if (chunk.length > 0) yield chunk;
}

/** A channel has one partition; should it have moved to another, or the log have begun anew, time decides. */
const LATER = `(
  excluded.received_us > kept.received_us + ${ANEW_US_MIN}
  OR CASE WHEN excluded.partition = kept.partition THEN excluded.log_offset > kept.log_offset
          ELSE excluded.received_us > kept.received_us END)`;

/** Writes what is later than what is there, as long as the org may keep more topics (and as many tombstones of topics
 *  that it never saw); tells by org how many it took and which were one too many. The channels are locked against removal, as the foreign key
 *  would do, and those that are gone already are left out.
 *  @shape $1 to $11 columns of the messages, $12 topics of an org at most, $13 and $14 orgs that have room for as many
 *         topics and tombstones */
const KEEP = `
WITH given AS (
  SELECT * FROM unnest($1::integer[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::bigint[], $8::smallint[],
    $9::bytea[], $10::integer[], $11::bigint[])
    AS given (at, channel, subtopic, message, publisher, content_type, received_us, qos, payload, partition, log_offset)
), wanted AS MATERIALIZED (
  SELECT given.*, channels.org FROM given JOIN registry.channels ON channels.id = given.channel
  ORDER BY channels.id FOR KEY SHARE OF channels
), compared AS MATERIALIZED (
  SELECT wanted.*, octet_length(wanted.payload) = 0 AS clears,
    CASE WHEN octet_length(wanted.payload) = 0 THEN kept.channel IS NULL
         ELSE kept.channel IS NULL OR kept.cleared_at IS NOT NULL END AS grows
  FROM wanted LEFT JOIN registry.retained AS kept ON kept.channel = wanted.channel AND kept.subtopic = wanted.subtopic
), room AS MATERIALIZED (
  SELECT org, clears, $12::integer - CASE
    WHEN clears THEN (SELECT count(*) FROM registry.retained AS kept WHERE kept.org = asked.org AND kept.cleared_at IS NOT NULL)
    ELSE (SELECT count(*) FROM registry.retained AS kept WHERE kept.org = asked.org AND kept.cleared_at IS NULL) END AS rows_left
  FROM (SELECT DISTINCT org, clears FROM compared
    WHERE grows AND NOT org = ANY (CASE WHEN clears THEN $14::uuid[] ELSE $13::uuid[] END)) AS asked
), placed AS MATERIALIZED (
  SELECT compared.*, rows_left,
    coalesce(grows AND row_number() OVER (PARTITION BY compared.org, compared.clears, grows ORDER BY at) > rows_left, false) AS excess
  FROM compared LEFT JOIN room ON room.org = compared.org AND room.clears = compared.clears
), written AS (
  INSERT INTO registry.retained AS kept (channel, subtopic, org, message, publisher, content_type, received_us, qos, payload,
    partition, log_offset, cleared_at)
  SELECT channel, subtopic, org, message, publisher, content_type, received_us, qos, payload, partition, log_offset,
    CASE WHEN clears THEN now() END
  FROM placed WHERE NOT excess ORDER BY channel, subtopic COLLATE "C"
  ON CONFLICT (channel, subtopic) DO UPDATE SET
    org = excluded.org, message = excluded.message, publisher = excluded.publisher, content_type = excluded.content_type,
    received_us = excluded.received_us, qos = excluded.qos, payload = excluded.payload, partition = excluded.partition,
    log_offset = excluded.log_offset, cleared_at = excluded.cleared_at
  WHERE ${LATER}
)
SELECT org, clears, (count(*) FILTER (WHERE grows AND NOT excess))::integer AS grown, max(rows_left)::integer AS left,
  array_agg(at) FILTER (WHERE excess AND NOT clears) AS refused
FROM placed GROUP BY org, clears`;

/** @shape $1 the channel, or the owner; $2 rows at most; $3 bytes of payload at most */
const found = (where: string): string => `
SELECT id, org, channel, subtopic, publisher, "contentType", received_us, qos, payload, partition, log_offset FROM (
  SELECT *, sum(octet_length(payload)) OVER (ORDER BY channel, subtopic) AS bytes FROM (
    SELECT message AS id, org, channel, subtopic, publisher, content_type AS "contentType", received_us, qos, payload, partition,
      log_offset
    FROM registry.retained WHERE cleared_at IS NULL AND ${where} ORDER BY channel, subtopic LIMIT $2) AS first) AS counted
WHERE bytes <= $3 ORDER BY channel, subtopic`;
const OF_ORGS = `org IN (
  SELECT org FROM registry.things WHERE id = $1 UNION ALL SELECT org FROM registry.memberships WHERE user_id = $1)`;
/** '0' is what follows '/'. */
const UNDER = `(subtopic = $4 OR (subtopic > $4 || '/' AND subtopic < $4 || '0'))`;
