import { MillraceConnectionError, MillraceSubscriptionEnded } from '../error.ts';
import { segment, type Transport } from '../transport.ts';
import type { Feed } from './follow.ts';
import type { LiveMessage, SubscribeOptions } from './message.ts';

export interface StreamEvent {
  readonly event: string;
  readonly data: string;
  readonly id: string;
}

const EVENT_CHARACTERS_MAX = 16 * 1024 * 1024;

/** Cuts an event stream into events.  @source WHATWG HTML §9.2 */
export async function* eventsOf(chunks: AsyncIterable<string>): AsyncGenerator<StreamEvent, void, undefined> {
  let rest = '';
  let event = '';
  let id = '';
  let data: string[] = [];
  for await (const chunk of chunks) {
    rest += chunk;
    if (rest.length > EVENT_CHARACTERS_MAX)
      throw new MillraceConnectionError('UNINTELLIGIBLE', '', 'An event of the stream is too large.');
    // A CR at the end may be half of a CRLF.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) yield { event: event === '' ? 'message' : event, data: data.join('\n'), id };
        event = '';
        data = [];
        continue;
      }
      const colon = line.indexOf(':');
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1));
      if (field === 'data') data.push(value);
      else if (field === 'event') event = value;
      else if (field === 'id') id = value;
    }
  }
}

/** Messages of a channel as an event stream: the reader's pace is the stream's.  @source docs/live.md */
export function eventStreamFeed(
  transport: Transport,
  channel: string,
  { subtopic, slow, onGap }: SubscribeOptions,
): Feed {
  return async function* feed(from, opened, signal) {
    const response = await transport.stream('GET', `/channels/${segment(channel)}/messages/live`, {
      anyOrg: true,
      query: { subtopic, slow, last_event_id: from },
      headers: { accept: 'text/event-stream' },
      signal,
    });
    opened();
    if (response.body === null) return;
    try {
      for await (const { event, data } of eventsOf(decoded(response.body))) {
        const told = JSON.parse(data) as Record<string, unknown>;
        if (event === 'message') yield messageOf(told);
        else if (event === 'gap') onGap?.({ from: String(told.from), to: String(told.to) });
        else if (event === 'ended') throw new MillraceSubscriptionEnded(String(told.reason));
        else if (event === 'slow') return;
      }
    } catch (cause) {
      if (signal.aborted || cause instanceof MillraceSubscriptionEnded) throw cause;
      throw new MillraceConnectionError('CLOSED', transport.url, 'The stream broke off.', { cause });
    }
  };
}

function messageOf({ type: _type, ...message }: Record<string, unknown>): LiveMessage {
  return message as unknown as LiveMessage;
}

async function* decoded(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield decoder.decode(value, { stream: true });
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
