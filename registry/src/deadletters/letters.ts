import type { DeadLetter, DeadLettersQuery } from '@millrace/core';
import type { Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { type Closed, type ClosedPlace, type ClosedState, type LetterKey, letterId, parseLetterId } from './states.ts';

/** Which letters.  @shape org: null of every org (administrators) */
export interface LetterFilter
  extends Omit<DeadLettersQuery, 'offset' | 'limit' | 'cursor' | 'payloadBytesMax' | 'messages'> {
  readonly state: 'open' | 'all' | ClosedState;
}
export interface LetterPage {
  readonly letters: readonly { readonly letter: DeadLetter; readonly closed: Closed | null }[];
  /** Gives what follows; absent when this was the last. */
  readonly cursor?: string;
}
export interface LetterPaging {
  readonly offset: number;
  readonly limit: number;
  readonly cursor?: string | undefined;
  readonly payloadBytesMax?: number;
}

/** Letters that one page looks through at most, for those that are open among them. */
const ROWS_A_READ = 1_000;
const READS_MAX = 20;
const SKIPPED_MAX = 10_000;

/** One page of letters, the newest first, with what was done about each. What it costs is bounded: where many in a row
 *  are closed, a page of open ones may be short, or empty, and have a cursor all the same.
 *  @throws Refusal 400; StoreError STORE_QUERY_INVALID */
export async function listLetters(plane: Plane, filter: LetterFilter, paging: LetterPaging): Promise<LetterPage> {
  const { state, ...query } = filter;
  if (state === 'replayed' || state === 'discarded') return closedLetters(plane, { ...filter, state }, paging);
  const { letters } = plane.registry;
  // Nothing is closed, or all are wanted: the store's own page is the page.
  if (state === 'all' || !(await letters.any(query.org))) {
    const { cursor, ...rest } = paging;
    const found = await plane.store.deadLetters({ ...query, ...rest, ...(cursor === undefined ? {} : { cursor }) });
    const closed = await letters.of(found.deadLetters.map(keyOf));
    return {
      letters: found.deadLetters.map((letter) => ({ letter, closed: closed.get(letterId(keyOf(letter))) ?? null })),
      ...(found.cursor === undefined ? {} : { cursor: found.cursor }),
    };
  }
  return openLetters(plane, query, paging);
}

async function openLetters(
  plane: Plane,
  query: Omit<LetterFilter, 'state'>,
  { offset, limit, cursor, payloadBytesMax }: LetterPaging,
): Promise<LetterPage> {
  if (offset > SKIPPED_MAX)
    throw new Refusal(400, `The parameter "offset" is wrong: go on with the cursor beyond ${SKIPPED_MAX}.`);
  const open: DeadLetter[] = [];
  let skipped = 0;
  let after = cursor;
  for (let reads = 0; reads < READS_MAX; reads++) {
    const found = await plane.store.deadLetters({
      ...query,
      offset: 0,
      limit: reads === 0 && offset === 0 ? limit : ROWS_A_READ,
      ...(after === undefined ? {} : { cursor: after }),
      ...(payloadBytesMax === undefined ? {} : { payloadBytesMax }),
    });
    const closed = await plane.registry.letters.of(found.deadLetters.map(keyOf));
    for (const [index, letter] of found.deadLetters.entries()) {
      after = letter.cursor;
      if (closed.has(letterId(keyOf(letter)))) continue;
      if (skipped < offset) skipped++;
      else open.push(letter);
      if (open.length < limit) continue;
      const isLast = index === found.deadLetters.length - 1 && found.cursor === undefined;
      return { letters: open.map((each) => ({ letter: each, closed: null })), ...(isLast ? {} : { cursor: after }) };
    }
    if (found.cursor === undefined) return { letters: open.map((each) => ({ letter: each, closed: null })) };
    after = found.cursor;
  }
  return {
    letters: open.map((letter) => ({ letter, closed: null })),
    ...(after === undefined ? {} : { cursor: after }),
  };
}

async function closedLetters(
  plane: Plane,
  filter: LetterFilter & { readonly state: ClosedState },
  { offset, limit, cursor, payloadBytesMax }: LetterPaging,
): Promise<LetterPage> {
  const after = cursor === undefined ? undefined : parsePlace(cursor);
  const places = await plane.registry.letters.list({ ...filter, offset, limit: limit + 1, after });
  const shown = places.slice(0, limit);
  const [newest] = shown;
  const oldest = shown.at(-1);
  if (newest === undefined || oldest === undefined) return { letters: [] };
  const wanted = new Set(shown.map(letterId));
  const [found, closed] = await Promise.all([
    plane.store.deadLetters({
      org: filter.org,
      messages: [...new Set(shown.map(({ message }) => message))],
      fromUs: BigInt(oldest.receivedUs),
      toUs: BigInt(newest.receivedUs) + 1n,
      offset: 0,
      // All records of a message come along.
      limit: ROWS_A_READ,
      ...(payloadBytesMax === undefined ? {} : { payloadBytesMax }),
    }),
    plane.registry.letters.of(shown),
  ]);
  return {
    letters: found.deadLetters
      .filter((letter) => wanted.has(letterId(keyOf(letter))))
      .map((letter) => ({ letter, closed: closed.get(letterId(keyOf(letter))) ?? null })),
    ...(places.length > limit ? { cursor: placeText(oldest) } : {}),
  };
}

/** A letter by its id, with all of its payload; null if there is none (any more). */
export async function letterOf(plane: Plane, text: string): Promise<DeadLetter | null> {
  const key = parseLetterId(text);
  if (key === null || key.message === UNREADABLE) return null;
  let cursor: string | undefined;
  // A pack may have thousands of dead records; payloads are read of the wanted one alone.
  for (let reads = 0; reads < PACK_READS_MAX; reads++) {
    const more = cursor === undefined ? {} : { cursor };
    const heads = await plane.store.deadLetters({
      org: null,
      message: key.message,
      offset: 0,
      limit: ROWS_A_READ,
      payloadBytesMax: 0,
      ...more,
    });
    const at = heads.deadLetters.findIndex(({ index }) => index === key.index);
    if (at !== -1) {
      const before = at === 0 ? cursor : heads.deadLetters[at - 1]?.cursor;
      const [letter] = (
        await plane.store.deadLetters({
          org: null,
          message: key.message,
          offset: 0,
          limit: 1,
          ...(before === undefined ? {} : { cursor: before }),
        })
      ).deadLetters;
      return letter !== undefined && letter.index === key.index ? letter : null;
    }
    if (heads.cursor === undefined) return null;
    cursor = heads.cursor;
  }
  return null;
}
/** Records of a message (65,536), a page each. */
const PACK_READS_MAX = 66;
/** Records of the log that are no messages have no id: they are listed, and nothing else can be done about them. */
export const UNREADABLE = '00000000-0000-0000-0000-000000000000';

export const keyOf = ({ message, index }: DeadLetter): LetterKey => ({ message, index });

const placeText = ({ receivedUs, ...key }: ClosedPlace): string =>
  Buffer.from(JSON.stringify([3, receivedUs, letterId(key)])).toString('base64url');

function parsePlace(text: string): ClosedPlace {
  let parts: unknown = null;
  try {
    parts = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    // Told below.
  }
  const [version, receivedUs, id] = Array.isArray(parts) ? parts : [];
  const key = typeof id === 'string' ? parseLetterId(id) : null;
  if (version !== 3 || typeof receivedUs !== 'string' || !/^\d{1,16}$/.test(receivedUs) || key === null)
    throw new Refusal(400, 'The parameter "cursor" is wrong: it must be what the page before gave.');
  return { ...key, receivedUs };
}
