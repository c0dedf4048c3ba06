import { vi } from 'vitest';
import type { CoapHandler, CoapOption, Peer } from '../../contract.ts';
import {
  buildMessage,
  type CoapMessage,
  Method,
  Option,
  parseMessage,
  Type,
  uintBytes,
} from '../../message/message.ts';
import { createEndpoint, type Endpoint, type EndpointOptions } from '../endpoint.ts';

const EMPTY = Buffer.alloc(0);

/** A message as a device writes it: what is left out is usual. */
export interface Said {
  readonly type?: number;
  readonly code?: number;
  readonly messageId?: number;
  readonly token?: string;
  readonly path?: string;
  readonly observe?: number;
  readonly block1?: number;
  readonly block2?: number;
  readonly options?: readonly CoapOption[];
  readonly payload?: string | Buffer;
}

/** `[number, more, szx]` as the option says it. */
export const block = (number: number, more: boolean, szx: number): number => (number << 4) | (more ? 8 : 0) | szx;

export const uintOf = ({ options }: CoapMessage, number: number): number | undefined => {
  const bytes = options.find(([known]) => known === number)?.[1];
  return bytes === undefined ? undefined : bytes.length === 0 ? 0 : bytes.readUIntBE(0, bytes.length);
};
export const textOf = ({ payload }: CoapMessage): string => payload.toString();

/** A device on the other side of a wire that the test holds: it says what it is told to say, and hears what was sent. */
export class Device {
  readonly heard: CoapMessage[] = [];
  readonly peer: Peer;
  heardBytes = 0;
  /** Answers pings, as every endpoint does. */
  answersPings = true;
  acknowledges = false;
  readonly #endpoint: Endpoint;
  #messageId = 0x1000;
  #deaf = false;

  constructor(endpoint: Endpoint, name: string, address: string, verified: boolean) {
    this.#endpoint = endpoint;
    this.peer = {
      key: name,
      address,
      port: 40_000,
      identity: null,
      verified,
      send: (datagram) => this.#hear(datagram),
    };
  }

  #hear(datagram: Buffer): void {
    if (this.#deaf) return;
    const message = parseMessage(datagram);
    if (message === null) throw new Error(`malformed: ${datagram.toString('hex')}`);
    this.heardBytes += datagram.length;
    this.heard.push(message);
    if (message.type !== Type.Con) return;
    if (message.code === 0 && this.answersPings) this.reply(Type.Rst, message.messageId);
    if (message.code !== 0 && this.acknowledges) this.reply(Type.Ack, message.messageId);
  }

  /** Nothing arrives any more. */
  deafen(): void {
    this.#deaf = true;
  }

  say(said: Said): number {
    const messageId = said.messageId ?? this.#messageId++;
    const options: CoapOption[] = [...(said.options ?? [])];
    for (const segment of (said.path ?? '').split('/'))
      if (segment !== '') options.push([Option.UriPath, Buffer.from(segment)]);
    if (said.observe !== undefined) options.push([Option.Observe, uintBytes(said.observe)]);
    if (said.block1 !== undefined) options.push([Option.Block1, uintBytes(said.block1)]);
    if (said.block2 !== undefined) options.push([Option.Block2, uintBytes(said.block2)]);
    const datagram = buildMessage({
      type: said.type ?? Type.Con,
      code: said.code ?? Method.Get,
      messageId,
      token: Buffer.from(said.token ?? 't'),
      options,
      payload: said.payload === undefined ? EMPTY : Buffer.from(said.payload),
    });
    this.raw(datagram);
    return messageId;
  }

  raw(datagram: Buffer): void {
    this.#endpoint.receive(datagram, this.peer);
  }

  reply(type: number, messageId: number): void {
    this.raw(Buffer.of(0x40 | (type << 4), 0, messageId >> 8, messageId & 0xff));
  }

  /** Says it, and gives the last of what it hears at once. */
  ask(said: Said): CoapMessage {
    this.say(said);
    return this.last();
  }

  last(): CoapMessage {
    const message = this.heard.at(-1);
    if (message === undefined) throw new Error('nothing was heard');
    return message;
  }

  /** Takes what was heard so far. */
  take(): CoapMessage[] {
    return this.heard.splice(0);
  }
}

/** An endpoint on a clock that only moves when the test moves it. */
export class Stage implements Disposable {
  readonly endpoint: Endpoint;
  readonly #devices = new Map<string, Device>();

  constructor(handler: CoapHandler, options: Partial<EndpointOptions> = {}) {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
    this.endpoint = createEndpoint(handler, { dedupEntries: 1_024, ackRandomFactor: 1, ...options });
  }

  device(name = 'device', verified = true): Device {
    let device = this.#devices.get(name);
    if (device === undefined) {
      const count = this.#devices.size;
      device = new Device(this.endpoint, name, `198.18.${count >> 8}.${count & 255}`, verified);
      this.#devices.set(name, device);
    }
    return device;
  }

  pass(ms: number): void {
    vi.advanceTimersByTime(ms);
  }

  [Symbol.dispose](): void {
    this.endpoint.close();
    vi.useRealTimers();
  }
}

/** Lets what was settled be answered. */
export const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
};
