import { randomFillSync } from 'node:crypto';
import type { Answered, CoapAnswer, CoapOption, OutgoingRequest, Peer } from '../contract.ts';
import { CoapError } from '../error.ts';
import { buildMessage, type CoapMessage, Code, Option, option, readUint, Type, uintBytes } from '../message/message.ts';
import { Ask } from './ask.ts';
import { type EndpointParts, guarded } from './parts.ts';
import type { PeerState } from './peer-state.ts';
import { Watch } from './watch.ts';

const EMPTY = Buffer.alloc(0);
const TOKEN_BYTES = 8;
const SZX = 6;
/** An observation goes on for ever; fetching one of its bodies does not. */
const NOTIFICATION_TIMEOUT_MS = 60_000;
const tokens = Buffer.alloc(4_096);
let tokenAt = tokens.length;

/** Nobody guesses it: an answer of someone off the road does not fit. */
function newToken(): Buffer {
  if (tokenAt === tokens.length) {
    randomFillSync(tokens);
    tokenAt = 0;
  }
  tokenAt += TOKEN_BYTES;
  return Buffer.from(tokens.subarray(tokenAt - TOKEN_BYTES, tokenAt));
}

const uintOf = ({ options }: CoapMessage, number: number): number | null => {
  const bytes = option(options, number);
  return bytes === undefined ? null : readUint(bytes, 0, bytes.length);
};

function requestOptions({ path, query, onNotification, format, accept }: OutgoingRequest): CoapOption[] {
  const options: CoapOption[] = [];
  if (onNotification !== undefined) options.push([Option.Observe, EMPTY]);
  for (const segment of path.split('/')) if (segment !== '') options.push([Option.UriPath, Buffer.from(segment)]);
  if (format !== undefined) options.push([Option.ContentFormat, uintBytes(format)]);
  for (const text of query ?? []) options.push([Option.UriQuery, Buffer.from(text)]);
  if (accept !== undefined) options.push([Option.Accept, uintBytes(accept)]);
  return options;
}

/** What all messages of one request have in common. */
interface Errand {
  readonly state: PeerState;
  readonly asked: OutgoingRequest;
  readonly options: readonly CoapOption[];
  readonly untilMs: number;
}

/** The asking half: requests to peers, bodies in blocks both ways, observations of theirs.
 *  @source RFC 7252 §5.2, 7641 §3, 7959 §2 and §3 */
export class Caller {
  readonly #parts: EndpointParts;
  closed = false;

  constructor(parts: EndpointParts) {
    this.#parts = parts;
  }

  /** @throws CoapError */
  async request(peer: Peer, asked: OutgoingRequest): Promise<Answered> {
    const { states, options } = this.#parts;
    const state = states.of(peer);
    const untilMs = options.now() + (asked.timeoutMs ?? options.callTimeoutMs);
    const errand: Errand = { state, asked, options: requestOptions(asked), untilMs };
    if (asked.onNotification === undefined)
      return { answer: await this.#whole(errand, await this.#askWithBody(errand, newToken(), null)), cancel: () => {} };
    return this.#observe(errand, asked.onNotification);
  }

  async #observe(errand: Errand, told: (answer: CoapAnswer) => void): Promise<Answered> {
    const { state, asked } = errand;
    const { now } = this.#parts.options;
    const token = newToken();
    const key = token.toString('latin1');
    const rest = errand.options.filter(([number]) => number !== Option.Observe);
    const forget = (): void => {
      if (state.calls.get(key) === watch) state.calls.delete(key);
      this.#parts.states.changed(state);
    };
    const watch: Watch = new Watch(
      now,
      (message) => this.#whole({ ...errand, options: rest, untilMs: now() + NOTIFICATION_TIMEOUT_MS }, message),
      (answer) => guarded(this.#parts, () => told(answer)),
      forget,
    );
    const cancel = (quietly = false): void => {
      if (!watch.open) return;
      watch.fail();
      const known = state.calls.get(key) === watch;
      forget();
      // The answer has a token that nobody waits for any more, and is dropped.
      if (known && !quietly && !this.closed)
        this.#tell(state, asked.method, token, [...rest, [Option.Observe, uintBytes(1)]]);
    };
    const first = await this.#askWithBody(errand, token, watch);
    try {
      const answer = await this.#whole({ ...errand, options: rest }, first);
      // Who asked hears the answer before the first notification.
      setImmediate(() => watch.begin(first));
      return { answer, cancel };
    } catch (error) {
      cancel();
      throw error;
    }
  }

  /** Sends the body in one message or in blocks, as the peer wants them.
   *  @returns the final response */
  async #askWithBody(errand: Errand, token: Buffer, watch: Watch | null): Promise<CoapMessage> {
    const { asked, options } = errand;
    const body = asked.payload ?? EMPTY;
    let szx = SZX;
    let offset = 0;
    let extra: CoapOption[] = [];
    let restarted = false;
    for (;;) {
      const size = 16 << szx;
      const end = Math.min(offset + size, body.length);
      const cut = body.length > size || offset > 0;
      const more = end < body.length;
      const block: CoapOption[] = [];
      if (cut) block.push([Option.Block1, uintBytes(((offset / size) << 4) | (more ? 8 : 0) | szx)]);
      if (cut && offset === 0) block.push([Option.Size1, uintBytes(body.length)]);
      const sent = [...options, ...block, ...extra];
      const fresh = offset > 0 || extra.length > 0 ? newToken() : token;
      const response = await this.#ask(errand, watch === null ? fresh : token, sent, body.subarray(offset, end), watch);
      const answered = uintOf(response, Option.Block1);
      const echo = option(response.options, Option.Echo);
      if (response.code === Code.Unauthorized && echo !== undefined && extra.length === 0) {
        extra = [[Option.Echo, echo]];
      } else if (response.code === Code.Continue && more) {
        offset = end;
        // A peer may want smaller ones: the number then counts those.
        if (answered !== null && (answered & 7) < szx) szx = answered & 7;
      } else if (
        response.code === Code.RequestEntityTooLarge &&
        answered !== null &&
        (answered & 7) < szx &&
        !restarted
      ) {
        restarted = true;
        szx = answered & 7;
        offset = 0;
      } else {
        return response;
      }
    }
  }

