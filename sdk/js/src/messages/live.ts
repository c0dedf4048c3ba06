import { MillraceApiError, MillraceConnectionError, MillraceSubscriptionEnded, type Problem } from '../error.ts';
import type { Session } from '../session.ts';
import type { Transport } from '../transport.ts';
import type { Feed } from './follow.ts';
import {
  base64,
  type LiveMessage,
  type Payload,
  type PublishOptions,
  type SubscribeOptions,
  textOf,
} from './message.ts';
import { Queue } from './queue.ts';
import { type Socket, type SocketEvent, socketClass, socketUrl } from './socket.ts';

const OPEN = 1;
const WAITING_MAX = 1_000;
const CLOSE_UNAUTHENTICATED = 4_401;

/** A frame of the server at `/ws`. */
type Frame = { readonly type: string; readonly id?: string } & Readonly<Record<string, unknown>>;

/** One WebSocket at `/ws`, authenticated.  @source docs/live.md */
export class LiveSocket {
  readonly #socket: Socket;
  readonly #url: string;
  readonly #answers = new Map<string, { resolve(frame: Frame): void; reject(error: Error): void }>();
  readonly #onFrame: (frame: Frame) => void;
  readonly #onClose: (error: Error) => void;
  #last = 0;
  #closed: Error | null = null;

  private constructor(socket: Socket, url: string, onFrame: (frame: Frame) => void, onClose: (error: Error) => void) {
    this.#socket = socket;
    this.#url = url;
    this.#onFrame = onFrame;
    this.#onClose = onClose;
    socket.addEventListener('message', ({ data }) => this.#take(data));
    socket.addEventListener('close', (event) => this.#end(event));
  }

  get isOpen(): boolean {
    return this.#closed === null && this.#socket.readyState === OPEN;
  }

  /** @throws MillraceApiError 401, MillraceConnectionError */
  static async open(
    transport: Transport,
    session: Session,
    onFrame: (frame: Frame) => void = () => undefined,
    onClose: (error: Error) => void = () => undefined,
  ): Promise<LiveSocket> {
    const Class = await socketClass(transport.url);
    for (let renewed = false; ; renewed = true) {
      const shown = await session.authorization();
      const socket = new Class(socketUrl(transport.url, '/ws'));
      const live = new LiveSocket(socket, transport.url, onFrame, onClose);
      try {
        await live.#opened();
        const frame = await live.ask({ type: 'authenticate', ...(await session.socketCredential()) });
        if (frame.type === 'authenticated') return live;
      } catch (error) {
        live.close();
        const unknown = error instanceof MillraceApiError && error.status === 401;
        if (!unknown || renewed || !(await session.renew(shown))) throw error;
      }
    }
  }

  #opened(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.addEventListener('open', () => resolve());
      this.#socket.addEventListener('error', () =>
        reject(new MillraceConnectionError('UNREACHABLE', this.#url, `${this.#url} does not answer.`)),
      );
      this.#socket.addEventListener('close', () => reject(this.#closed));
    });
  }

