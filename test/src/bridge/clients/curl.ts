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
import { missingProgram, Program, runToEnd } from './program.ts';

const READY_MS_MAX = 30_000;

/** curl: a POST a message; `curl -N` on an event stream, one for each filter. */
export const curl: ClientKind = {
  name: 'curl',
  missing: missingProgram('curl', '--version'),
  publishes: true,
  subscribes: true,
  publishesEmpty: false,
  connect: async (place, identity) => new Curl(place, identity),
};

class Curl implements Client {
  readonly #place: Place;
  readonly #authorization: string;
  readonly #programs: Program[] = [];
  #last: Promise<unknown> = Promise.resolve();

  constructor(place: Place, { key }: Identity) {
    this.#place = place;
    this.#authorization = `Authorization: Thing ${key}`;
  }

  publish({ channel, subtopic }: Topic, payload: Uint8Array, { contentType = '' }: PublishOptions = {}): Promise<void> {
    const url = `${this.#place.http}/channels/${channel}/messages${subtopic === '' ? '' : `/${subtopic}`}`;
    const words = ['curl', '-sS', '--fail-with-body', '-H', this.#authorization, '-H', `Content-Type: ${contentType}`];
    const turn = this.#last.then(() => runToEnd([...words, '--data-binary', '@-', url], payload));
    this.#last = turn.catch(() => {});
    return turn.then(() => {});
  }

  async subscribe(filters: readonly Topic[]): Promise<Inbox> {
    const inbox = new Inbox();
    await Promise.all(filters.map((filter) => this.#follow(filter, inbox)));
    return inbox;
  }

  #follow(filter: Topic, inbox: Inbox): Promise<void> {
    const stream = new EventStream(inbox);
    let head = true;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('curl: no answer')), READY_MS_MAX);
      const program = new Program(
        ['curl', '-sSNi', '-H', this.#authorization, this.#place.http + streamPath(filter)],
        (line) => {
          if (!head) stream.line(line);
          else if (/^HTTP\/\S+ /.test(line) && !line.includes(' 200')) reject(new Error(`curl: ${line}`));
          else if (line === '') {
            head = false;
            clearTimeout(timer);
            resolve();
          }
        },
        (how) => {
          clearTimeout(timer);
          inbox.end(how);
          reject(new Error(how));
        },
      );
      this.#programs.push(program);
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.end()));
  }
}