  /** Fetches what a response has left out. */
  async #whole(errand: Errand, first: CoapMessage): Promise<CoapAnswer> {
    const { options } = this.#parts;
    const { asked } = errand;
    let message = first;
    let block = uintOf(message, Option.Block2);
    let body = message.payload;
    if (block !== null && (block & 8) !== 0) {
      const etag = option(first.options, Option.ETag);
      const blocks = [body];
      let size = body.length;
      if (block >> 4 !== 0) throw new CoapError('COAP_RESET', 'later', { path: asked.path });
      while (block !== null && (block & 8) !== 0) {
        if (size > options.bodyBytesMax)
          throw new CoapError('COAP_TOO_LARGE', 'never', { path: asked.path, bodyBytesMax: options.bodyBytesMax });
        const szx: number = block & 7;
        const next = size / (16 << szx);
        const sent = errand.options.filter(([number]) => number !== Option.Observe && number !== Option.ContentFormat);
        message = await this.#ask(
          errand,
          newToken(),
          [...sent, [Option.Block2, uintBytes((next << 4) | szx)]],
          EMPTY,
          null,
        );
        block = uintOf(message, Option.Block2);
        const other = option(message.options, Option.ETag);
        // Another body by now, or another part of it, or one that can't go on: what was fetched is worth nothing.
        if (
          message.code !== first.code ||
          block === null ||
          (block >> 4) * (16 << (block & 7)) !== size ||
          (etag !== undefined && other !== undefined && !etag.equals(other)) ||
          ((block & 8) !== 0 && (message.payload.length !== 16 << (block & 7) || (block & 7) === 7))
        )
          throw new CoapError('COAP_RESET', 'later', { path: asked.path });
        blocks.push(message.payload);
        size += message.payload.length;
      }
      body = Buffer.concat(blocks);
    }
    if (body.length > options.bodyBytesMax)
      throw new CoapError('COAP_TOO_LARGE', 'never', { path: asked.path, bodyBytesMax: options.bodyBytesMax });
    return { code: first.code, format: uintOf(first, Option.ContentFormat), payload: body, options: first.options };
  }

  #ask(
    errand: Errand,
    token: Buffer,
    sent: readonly CoapOption[],
    payload: Buffer,
    watch: Watch | null,
  ): Promise<CoapMessage> {
    const { options, wheel, exchanges } = this.#parts;
    const { state, asked, untilMs } = errand;
    const facts = { path: asked.path };
    if (this.closed) return Promise.reject(new CoapError('COAP_CLOSED', 'later', facts));
    if (state.calls.size >= options.callsPerPeerMax || exchanges.isFull(state))
      return Promise.reject(new CoapError('COAP_BUSY', 'later', facts));
    const leftMs = untilMs - options.now();
    if (leftMs <= 0) return Promise.reject(new CoapError('COAP_TIMEOUT', 'later', facts));
    const key = token.toString('latin1');
    const ask = new Ask(this.#parts, state, key, asked.path, watch);
    wheel.add(ask, leftMs);
    const messageId = state.nextMessageId();
    const datagram = buildMessage({
      type: Type.Con,
      code: asked.method,
      messageId,
      token,
      options: sent,
      payload,
    });
    const exchange = exchanges.send(state, messageId, datagram, ask);
    // It may have been answered while it was sent, over a road within the process.
    if (exchange !== null && state.calls.get(key) === ask) ask.exchange = exchange;
    return ask.response;
  }

  #tell(state: PeerState, code: number, token: Buffer, options: readonly CoapOption[]): void {
    const { exchanges } = this.#parts;
    const messageId = state.nextMessageId();
    const datagram = buildMessage({ type: Type.Con, code, messageId, token, options, payload: EMPTY });
    exchanges.send(state, messageId, datagram, null);
  }

  /** @returns whether someone waited for it */
  take(state: PeerState, message: CoapMessage): boolean {
    const call = state.calls.get(message.token.toString('latin1'));
    if (call === undefined) return false;
    call.take(message);
    return true;
  }

  /** It can't be understood. */
  reject(state: PeerState, message: CoapMessage): void {
    state.calls.get(message.token.toString('latin1'))?.fail(new CoapError('COAP_RESET', 'never'));
  }

  closeAll(state: PeerState): void {
    for (const call of [...state.calls.values()]) call.fail(new CoapError('COAP_CLOSED', 'later'));
    state.calls.clear();
    this.#parts.states.changed(state);
  }
}
