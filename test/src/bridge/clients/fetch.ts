import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import {
  type Client,
  type ClientKind,
  type Identity,
  Inbox,
  type Place,
  type PublishOptions,
  type Topic,
} from './client.ts';
import { EventStream, streamPath } from './event-stream.ts';

/** Node's own fetch: a POST a message, and event streams. */
export const fetchClient: ClientKind = {
  name: 'fetch',
  missing: null,
  publishes: true,
  subscribes: true,
  publishesEmpty: false,
  connect: async (place, identity) => new Fetch(place, identity),
};

class Fetch implements Client {
  readonly #place: Place;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #ending = new AbortController();
  #last: Promise<unknown> = Promise.resolve();

  constructor(place: Place, { key }: Identity) {
    this.#place = place;
    this.#headers = { authorization: `Thing ${key}` };
  }

  publish({ channel, subtopic }: Topic, payload: Uint8Array, { contentType }: PublishOptions = {}): Promise<void> {
    const turn = this.#last.then(async () => {
      const url = `${this.#place.http}/channels/${channel}/messages${subtopic === '' ? '' : `/${subtopic}`}`;
      const headers = { ...this.#headers, ...(contentType === undefined ? {} : { 'content-type': contentType }) };
      const response = await fetch(url, { method: 'POST', headers, body: Buffer.from(payload) });
      const text = await response.text();
      if (response.status !== 202) throw new Error(`${response.status} ${text}`);
    });
    this.#last = turn.catch(() => {});
    return turn;
  }

  async subscribe(filters: readonly Topic[]): Promise<Inbox> {
    const inbox = new Inbox();
    await Promise.all(filters.map((filter) => this.follow(filter, inbox)));
    return inbox;
  }

  /** Reads one event stream. @param lastId where to go on */
  async follow(filter: Topic, inbox: Inbox, lastId = ''): Promise<EventStream> {
    const stream = new EventStream(inbox);
    const headers = { ...this.#headers, ...(lastId === '' ? {} : { 'last-event-id': lastId }) };
    const response = await fetch(this.#place.http + streamPath(filter), { headers, signal: this.#ending.signal });
    if (response.status !== 200 || response.body === null)
      throw new Error(`${response.status} ${await response.text()}`);
    const body = Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]);
    body.on('error', (error) => inbox.end(String(error)));
    const lines = createInterface({ input: body, crlfDelay: Number.POSITIVE_INFINITY });
    lines.on('line', (line) => stream.line(line));
    lines.on('error', () => {});
    lines.once('close', () => inbox.end('the stream is over'));
    return stream;
  }

  async close(): Promise<void> {
    this.#ending.abort();
  }
}
