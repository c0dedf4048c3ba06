import { Inbox, type Topic } from './client.ts';
import { type LiveMessage, received } from './live-message.ts';

/** Reads `text/event-stream`.  @source WHATWG HTML §9.2.6 */
export class EventStream {
  readonly inbox: Inbox;
  /** Of the message read last. */
  lastId = '';
  #event = '';
  #data: string[] = [];

  constructor(inbox = new Inbox()) {
    this.inbox = inbox;
  }

  /** One line, without its end. */
  line(line: string): void {
    if (line === '') {
      this.#dispatch();
      return;
    }
    const [, field, value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (field === 'event') this.#event = value;
    else if (field === 'data') this.#data.push(value);
    else if (field === 'id') this.lastId = value;
  }

  #dispatch(): void {
    const text = this.#data.join('\n');
    if (this.#event === 'message') this.inbox.add(received(JSON.parse(text) as LiveMessage, text));
    else if (this.#event === 'ended') this.inbox.end(`ended: ${text}`);
    this.#event = '';
    this.#data = [];
  }
}

export function streamPath({ channel, subtopic }: Topic): string {
  return `/channels/${channel}/messages/live?${new URLSearchParams({ filter: subtopic })}`;
}
