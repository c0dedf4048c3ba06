import {
  type ActivityQuery,
  type ActivityWindow,
  activityWindows,
  type ChannelActivity,
  type MessageFate,
  type PublisherActivity,
  StoreError,
} from '@millrace/core';
import type { Asker } from './asker.ts';
import { FATE, type FateRow, fateOf } from './messages.ts';

/** Rows that one look may read of the log of all channels. It is in order of the ids, that is of time, and knows no
 *  channels: what a window costs is what the whole installation received in it. */
const ROWS_READ_MAX = 40_000_000;
/** Ids are made at reception; nodes' clocks differ by no more. */
const CLOCKS_SECONDS = 60;
const PUBLISHERS_MAX = 20;
const CONTENT_TYPES_MAX = 20;
const LIMITED = `SETTINGS max_rows_to_read = ${ROWS_READ_MAX}, read_overflow_mode = 'throw'`;

/** What went through a channel lately. @see ReadingsStore.activity */
export async function readActivity(asker: Asker, query: ActivityQuery): Promise<ChannelActivity> {
  const ms = Number(query.nowUs / 1_000n);
  for (let count: number = activityWindows.length; count > 0; count--) {
    const seconds = activityWindows.slice(0, count);
    try {
      return await readWindows(asker, query, ms, seconds);
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'STORE_QUERY_TOO_EXPENSIVE') throw error;
    }
  }
  return { windows: [], publishers: [], publisherCount: 0, contentTypes: [], last: null };
}

type Seconds = ActivityWindow['seconds'];
interface Outcome extends Readonly<Record<string, unknown>> {
  readonly reason: string;
}

async function readWindows(
  asker: Asker,
  query: ActivityQuery,
  nowMs: number,
  windows: readonly Seconds[],
): Promise<ChannelActivity> {
  const widest = windows.at(-1) as Seconds;
  const { org, channel } = query;
  const parameters = { org, channel, lowest: idAt(nowMs - 1_000 * (widest + CLOCKS_SECONDS)), now: String(nowMs) };
  const since = (seconds: number): string =>
    `received >= fromUnixTimestamp64Milli({now:Int64}, 'UTC') - INTERVAL ${seconds} SECOND`;
  const log = (columns: string): string => `(SELECT ${columns} FROM message_log
  WHERE toUInt128(message_log.id) >= {lowest:UInt128} AND org = {org:String} AND channel = {channel:String}
    AND ${since(widest)} ${LIMITED}) AS lately`;
  const each = (what: (condition: string, seconds: number) => string): string =>
    windows.map((seconds) => what(since(seconds), seconds)).join(', ');

  const outcomes = await asker.ask<Omit<Outcome, 'reason'> & { readonly outcome: string }>(
    'activity',
    `SELECT multiIf(reason = '' AND stored = 'nothing', 'nothing', reason) AS outcome,
  ${each((condition, seconds) => `toFloat64(countIf(${condition})) AS messages${seconds}, toFloat64(sumIf(size, ${condition})) AS bytes${seconds}, toFloat64(sumIf(readings, ${condition})) AS readings${seconds}`)}
FROM ${log('received, size, readings, stored, reason')} GROUP BY outcome`,
    parameters,
  );
  const dead = await asker.ask<Outcome & { readonly whole: number }>(
    'activity',
    `SELECT reason, isNull(record_index) AS whole, ${each((condition, seconds) => `toFloat64(countIf(${condition})) AS dead${seconds}`)}
FROM dead_letters WHERE org = {org:String} AND ${since(widest)} AND channel = {channel:String} GROUP BY reason, whole`,
    parameters,
  );
  const publishers = await asker.ask<PublisherActivity & { readonly publisherCount: string }>(
    'activity',
    `SELECT publisher, toFloat64(count()) AS messages, toFloat64(countIf(reason NOT IN ('', 'filtered', 'duplicate'))) AS dead,
  toString(toUnixTimestamp64Micro(max(received))) AS lastUs, toString(count() OVER ()) AS publisherCount
FROM ${log('publisher, received, reason')} GROUP BY publisher ORDER BY messages DESC, publisher LIMIT ${PUBLISHERS_MAX}`,
    parameters,
  );
  const contentTypes = await asker.ask<{ type: string; messages: number }>(
    'activity',
    `SELECT content_type AS type, toFloat64(count()) AS messages
FROM ${log('content_type')} GROUP BY type ORDER BY messages DESC, type LIMIT ${CONTENT_TYPES_MAX}`,
    parameters,
  );
  return {
    windows: windows.map((seconds) =>
      windowOf(
        seconds,
        outcomes.map((row) => ({ ...row, reason: row.outcome })),
        dead,
      ),
    ),
    publishers: publishers.map(({ publisherCount: _, ...rest }) => rest),
    publisherCount: Number(publishers[0]?.publisherCount ?? 0),
    contentTypes,
    last: await readLast(asker, query, nowMs, publishers.length > 0 ? widest : null),
  };
}

