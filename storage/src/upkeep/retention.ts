import { EXPIRES_NEVER, type Hold, type RetentionRules, type Swept, TABLES, type UpkeepOptions } from '@millrace/core';
import type { Engine } from '../engine/engine.ts';
import { BACKGROUND, countOf } from './deletion.ts';
import { mutate } from './mutation.ts';
import { heldRows, literal } from './selection.ts';

const DAY_S = 86_400;
/** Conditions that one mutation carries, twice at most: servers take statements of 256 KiB.  @units characters */
const PLACES_CHARACTERS_MAX = 50_000;
/** A partition is dropped as a whole only when it ended so long ago: nothing that comes late may still get into it.
 *  @units days */
const DROPPED_AFTER_DAYS = 40;

/** Where rows are, and what holds for them. */
interface Place {
  readonly org: string;
  readonly channel: string;
  /** null: for ever. */
  readonly days: number | null;
  readonly holds: readonly Hold[];
}
/** What a channel has in one partition. @units s since 1970, spans in s */
interface Found {
  readonly org: string;
  readonly channel: string;
  readonly oldest: number;
  readonly newest: number;
  /** How soon after its reception a row expires, at least and at most. */
  readonly shortest: number;
  readonly longest: number;
  /** 1: some of it expires. */
  readonly ends: number;
}

/** Of records that are no messages. */
const NOBODY = '';

const NEVER = `toDateTime(${EXPIRES_NEVER}, 'UTC')`;

/** Looks through every partition, and changes only what is not as the rules want it: what came under the rules of today
 *  expires by itself. */
export async function sweep(engine: Engine, rules: RetentionRules, options: UpkeepOptions): Promise<Swept> {
  const told = { deleted: 0, moved: 0, partitions: 0 };
  let step = 0;
  const mark = (): string => `${options.mark}-${step++}`;
  for (const table of TABLES) {
    for (const part of await partitionsOf(engine, table, 'toString(toYYYYMM(received))')) {
      options.signal.throwIfAborted();
      const all = await engine.rows<Found>(
        `SELECT org, channel, toUnixTimestamp(min(received)) AS oldest, toUnixTimestamp(max(received)) AS newest,
           toUInt8(max(expires < ${NEVER})) AS ends, min(toInt64(toUnixTimestamp(expires)) - toInt64(toUnixTimestamp(received)))::Float64 AS shortest,
           max(toInt64(toUnixTimestamp(expires)) - toInt64(toUnixTimestamp(received)))::Float64 AS longest
         FROM ${table} WHERE toYYYYMM(received) = ${part} GROUP BY org, channel ${BACKGROUND}${engine.querySettings}`,
      );
      const month = `toYYYYMM(received) = ${part}`;
      const found = all.filter((each) => isSpokenOf(each, rules));
      if (
        isOver(part, rules.nowMs) &&
        found.length === all.length &&
        found.every((each) => isOverdue(each, placeOf(each, rules, false), rules.nowMs))
      ) {
        told.deleted += await dropped(engine, table, part, month);
        told.partitions++;
        continue;
      }
      told.moved += await move(engine, table, month, found, rules, { ...options, mark: mark() });
      const overdue = found.filter((each) => {
        const place = placeOf(each, rules, false);
        const cutoffS = cutoffOf(place, rules.nowMs);
        // What expires in time needs nobody.
        return (
          cutoffS !== null &&
          each.oldest < cutoffS &&
          (place.holds.length > 0 || each.longest > (place.days ?? 0) * DAY_S + 1)
        );
      });
      told.deleted += await remove(engine, table, 'received', month, overdue, rules, { ...options, mark: mark() });
    }
  }
  for (const part of await partitionsOf(engine, 'rollups', 'toString(month)')) {
    options.signal.throwIfAborted();
    const within = `month = ${literal(part)}`;
    const all = await oldAndNew(engine, 'rollups', 'last_received', within);
    const found = all.filter((each) => isSpokenOf(each, rules));
    if (
      isOver(part, rules.nowMs) &&
      found.length === all.length &&
      found.every((each) => isOverdue(each, placeOf(each, rules, true), rules.nowMs))
    ) {
      told.deleted += await dropped(engine, 'rollups', part.replaceAll('-', ''), within);
      told.partitions++;
    } else
      told.deleted += await remove(engine, 'rollups', 'last_received', within, found, rules, {
        ...options,
        mark: mark(),
      });
  }
  const others = (await oldAndNew(engine, 'latest_others', 'received', '1')).filter((each) => isSpokenOf(each, rules));
  told.deleted += await remove(engine, 'latest_others', 'received', '1', others, rules, { ...options, mark: mark() });
  return told;
}

const partitionsOf = async (engine: Engine, table: string, part: string): Promise<string[]> =>
  (
    await engine.rows<{ part: string }>(
      `SELECT DISTINCT ${part} AS part FROM ${table} ORDER BY part ${BACKGROUND}${engine.querySettings}`,
    )
  ).map((each) => each.part);

const oldAndNew = (engine: Engine, table: string, received: string, within: string): Promise<Found[]> =>
  engine.rows<Found>(
    `SELECT org, channel, toUnixTimestamp(min(${received})) AS oldest, toUnixTimestamp(max(${received})) AS newest
     FROM ${table} WHERE ${within} GROUP BY org, channel ${BACKGROUND}${engine.querySettings}`,
  );

