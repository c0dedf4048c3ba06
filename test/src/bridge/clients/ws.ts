import { WebSocket } from 'ws';
import {
  type Client,
  type ClientKind,
  type Identity,
  Inbox,
  type Place,
  type PublishOptions,
  type Topic,
} from './client.ts';
import { type LiveMessage, received } from './live-message.ts';

/** The npm package ws on sockets of one channel each: the frames are the messages. */
export const wsChannel: ClientKind = {
  name: 'ws on a channel',
  missing: null,
  publishes: true,
  subscribes: true,
  publishesEmpty: false,
  connect: async (place, identity) =>
    new ChannelSockets((url, onFrame, onOver) => openWs(url, identity, onFrame, onOver), place),
};

/** The npm package ws on one socket at /ws. */
export const wsMany: ClientKind = {
  name: 'ws at /ws',
  missing: null,
  publishes: true,
  subscribes: true,
  publishesEmpty: false,
  async connect(place, identity) {
    const client = new ManySocket();
    await client.open(place, identity);
    return client;
  },
};

/** An open WebSocket of any library. */
export interface OpenSocket {
  send(frame: Uint8Array | string): void;
  close(): Promise<void>;
}
export type OnFrame = (frame: Buffer, text: boolean) => void;
export type OpenWebSocket = (url: string, onFrame: OnFrame, onOver: (how: string) => void) => Promise<OpenSocket>;

/** @throws with the status when it is refused */
export function openWs(
  url: string,
  identity: Identity | null,
  onFrame: OnFrame,
  onOver: (how: string) => void,
): Promise<OpenSocket> {
  const headers = identity === null ? {} : { authorization: `Thing ${identity.key}` };
  const socket = new WebSocket(url, { headers, perMessageDeflate: false });
  socket.on('message', (data: Buffer, binary) => onFrame(data, !binary));
  const closed = new Promise<void>((resolve) => {
    socket.once('close', (code, reason) => {
      onOver(`closed with ${code} ${reason}`);
      resolve();
    });
  });
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.once('open', () => {
      resolve({
        send: (frame) => socket.send(frame),
        async close() {
          socket.close();
          const timer = setTimeout(() => socket.terminate(), 5_000);
          await closed;
          clearTimeout(timer);
        },
      });
    });
  });
}

const socketUrl = (place: Place, path: string): string => place.http.replace(/^http/, 'ws') + path;