/** What is no dead letter among the outcomes of messages. */
const DROPS: ReadonlySet<string> = new Set(['filtered', 'duplicate', 'nothing']);

function windowOf(
  seconds: Seconds,
  outcomes: readonly Outcome[],
  dead: readonly (Outcome & { readonly whole: number })[],
): ActivityWindow {
  const sum = (name: string): number => outcomes.reduce((all, row) => all + Number(row[`${name}${seconds}`]), 0);
  const byReason = (rows: readonly Outcome[], name: string): Record<string, number> =>
    Object.fromEntries(
      rows.map((row) => [row.reason, Number(row[`${name}${seconds}`])] as const).filter(([, count]) => count > 0),
    );
  return {
    seconds,
    messages: sum('messages'),
    bytes: sum('bytes'),
    readings: sum('readings'),
    dropped: byReason(
      outcomes.filter(({ reason }) => DROPS.has(reason)),
      'messages',
    ),
    deadMessages: byReason(
      dead.filter(({ whole }) => Number(whole) === 1),
      'dead',
    ),
    deadRecords: byReason(
      dead.filter(({ whole }) => Number(whole) === 0),
      'dead',
    ),
  };
}

/** The last message of all. Where it is older than the windows, other tables, which know channels, tell about when it
 *  came: the log is asked for that moment only. */
async function readLast(
  asker: Asker,
  { org, channel }: ActivityQuery,
  nowMs: number,
  within: number | null,
): Promise<MessageFate | null> {
  let lowest = nowMs - 1_000 * ((within ?? 0) + CLOCKS_SECONDS);
  let highest = nowMs + 1_000 * CLOCKS_SECONDS;
  if (within === null) {
    const [found] = await asker.ask<{ readonly us: string }>(
      'activity',
      `SELECT toString(max(us)) AS us FROM (
  SELECT toUnixTimestamp64Micro(max(last_received)) AS us FROM rollups WHERE org = {org:String} AND channel = {channel:String} AND width = 0
  UNION ALL SELECT toUnixTimestamp64Micro(max(received)) FROM latest_others WHERE org = {org:String} AND channel = {channel:String}
  UNION ALL SELECT toUnixTimestamp64Micro(max(received)) FROM messages WHERE org = {org:String} AND channel = {channel:String}
  UNION ALL SELECT toUnixTimestamp64Micro(max(received)) FROM dead_letters WHERE org = {org:String} AND channel = {channel:String})`,
      { org, channel },
    );
    const ms = Number(found?.us ?? 0) / 1_000;
    if (!(ms > 0)) return null;
    lowest = ms - 1_000 * CLOCKS_SECONDS;
    highest = ms + 1_000 * CLOCKS_SECONDS;
  }
  const [row] = await asker.ask<FateRow>(
    'activity',
    `SELECT ${FATE} FROM (SELECT * FROM message_log
  WHERE toUInt128(message_log.id) >= {lowest:UInt128} AND toUInt128(message_log.id) < {highest:UInt128}
    AND org = {org:String} AND channel = {channel:String}
  ORDER BY received DESC, log_offset DESC LIMIT 1 ${LIMITED}) AS message_log`,
    { org, channel, lowest: idAt(lowest), highest: idAt(highest) },
  );
  return fateOf(row);
}

/** The least UUIDv7 of a millisecond, as a number. */
const idAt = (ms: number): string => String(BigInt(Math.max(0, Math.floor(ms))) << 80n);