/** Whether anybody has said how long it is kept. Of an organisation that the registry does not know (a restore, a store that
 *  several installations share) nobody has: its data is left as it is. What is deleted with one goes by a deletion. */
const isSpokenOf = ({ org }: Pick<Found, 'org'>, rules: RetentionRules): boolean =>
  org === NOBODY || rules.orgs.has(org);

/** @param made of readings: rollups and last values, which may be kept for longer than these */
function placeOf({ org, channel }: Pick<Found, 'org' | 'channel'>, rules: RetentionRules, made: boolean): Place {
  const of = rules.orgs.get(org);
  if (of === undefined) return { org, channel, days: rules.days, holds: [] };
  const { days, rollupDays } = of.channels.get(channel) ?? of;
  const holds = of.holds.filter(({ channels }) => channels === undefined || channels.includes(channel));
  return { org, channel, days: made && days !== null ? Math.max(days, rollupDays ?? days) : days, holds };
}

const cutoffOf = ({ days }: Place, nowMs: number): number | null =>
  days === null ? null : Math.floor(nowMs / 1_000) - days * DAY_S;

function isOverdue({ newest }: Found, place: Place, nowMs: number): boolean {
  const cutoffS = cutoffOf(place, nowMs);
  return cutoffS !== null && newest < cutoffS && place.holds.length === 0;
}

/** @param part a month, as 202601 or 2026-01-01 */
function isOver(part: string, nowMs: number): boolean {
  const digits = part.replaceAll('-', '');
  const next = Date.UTC(Number(digits.slice(0, 4)), Number(digits.slice(4, 6)), 1);
  return nowMs - next > DROPPED_AFTER_DAYS * DAY_S * 1_000;
}

async function dropped(engine: Engine, table: string, id: string, within: string): Promise<number> {
  const rows = await countOf(engine, table, within);
  await engine.command(`ALTER TABLE ${table} DROP PARTITION ID '${id}'`);
  return rows;
}

/** Lets rows expire later that came under a shorter retention, and those never that a hold may speak of: the engine asks
 *  nobody before it removes what has expired. */
async function move(
  engine: Engine,
  table: string,
  month: string,
  found: readonly Found[],
  rules: RetentionRules,
  options: UpkeepOptions,
): Promise<number> {
  const early = found.flatMap((each) => {
    const place = placeOf(each, rules, false);
    const isKept = place.days === null || place.holds.length > 0;
    if (isKept ? each.ends === 0 : each.shortest >= (place.days ?? 0) * DAY_S) return [];
    const until = isKept ? NEVER : `least(${NEVER}, toDateTime(received, 'UTC') + ${(place.days ?? 0) * DAY_S})`;
    return [{ place: placeText(place), until }];
  });
  let moved = 0;
  for (const [index, some] of slices(early, (each) => each.place.length + each.until.length).entries()) {
    const until = `multiIf(${some.map((each) => `${each.place}, ${each.until}`).join(', ')}, expires)`;
    const condition = `${month} AND expires < ${until}`;
    const rows = await countOf(engine, table, condition);
    if (rows === 0) continue;
    moved += rows;
    await mutate(engine, table, `UPDATE expires = ${until}`, condition, {
      ...options,
      mark: `${options.mark}-${index}`,
    });
  }
  return moved;
}

async function remove(
  engine: Engine,
  table: (typeof TABLES)[number] | 'rollups' | 'latest_others',
  received: string,
  within: string,
  found: readonly Found[],
  rules: RetentionRules,
  options: UpkeepOptions,
): Promise<number> {
  const made = table === 'rollups' || table === 'latest_others';
  const conditions = found.flatMap((each) => {
    const place = placeOf(each, rules, made);
    const cutoffS = cutoffOf(place, rules.nowMs);
    if (cutoffS === null || each.oldest >= cutoffS) return [];
    // Of the hold's channels this is one.
    const held = place.holds.map(({ channels: _, ...hold }) => ` AND NOT (${heldRows(table, hold)})`).join('');
    return [`(${placeText(place)} AND ${received} < toDateTime(${cutoffS}, 'UTC')${held})`];
  });
  let deleted = 0;
  for (const [index, some] of slices(conditions, (each) => each.length).entries()) {
    const condition = `${within} AND (${some.join(' OR ')})`;
    const rows = await countOf(engine, table, condition);
    if (rows === 0) continue;
    deleted += rows;
    await mutate(engine, table, 'DELETE', condition, { ...options, mark: `${options.mark}-${index}` });
  }
  return deleted;
}

const placeText = ({ org, channel }: Place): string => `(org = ${literal(org)} AND channel = ${literal(channel)})`;

function slices<T>(all: readonly T[], charactersOf: (each: T) => number): T[][] {
  const found: T[][] = [];
  let characters = Number.POSITIVE_INFINITY;
  for (const each of all) {
    characters += charactersOf(each);
    if (characters > PLACES_CHARACTERS_MAX) {
      found.push([]);
      characters = charactersOf(each);
    }
    found.at(-1)?.push(each);
  }
  return found;
}
