import { FORBIDDEN, NO_SUCH_CHANNEL } from '../http/refusals.ts';
import type { FeedStart } from './feed.ts';

/** Why a subscription could not begin, in HTTP's terms. */
export interface StartRefusal {
  readonly status: 400 | 403 | 404 | 503;
  readonly reason: 'malformed' | 'forbidden' | 'no_such_channel' | 'connections';
  readonly detail: string;
}

export function startRefusal(start: Exclude<FeedStart, { kind: 'begun' }>): StartRefusal {
  if (start.kind === 'elsewhere') {
    return { status: 400, reason: 'malformed', detail: 'The position was given out for another channel.' };
  }
  if (start.kind === 'full') {
    return { status: 503, reason: 'connections', detail: 'Too many subscriptions: try again later.' };
  }
  const { reason } = start;
  if (reason === 'no_such_channel') return { status: 404, reason, detail: NO_SUCH_CHANNEL };
  const detail =
    reason === 'not_allowed' ? 'The client may not read here: connect it to the channel.' : FORBIDDEN[reason];
  return { status: 403, reason: 'forbidden', detail };
}
