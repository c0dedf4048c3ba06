import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { WebSocket } from 'ws';
import type { Millrace, Rest } from '../millrace.ts';

const PAUSE_MS = 20;
/** A subscriber that got nothing for so long while the others did gets nothing more. */
const SILENT_MS = 400;

/** What a client shows to say who it is; authorization is null where only a certificate will do. */
export interface Shown {
  readonly mqtt: IClientOptions;
  readonly authorization: string | null;
  /** It may have a ticket, with which browsers open sockets. */
  readonly tickets?: boolean;
}
export const byKey = ({ id, key }: { readonly id: string; readonly key: string }): Shown => ({
  mqtt: { username: id, password: key },
  authorization: `Thing ${key}`,
  tickets: true,
});
export const byBearer = (token: string): Shown => ({
  mqtt: { username: 'token', password: token },
  authorization: `Bearer ${token}`,
});

/** Something that stays open, and what is known of its life. */
export interface Watched {
  readonly name: string;
  /** When that was begun that succeeded last (performance.now); 0: nothing has. */
  readonly aliveMs: number;
  readonly over: boolean;
  close(): Promise<void>;
}

export interface Place {
  readonly node: Millrace;
  /** Of its MQTT listener. */
  readonly mqtt: string;
  readonly channel: string;
}
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
const httpPath = ({ node, channel }: Place, subtopic: string): string =>
  `${node.url}/channels/${channel}/messages/${subtopic}`;
const topic = ({ channel }: Place, subtopic: string): string => `channels/${channel}/messages/${subtopic}`;

/** Publishes the time to a channel over and over, and hears it: what every subscriber should get.
 *  @holds it tells of its own life as any other client does */
export class Feed {
  readonly #place: Place;
  readonly #authorization: string;
  readonly #control: Watched;
  readonly #running: Promise<void>;
  #closed = false;
  /** It is refused itself: nothing comes to anybody. */
  refused = false;

  private constructor(place: Place, authorization: string, control: Watched) {
    this.#place = place;
    this.#authorization = authorization;
    this.#control = control;
    this.#running = this.#run();
  }

  static async open(place: Place, shown: Shown): Promise<Feed> {
    const authorization = shown.authorization ?? '';
    return new Feed(place, authorization, await openSocket(place, { headers: { authorization } }, () => false));
  }

