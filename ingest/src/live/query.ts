import { type Position, parsePosition } from '@millrace/core';
import type { SlowPolicy } from './feed.ts';
import { filterFault } from './path.ts';

/** What a query says about a subscription; or what is wrong with it. */
export interface LiveQuery {
  /** null: not given. */
  readonly filter: string | null;
  /** null: from now on. */
  readonly from: Position | null;
  readonly slow: SlowPolicy;
}

/** @param resume a position that came otherwise (`Last-Event-ID`); it wins, since it is newer than the URL */
export function readLiveQuery(query: URLSearchParams, resume?: string): LiveQuery | { readonly fault: string } {
  const filter = query.get('subtopic') ?? query.get('filter');
  const fault = filter === null ? null : filterFault(filter);
  if (fault !== null) return { fault };
  const slow = query.get('slow') ?? 'disconnect';
  if (slow !== 'disconnect' && slow !== 'latest') return { fault: 'slow is disconnect or latest.' };
  const position = resume || query.get('last_event_id') || query.get('from') || '';
  const from = position === '' ? null : parsePosition(position);
  if (position !== '' && from === null) {
    return { fault: 'The position to go on from is none: give one that came with a message.' };
  }
  return { filter, from, slow };
}
