import { randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { CoapOption } from '../contract.ts';
import {
  buildMessage,
  type CoapMessage,
  Code,
  Method,
  Option,
  option,
  parseMessage,
  Type,
  uintBytes,
} from '../message/message.ts';

const EMPTY = Buffer.alloc(0);
const ANSWER_MS_MAX = 20_000;

export interface RawRequest {
  readonly method?: number;
  /** `channels/<id>/messages?auth=<key>`, nothing of it encoded. */
  readonly uri: string;
  readonly format?: number;
  readonly accept?: number;
  readonly observe?: number;
  readonly etag?: Buffer;
  readonly payload?: string | Buffer;
  readonly type?: number;
  readonly token?: Buffer;
}

/** A client that does little by itself: sends what it is told, acknowledges what is confirmable. */
export class RawCoap {
  readonly socket: Socket;
  readonly port: number;
  /** Whatever came and was not waited for. */
  readonly inbox: CoapMessage[] = [];
  acknowledges = true;
  readonly #waiting: { readonly token: Buffer; readonly resolve: (message: CoapMessage) => void }[] = [];
  #messageId = randomInt(65_536);
  #token = randomInt(2 ** 24);

  private constructor(socket: Socket, port: number) {
    this.socket = socket;
    this.port = port;
    socket.on('message', (datagram) => this.#received(datagram));
  }

  static async open(url: string): Promise<RawCoap> {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return new RawCoap(socket, Number(url.split(':').at(-1)));
  }

  close(): void {
    this.socket.close();
  }

  /** Sends a request and waits for the answer: the next message with its token. */
  async request(asked: RawRequest): Promise<CoapMessage> {
    const { token = this.newToken() } = asked;
    const answer = this.next(token);
    this.send(asked, token);
    return answer;
  }

  newToken(): Buffer {
    return Buffer.from(uintBytes(++this.#token + 1));
  }

  send(asked: RawRequest, token: Buffer): Buffer {
    const [path = '', query = ''] = asked.uri.split('?');
    const options: CoapOption[] = [];
    const add = (number: number, value: Buffer | undefined): void => {
      if (value !== undefined) options.push([number, value]);
    };
    const number = (value: number | undefined): Buffer | undefined =>
      value === undefined ? undefined : uintBytes(value);
    add(Option.ETag, asked.etag);
    add(Option.Observe, number(asked.observe));
    for (const segment of path.split('/')) add(Option.UriPath, Buffer.from(segment));
    add(Option.ContentFormat, number(asked.format));
    for (const part of query.split('&').filter(Boolean)) add(Option.UriQuery, Buffer.from(part));
    add(Option.Accept, number(asked.accept));
    this.#messageId = (this.#messageId + 1) & 0xffff;
    const datagram = buildMessage({
      type: asked.type ?? Type.Con,
      code: asked.method ?? Method.Post,
      messageId: this.#messageId,
      token,
      options,
      payload: asked.payload === undefined ? EMPTY : Buffer.from(asked.payload),
    });
    this.socket.send(datagram, this.port, '127.0.0.1');
    return datagram;
  }

  /** The next message with this token. */
  next(token: Buffer): Promise<CoapMessage> {
    const at = this.inbox.findIndex((message) => message.token.equals(token));
    if (at >= 0) return Promise.resolve(this.inbox.splice(at, 1)[0] as CoapMessage);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer within ${ANSWER_MS_MAX} ms`)), ANSWER_MS_MAX);
      this.#waiting.push({
        token,
        resolve: (message) => {
          clearTimeout(timer);
          resolve(message);
        },
      });
    });
  }

  #received(datagram: Buffer): void {
    const message = parseMessage(datagram);
    if (message === null) throw new Error('the server sent a malformed datagram');
    if (message.type === Type.Con && this.acknowledges) {
      const empty = { code: Code.Empty, token: EMPTY, options: [], payload: EMPTY };
      const ack = buildMessage({ ...empty, type: Type.Ack, messageId: message.messageId });
      this.socket.send(ack, this.port, '127.0.0.1');
    }
    if (message.code === Code.Empty) return;
    const at = this.#waiting.findIndex(({ token }) => token.equals(message.token));
    if (at < 0) this.inbox.push(message);
    else this.#waiting.splice(at, 1)[0]?.resolve(message);
  }
}

export const textOf = ({ payload }: CoapMessage): string => payload.toString();
export const optionOf = ({ options }: CoapMessage, number: number): Buffer | undefined => option(options, number);
export const numberOf = (message: CoapMessage, number: number): number | undefined => {
  const value = optionOf(message, number);
  return value === undefined ? undefined : value.length === 0 ? 0 : value.readUIntBE(0, value.length);
};