  /** Whether others got what was sent well after this moment. */
  isSilent(aliveMs: number): boolean {
    return this.refused || (aliveMs > 0 && this.#control.aliveMs - aliveMs > SILENT_MS);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
    await this.#control.close();
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      const status = await post(this.#place, this.#authorization, 'feed');
      this.refused = status >= 400 && status < 500;
      await pause();
    }
  }
}

async function post(place: Place, authorization: string, subtopic: string): Promise<number> {
  try {
    const headers = { authorization, 'content-type': 'application/json' };
    const body = JSON.stringify({ t: performance.now() });
    const response = await fetch(httpPath(place, subtopic), { method: 'POST', headers, body });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 0;
  }
}

/** Opens all that a client may have open, and waits until all of it works. */
export async function openAll(place: Place, shown: Shown, feed: Feed): Promise<readonly Watched[]> {
  const isSilent = (aliveMs: number): boolean => feed.isSilent(aliveMs);
  const { authorization } = shown;
  const opened = await Promise.all([
    publishing(place, shown),
    subscribed(place, shown, isSilent),
    ...(authorization === null
      ? []
      : [
          openSocket(place, { headers: { authorization } }, isSilent),
          openStream(place, authorization, isSilent),
          requesting(place, authorization),
        ]),
    ...(authorization !== null && shown.tickets === true
      ? [newTicket(place, authorization).then((ticket) => openSocket(place, { ticket }, isSilent))]
      : []),
  ]);
  return opened;
}

async function newTicket({ node }: Place, authorization: string): Promise<string> {
  const response = await fetch(`${node.url}/tickets`, { method: 'POST', headers: { authorization } });
  if (!response.ok) throw new Error(`a ticket was refused: ${response.status}`);
  return ((await response.json()) as { ticket: string }).ticket;
}

async function connected(place: Place, shown: Shown): Promise<MqttClient> {
  const client = await mqtt.connectAsync(
    place.mqtt,
    { clientId: `r-${randomBytes(8).toString('hex')}`, protocolVersion: 4, reconnectPeriod: 0, ...shown.mqtt },
    false,
  );
  client.on('error', () => undefined);
  return client;
}

async function publishing(place: Place, shown: Shown): Promise<Watched> {
  const client = await connected(place, shown);
  let aliveMs = 0;
  let over = false;
  let closed = false;
  const ended = new Promise<void>((resolve) =>
    client.once('close', () => {
      over = true;
      resolve();
    }),
  );
  const running = (async () => {
    while (!over && !closed) {
      const begunMs = performance.now();
      const sent = client.publishAsync(topic(place, 'own'), '{"own":1}', { qos: 1 }).then(
        () => {
          aliveMs = begunMs;
        },
        () => undefined,
      );
      await Promise.race([sent, ended]);
      await pause();
    }
  })();
  return {
    name: 'MQTT publisher',
    get aliveMs() {
      return aliveMs;
    },
    get over() {
      return over;
    },
    async close() {
      closed = true;
      await client.endAsync(true);
      await running;
    },
  };
}

async function subscribed(place: Place, shown: Shown, isSilent: (aliveMs: number) => boolean): Promise<Watched> {
  const client = await connected(place, shown);
  let aliveMs = 0;
  let closed = false;
  client.once('close', () => {
    closed = true;
  });
  client.on('message', (_topic, payload) => {
    aliveMs = timeIn(payload);
  });
  const granted = await client.subscribeAsync(topic(place, 'feed'), { qos: 1 });
  if (granted.some(({ qos }) => (qos as number) > 2)) throw new Error('the subscription was refused');
  return {
    name: 'MQTT subscriber',
    get aliveMs() {
      return aliveMs;
    },
    get over() {
      return closed || isSilent(aliveMs);
    },
    async close() {
      await client.endAsync(true);
    },
  };
}

async function openSocket(
  place: Place,
  { headers = {}, ticket }: { readonly headers?: Readonly<Record<string, string>>; readonly ticket?: string },
  isSilent: (aliveMs: number) => boolean,
): Promise<Watched> {
  const query = ticket === undefined ? '' : `?ticket=${ticket}`;
  const socket = new WebSocket(httpPath(place, 'feed').replace(/^http/, 'ws') + query, { headers });
  let aliveMs = 0;
  let closed = false;
  socket.on('message', (data: Buffer) => {
    aliveMs = timeIn(data);
  });
  const ended = new Promise<void>((resolve) =>
    socket.once('close', () => {
      closed = true;
      resolve();
    }),
  );
  await new Promise<void>((resolve, reject) => socket.once('open', resolve).once('error', reject));
  socket.on('error', () => undefined);
  return {
    name: ticket === undefined ? 'WebSocket' : 'WebSocket by a ticket',
    get aliveMs() {
      return aliveMs;
    },
    get over() {
      return closed || isSilent(aliveMs);
    },
    async close() {
      socket.terminate();
      await ended;
    },
  };
}

async function openStream(
  place: Place,
  authorization: string,
  isSilent: (aliveMs: number) => boolean,
): Promise<Watched> {
  const { node, channel } = place;
  const abort = new AbortController();
  const response = await fetch(`${node.url}/channels/${channel}/messages/live?filter=feed`, {
    headers: { authorization },
    signal: abort.signal,
  });
  if (!response.ok || response.body === null) throw new Error(`the event stream was refused: ${response.status}`);
  let aliveMs = 0;
  let closed = false;
  const lines = createInterface({ input: Readable.fromWeb(response.body as never) });
  const reading = (async () => {
    try {
      for await (const line of lines) {
        const found = /"t\\?":([\d.]+)/.exec(line);
        if (found !== null) aliveMs = Number(found[1]);
        else if (line.startsWith('event: ended')) closed = true;
      }
    } catch {
      // It was cut off.
    }
    closed = true;
  })();
  return {
    name: 'event stream',
    get aliveMs() {
      return aliveMs;
    },
    get over() {
      return closed || isSilent(aliveMs);
    },
    async close() {
      abort.abort();
      await reading;
    },
  };
}

async function requesting(place: Place, authorization: string): Promise<Watched> {
  let aliveMs = 0;
  let over = false;
  let closed = false;
  const running = (async () => {
    while (!closed) {
      const begunMs = performance.now();
      const status = await post(place, authorization, 'own');
      if (status === 202) aliveMs = begunMs;
      over = status >= 400 && status < 500 && status !== 429;
      await pause();
    }
  })();
  return {
    name: 'HTTP',
    get aliveMs() {
      return aliveMs;
    },
    get over() {
      return over;
    },
    async close() {
      closed = true;
      await running;
    },
  };
}

const timeIn = (payload: Buffer): number => (JSON.parse(payload.toString('utf8')) as { t: number }).t;

/** How long this machine kept everybody waiting, whoever asked: what it adds to every time that is taken. */
export class Stalls {
  readonly #rest: Rest;
  readonly #path: string;
  readonly #running: Promise<void>;
  #closed = false;
  #slowestMs = 0;

  /** @param path whose answer needs the database */
  constructor(rest: Rest, path: string) {
    this.#rest = rest;
    this.#path = path;
    this.#running = this.#run();
  }

  /** The longest wait since this was asked last. */
  take(): number {
    const slowestMs = this.#slowestMs;
    this.#slowestMs = 0;
    return slowestMs;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      const begunMs = performance.now();
      await this.#rest
        .raw('GET', this.#path)
        .then((response) => response.arrayBuffer())
        .catch(() => undefined);
      await pause();
      this.#slowestMs = Math.max(this.#slowestMs, performance.now() - begunMs - PAUSE_MS);
    }
  }
}