  /** Sends a request and waits for what answers it.  @throws MillraceApiError, MillraceConnectionError */
  ask(request: Readonly<Record<string, unknown>>): Promise<Frame> {
    if (this.#closed !== null) return Promise.reject(this.#closed);
    const id = `r${++this.#last}`;
    return new Promise((resolve, reject) => {
      this.#answers.set(id, { resolve, reject });
      try {
        this.#socket.send(JSON.stringify({ ...request, id }));
      } catch (cause) {
        this.#answers.delete(id);
        reject(new MillraceConnectionError('CLOSED', this.#url, 'The connection is closed.', { cause }));
      }
    });
  }

  close(): void {
    this.#socket.close(1000);
  }

  #take(data: unknown): void {
    let frame: Frame;
    try {
      frame = JSON.parse(String(data)) as Frame;
    } catch {
      return;
    }
    const waiting = frame.id === undefined || frame.type === 'message' ? undefined : this.#answers.get(frame.id);
    if (waiting === undefined || frame.id === undefined) {
      this.#onFrame(frame);
      return;
    }
    this.#answers.delete(frame.id);
    if (frame.type === 'error') waiting.reject(new MillraceApiError(problemOfFrame(frame), 'WS /ws'));
    else waiting.resolve(frame);
  }

  #end({ code = 1006, reason = '' }: SocketEvent): void {
    const told = `The connection was closed (${code}${reason === '' ? '' : `: ${reason}`}).`;
    this.#closed =
      code === CLOSE_UNAUTHENTICATED
        ? new MillraceApiError(problem(401, reason === '' ? told : reason), 'WS /ws')
        : new MillraceConnectionError('CLOSED', this.#url, told);
    for (const { reject } of this.#answers.values()) reject(this.#closed);
    this.#answers.clear();
    this.#onClose(this.#closed);
  }
}

const problemOfFrame = (frame: Frame): Problem => ({
  ...problem(Number(frame.status ?? 500), String(frame.detail ?? frame.title ?? '')),
  title: String(frame.title ?? ''),
});
const problem = (status: number, detail: string): Problem => ({ type: 'about:blank', title: '', status, detail });

/** Publishes over one WebSocket that is opened when it is needed. */
export class LivePublisher {
  readonly #transport: Transport;
  readonly #session: Session;
  #socket: Promise<LiveSocket> | null = null;

  constructor(transport: Transport, session: Session) {
    this.#transport = transport;
    this.#session = session;
  }

  /** @returns id of the message, once it is durable */
  async publish(channel: string, payload: Payload, { subtopic, contentType }: PublishOptions): Promise<string> {
    const socket = await this.#open();
    const { message } = await socket.ask({
      type: 'publish',
      channel,
      ...(subtopic === undefined ? {} : { subtopic }),
      ...frameOf(payload, contentType),
    });
    return String(message);
  }

  async close(): Promise<void> {
    const socket = this.#socket;
    this.#socket = null;
    (await socket?.catch(() => null))?.close();
  }

  async #open(): Promise<LiveSocket> {
    const before = this.#socket;
    const open = before === null ? null : await before.catch(() => null);
    if (open?.isOpen === true) return open;
    // Of all that find it closed, the first opens another one: a channel keeps its order in one socket only.
    if (this.#socket === before || this.#socket === null) {
      this.#socket = LiveSocket.open(this.#transport, this.#session);
      this.#socket.catch(() => undefined);
    }
    return this.#socket;
  }
}

function frameOf(payload: Payload, contentType: string | undefined): Record<string, unknown> {
  const type = contentType === undefined ? {} : { content_type: contentType };
  if (typeof payload === 'string') return { ...type, payload };
  if (payload instanceof Uint8Array) {
    const text = textOf(payload);
    return { ...type, ...(text === null ? { payload_base64: base64(payload) } : { payload: text }) };
  }
  const told = contentType ?? (Array.isArray(payload) ? 'application/senml+json' : 'application/json');
  return { content_type: told, json: payload };
}

/** Messages of a channel over a WebSocket of its own. When more wait than may, it is closed, and opened anew where
 *  the reader has come to: the log keeps the rest. */
export function liveFeed(
  transport: Transport,
  session: Session,
  channel: string,
  { subtopic, slow, onGap, waitingMax = WAITING_MAX }: SubscribeOptions,
): Feed {
  return async function* feed(from, opened, signal) {
    const queue = new Queue<LiveMessage>();
    let overflowed = false;
    const onFrame = (frame: Frame): void => {
      if (frame.type === 'message') {
        if (overflowed) return;
        queue.push(messageOf(frame));
        if (queue.size < waitingMax) return;
        overflowed = true;
        queue.end(null);
        socket.close();
      } else if (frame.type === 'gap') onGap?.({ from: String(frame.from), to: String(frame.to) });
      else if (frame.type === 'ended') queue.end(new MillraceSubscriptionEnded(String(frame.reason)));
      else if (frame.type === 'error') queue.end(new MillraceApiError(problemOfFrame(frame), 'WS /ws'));
    };
    const socket = await LiveSocket.open(transport, session, onFrame, (error) => queue.end(error));
    const stop = (): void => {
      queue.end(null);
      socket.close();
    };
    signal.addEventListener('abort', stop, { once: true });
    try {
      await socket.ask({
        type: 'subscribe',
        channel,
        ...(subtopic === undefined ? {} : { subtopic }),
        ...(from === undefined ? {} : { from }),
        ...(slow === undefined ? {} : { slow }),
      });
      opened();
      for (let message = await queue.take(); message !== null; message = await queue.take()) yield message;
    } finally {
      signal.removeEventListener('abort', stop);
      socket.close();
    }
  };
}

function messageOf({ type: _type, subscription: _subscription, ...message }: Frame): LiveMessage {
  return message as unknown as LiveMessage;
}