/** The path of a socket on one channel; the filter in the query, since a URL can't hold '#' in its path. */
export function channelPath({ channel, subtopic }: Topic, query: Readonly<Record<string, string>> = {}): string {
  const wild = /[+#]/.test(subtopic);
  const parameters = new URLSearchParams({ ...query, ...(wild ? { filter: subtopic } : {}) }).toString();
  const path = `/channels/${channel}/messages${wild || subtopic === '' ? '' : `/${subtopic}`}`;
  return parameters === '' ? path : `${path}?${parameters}`;
}

/** What one who has sockets of one channel does: one for each topic and content type. */
export class ChannelSockets implements Client {
  readonly #place: Place;
  readonly #openSocket: OpenWebSocket;
  readonly #sockets: OpenSocket[] = [];
  readonly #publishers = new Map<string, Promise<PublishingSocket>>();

  constructor(openSocket: OpenWebSocket, place: Place) {
    this.#openSocket = openSocket;
    this.#place = place;
  }

  async publish(topic: Topic, payload: Uint8Array, { contentType }: PublishOptions = {}): Promise<void> {
    const query = { ack: '1', ...(contentType === undefined ? {} : { content_type: contentType }) };
    const path = channelPath(topic, query);
    let publisher = this.#publishers.get(path);
    if (publisher === undefined) {
      publisher = PublishingSocket.open(this.#openSocket, socketUrl(this.#place, path));
      this.#publishers.set(path, publisher);
    }
    await (await publisher).publish(payload, /json|text/.test(contentType ?? ''));
  }

  async subscribe(filters: readonly Topic[]): Promise<Inbox> {
    const inbox = new Inbox();
    await Promise.all(
      filters.map(async (filter) => {
        const exact = /[+#]/.test(filter.subtopic) ? null : filter.subtopic;
        const socket = await this.#openSocket(
          socketUrl(this.#place, channelPath(filter)),
          (payload) =>
            inbox.add({
              channel: filter.channel,
              subtopic: exact,
              payload,
              contentType: null,
              qos: null,
              retain: null,
            }),
          (how) => inbox.end(how),
        );
        this.#sockets.push(socket);
      }),
    );
    return inbox;
  }

  async close(): Promise<void> {
    const publishers = await Promise.allSettled(this.#publishers.values());
    for (const opened of publishers) if (opened.status === 'fulfilled') this.#sockets.push(opened.value.socket);
    await Promise.all(this.#sockets.map((socket) => socket.close()));
  }
}

/** A socket that asks for acknowledgements: they come in the order of the frames. */
class PublishingSocket {
  readonly socket: OpenSocket;
  readonly #waiting: { resolve(): void; reject(error: Error): void }[];

  private constructor(socket: OpenSocket, waiting: { resolve(): void; reject(error: Error): void }[]) {
    this.socket = socket;
    this.#waiting = waiting;
  }

  static async open(openSocket: OpenWebSocket, url: string): Promise<PublishingSocket> {
    const waiting: { resolve(): void; reject(error: Error): void }[] = [];
    const socket = await openSocket(
      url,
      (frame) => {
        const { ack } = JSON.parse(frame.toString('utf8')) as { ack?: string };
        const first = waiting.shift();
        if (ack === undefined) first?.reject(new Error(frame.toString('utf8')));
        else first?.resolve();
      },
      (how) => {
        for (const { reject } of waiting.splice(0)) reject(new Error(how));
      },
    );
    return new PublishingSocket(socket, waiting);
  }

  publish(payload: Uint8Array, text: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.socket.send(text ? Buffer.from(payload).toString('utf8') : payload);
    });
  }
}

interface Reply {
  readonly type: string;
  readonly id?: string;
}

class ManySocket implements Client {
  #socket: OpenSocket | null = null;
  #inbox: Inbox | null = null;
  readonly #open = new Map<string, { resolve(): void; reject(error: Error): void }>();
  #next = 1;

  async open(place: Place, identity: Identity): Promise<void> {
    this.#socket = await openWs(
      socketUrl(place, '/ws'),
      identity,
      (frame) => this.#onReply(JSON.parse(frame.toString('utf8')) as Reply, frame.toString('utf8')),
      (how) => {
        this.#inbox?.end(how);
        for (const { reject } of this.#open.values()) reject(new Error(how));
      },
    );
  }

  publish({ channel, subtopic }: Topic, payload: Uint8Array, { contentType }: PublishOptions = {}): Promise<void> {
    const bytes = Buffer.from(payload);
    const text = /json|text/.test(contentType ?? '');
    return this.#ask({
      type: 'publish',
      channel,
      ...(subtopic === '' ? {} : { subtopic }),
      ...(contentType === undefined ? {} : { content_type: contentType }),
      ...(text ? { payload: bytes.toString('utf8') } : { payload_base64: bytes.toString('base64') }),
    });
  }

  async subscribe(filters: readonly Topic[]): Promise<Inbox> {
    this.#inbox ??= new Inbox();
    await Promise.all(filters.map(({ channel, subtopic }) => this.#ask({ type: 'subscribe', channel, subtopic })));
    return this.#inbox;
  }

  async close(): Promise<void> {
    await this.#socket?.close();
  }

  #ask(message: Readonly<Record<string, unknown>>): Promise<void> {
    const id = String(this.#next++);
    return new Promise((resolve, reject) => {
      this.#open.set(id, { resolve, reject });
      this.#socket?.send(JSON.stringify({ ...message, id }));
    });
  }

  #onReply(reply: Reply, text: string): void {
    if (reply.type === 'message') {
      this.#inbox?.add(received(reply as unknown as LiveMessage, text));
      return;
    }
    if (reply.type === 'ended') this.#inbox?.end(text);
    const asked = this.#open.get(reply.id ?? '');
    this.#open.delete(reply.id ?? '');
    if (reply.type === 'error') asked?.reject(new Error(text));
    else asked?.resolve();
  }
}
