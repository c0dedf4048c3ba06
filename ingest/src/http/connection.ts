import type { Socket } from 'node:net';
import { Protocol } from '@millrace/core';
import { problemAnswer, type Refusal } from './answer.ts';
import { ChunkReader } from './chunks.ts';
import { Exchange } from './exchange.ts';
import { HEAD_BYTES_MAX, Head, type HeadCache } from './head.ts';
import type { TrustedProxies } from './proxies.ts';
import { type CertificateCredential, shownCertificate } from './shown-certificate.ts';

// hot
/** Requests of one connection that may be under way at once; then its socket is not read. */
const PIPELINE_MAX = 64;
/** Bytes of answers that a client has not taken; beyond them its socket is not read. */
const UNSENT_BYTES_MAX = 262_144;
/** Time that a client has to take the last answer and go. */
const LINGER_MS = 2_000;
/** Of requests that wait for an answer before them, so much is taken from the socket. @units bytes */
const AHEAD_BYTES_MAX = 16_384;
const FIRST_BODY_BYTES = 65_536;
const EMPTY = Buffer.alloc(0);
const HEAD_END = Buffer.from('\r\n\r\n');

/** What a connection needs of the server. */
export interface ConnectionHost {
  readonly proxies: TrustedProxies;
  readonly heads: HeadCache;
  readonly bodyBytesMax: number;
  readonly headMsMax: number;
  readonly requestMsMax: number;
  readonly idleMsMax: number;
  readonly draining: boolean;
  /** Monotonic time in ms, renewed a few times a second: for deadlines. */
  readonly coarseMs: number;
  /** Asks for room for a body that is being received; false: none is left. */
  takeBytes(size: number): boolean;
  giveBytes(size: number): void;
  /** The head is there, the body is not. An answer here means that the body is not wanted. */
  onHead(exchange: Exchange): void;
  /** The request is complete. */
  onRequest(exchange: Exchange): void;
  onClosed(connection: Connection): void;
  /** A fault of ours. */
  onFault(error: unknown): void;
  refused(reason: Refusal, publish: boolean): void;
}

/** One client's connection: bytes in, requests to the host, answers out in order.
 *
 *  rest ── head ──► exchange ── body ──► host.onRequest ─┐
 *    ▲ not read while blocked                             ▼ answers, in any order
 *    └──────── socket ◄── flush, in order ◄── queue of exchanges
 *
 *  @holds requests are handed on in order, one after the other; while one is being decided (`hold`), the next waits */
export class Connection {
  readonly host: ConnectionHost;
  readonly socket: Socket;
  /** What the gate may ask about; made once, `nowMs` is renewed for each request, and behind a trusted proxy all else. */
  readonly context: {
    readonly protocol: Protocol;
    remoteAddress: string;
    tls: boolean;
    mutualTls: boolean;
    nowMs: number;
  };
  /** What the client of the request in hand has shown to the trusted proxy that sends it. Anybody can make one: it counts
   *  as TLS on both sides (`mutualTls`) only for whom it identifies. */
  certificate: CertificateCredential | null = null;
  closed = false;
  /** No further request is read. */
  closing = false;
  /** Another protocol has the socket. It counts as a connection until the socket closes. */
  detached = false;
  #rest: Buffer = EMPTY;
  #at = 0;
  readonly #queue: Exchange[] = [];
  #reading: Exchange | null = null;
  #chunks: ChunkReader | null = null;
  #body: Buffer = EMPTY;
  #bodySize = 0;
  #bodyEnd = 0;
  #bytesTaken = 0;
  #holds = 0;
  #paused = false;
  #consuming = false;
  #corked = false;
  #clientEnded = false;
  #deadlineMs: number;
  #deadlineFor: 'idle' | 'head' | 'request' | 'linger' = 'idle';
  /** Who has connected. */
  readonly #peer: string;
  readonly #tls: boolean;
  readonly #believed: boolean;
  #stalledAt = 0;
  #stalledMs = 0;

  constructor(host: ConnectionHost, socket: Socket, tls: boolean) {
    this.host = host;
    this.socket = socket;
    // An IPv4 client of a dual-stack listener is known by its IPv4 address, as policies name it.
    this.#peer = (socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/i, '');
    this.#tls = tls;
    this.#believed = host.proxies.trusts(this.#peer);
    this.context = {
      protocol: Protocol.http,
      remoteAddress: this.#peer,
      tls,
      mutualTls: false,
      nowMs: 0,
    };
    this.#deadlineMs = host.coarseMs + host.idleMsMax;
    socket.on('data', this.#receive);
    socket.on('drain', this.#consume);
    socket.on('end', this.#onEnd);
    socket.on('error', () => {});
    socket.once('close', () => this.#onClose());
  }

  get idle(): boolean {
    return this.#queue.length === 0 && this.#reading === null && !this.detached;
  }

  /** Stops reading requests until each `hold` has met its `release`: the one that was handed on is being decided. */
  hold(): void {
    this.#holds++;
  }
  release(): void {
    if (--this.#holds === 0) this.#consume();
  }

  /** Writes the answers whose turn it is. */
  flush(): void {
    const queue = this.#queue;
    if (this.closed) return;
    if (queue.length > 1 && !this.#corked) {
      // Answers to pipelined requests come one by one, out of one commit: they leave together.
      this.#corked = true;
      this.socket.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.socket.uncork();
      });
    }
    for (let first = queue[0]; first !== undefined; first = queue[0]) {
      const text = first.answerText;
      if (text === null) {
        first.onTurn?.();
        break;
      }
      queue.shift();
      this.host.giveBytes(first.bodyBytesTaken);
      if (text !== '') this.socket.write(text, 'latin1');
      if (first.closes) {
        this.#linger();
        return;
      }
    }
    if (this.#paused) this.#consume();
    else if (queue.length === 0) this.#settle();
  }

  /** Writes a part of a streamed answer. @returns false when the client should be waited for (`drained`) */
  write(bytes: string | Uint8Array): boolean {
    if (this.closed) return true;
    return typeof bytes === 'string' ? this.socket.write(bytes, 'latin1') : this.socket.write(bytes);
  }
  /** Resolves when the client has taken what was written, or left. */
  drained(): Promise<void> {
    if (this.closed || !this.socket.writableNeedDrain) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        this.socket.off('drain', done);
        this.socket.off('close', done);
        resolve();
      };
      this.socket.once('drain', done);
      this.socket.once('close', done);
    });
  }

  /** Lets go of the socket, for the protocol that the request of this exchange asked for.
   *  @returns what came after the request; null if the client is gone, or it is not this exchange's turn
   *  @holds the socket is paused, and nobody listens to it but for its errors and its end */
  detach(exchange: Exchange): Buffer | null {
    const { socket } = this;
    // Who has closed its half can't be spoken with, and would wait for ever.
    if (this.#clientEnded && !exchange.answered) socket.destroy();
    if (this.closed || this.#clientEnded || exchange.answered || this.#queue[0] !== exchange) return null;
    if (this.#queue.length > 1) return null;
    this.detached = true;
    this.closing = true;
    this.#queue.length = 0;
    socket.pause();
    socket.off('data', this.#receive);
    socket.off('drain', this.#consume);
    socket.off('end', this.#onEnd);
    const rest = this.#rest.subarray(this.#at);
    this.#rest = EMPTY;
    this.#at = 0;
    return rest;
  }

  /** Called a few times a second: ends what took too long. */
  sweep(nowMs: number): void {
    const { socket } = this;
    if (this.detached) return;
    if (socket.writableLength === 0) this.#stalledMs = nowMs;
    else if (socket.bytesWritten !== this.#stalledAt) {
      this.#stalledAt = socket.bytesWritten;
      this.#stalledMs = nowMs;
    } else if (nowMs - this.#stalledMs > this.host.idleMsMax) {
      socket.destroy();
    }
    if (nowMs < this.#deadlineMs) return;
    if (this.#deadlineFor === 'linger') socket.destroy();
    else if (this.#deadlineFor === 'idle' && this.idle) this.end();
    else if (this.#reading !== null || this.#deadlineFor === 'head') {
      const exchange = this.#reading;
      this.#deadlineMs = Number.POSITIVE_INFINITY;
      this.#reading = null;
      this.closing = true;
      if (exchange === null) this.#fail(408, 'timeout', 'The head of the request did not come in time.');
      else if (exchange.answered) this.end();
      else {
        exchange.closes = true;
        exchange.refuse(408, 'timeout', 'The body of the request did not come in time.');
      }
    }
  }

  /** Ends the connection once its answers are written. */
  end(): void {
    if (this.detached) return;
    this.closing = true;
    if (this.#queue.length === 0) this.#linger();
  }

  destroy(): void {
    this.socket.destroy();
  }

  #linger(): void {
    this.closing = true;
    this.#deadlineFor = 'linger';
    this.#deadlineMs = this.host.coarseMs + LINGER_MS;
    this.#rest = EMPTY;
    this.#at = 0;
    this.#body = EMPTY;
    this.#release();
    // What the client still sends is read over: a reset could overtake the answer.
    if (this.#paused) {
      this.#paused = false;
      this.socket.resume();
    }
    this.socket.end();
    if (this.#clientEnded) this.socket.destroySoon();
  }

  readonly #onEnd = (): void => {
    this.#clientEnded = true;
    if (this.#reading !== null) this.socket.destroy();
    else this.#settle();
    this.#queue[0]?.onLeft?.();
  };

  #onClose(): void {
    this.closed = true;
    this.closing = true;
    this.#release();
    this.#rest = EMPTY;
    this.#body = EMPTY;
    for (const exchange of this.#queue) {
      this.host.giveBytes(exchange.bodyBytesTaken);
      exchange.onAbort?.();
    }
    this.#queue.length = 0;
    this.host.onClosed(this);
  }

  /** Nothing is under way: what comes next? */
  #settle(): void {
    if (!this.idle || this.#deadlineFor === 'linger') return;
    // What is held may be followed by requests that have come already.
    if (this.closing || (this.#clientEnded && !this.#paused && this.#holds === 0)) this.#linger();
    else if (this.#at >= this.#rest.length) {
      this.#deadlineFor = 'idle';
      this.#deadlineMs = this.host.coarseMs + this.host.idleMsMax;
    }
  }

  readonly #receive = (chunk: Buffer): void => {
    if (this.closing) return;
    this.#rest = this.#at < this.#rest.length ? Buffer.concat([this.#rest.subarray(this.#at), chunk]) : chunk;
    this.#at = 0;
    this.#consume();
  };

  get #blocked(): boolean {
    const queue = this.#queue;
    if (this.#holds > 0 || queue.length >= PIPELINE_MAX || this.socket.writableLength > UNSENT_BYTES_MAX) return true;
    // After the last answer nothing can be answered, so nothing may be taken.  @source RFC 9112 §9.6
    return this.#reading === null && queue.length > 0 && (queue[queue.length - 1] as Exchange).closes;
  }

  /** While somebody works on an answer the socket is read on, or nobody would hear that the client left. */
  get #listens(): boolean {
    return (
      this.#holds > 0 && (this.#queue[0]?.onLeft ?? null) !== null && this.#rest.length - this.#at < AHEAD_BYTES_MAX
    );
  }

  readonly #consume = (): void => {
    if (this.#consuming) return;
    this.#consuming = true;
    try {
      while (!this.closing && !this.#blocked && this.#step());
    } catch (error) {
      this.host.onFault(error);
      this.socket.destroy();
    } finally {
      this.#consuming = false;
    }
    if (this.closing) return;
    if (this.#at >= this.#rest.length) {
      this.#rest = EMPTY;
      this.#at = 0;
    }
    const blocked = this.#blocked && !this.#listens;
    if (blocked !== this.#paused) {
      this.#paused = blocked;
      if (blocked) this.socket.pause();
      else this.socket.resume();
    }
    if (this.#queue.length === 0) this.#settle();
  };

  /** @returns whether there may be more to do */
  #step(): boolean {
    if (this.#chunks !== null) return this.#readChunks(this.#chunks);
    if (this.#reading !== null) return this.#readBody(this.#reading);
    return this.#readHead();
  }

  #readHead(): boolean {
    const rest = this.#rest;
    let at = this.#at;
    while (rest[at] === 13 || rest[at] === 10) at++;
    this.#at = at;
    if (at >= rest.length) return false;
    const end = rest.indexOf(HEAD_END, at);
    if (end < 0 || end - at > HEAD_BYTES_MAX) {
      if (end >= 0 || rest.length - at > HEAD_BYTES_MAX) {
        this.#fail(431, 'malformed', `The head of a request is larger than ${HEAD_BYTES_MAX} bytes.`);
      } else if (this.#deadlineFor !== 'head') {
        this.#deadlineFor = 'head';
        this.#deadlineMs = this.host.coarseMs + this.host.headMsMax;
      }
      return false;
    }
    const head = this.host.heads.read(rest.toString('latin1', at, end + 2));
    this.#at = end + 4;
    this.#deadlineFor = 'request';
    if (!(head instanceof Head)) {
      this.#fail(head.status, 'malformed', head.detail);
      return false;
    }
    const exchange = new Exchange(this, head);
    this.#queue.push(exchange);
    // Who waits for a 100 and is refused may or may not send the body after all: only the end is unambiguous.
    exchange.closes = head.expectsContinue || !head.keepAlive;
    if (this.#believed) this.#hear(head);
    this.host.onHead(exchange);
    if (this.closing) return false;
    if (!exchange.answered) exchange.closes = !head.keepAlive;
    const size = head.contentLength;
    if (size <= 0 && !head.chunked) {
      if (!exchange.answered) this.host.onRequest(exchange);
      return true;
    }
    if (size <= rest.length - this.#at && !head.chunked) {
      const body = rest.subarray(this.#at, this.#at + size);
      this.#at += size;
      if (!exchange.answered) {
        exchange.body = body;
        this.host.onRequest(exchange);
      }
      return true;
    }
    this.#beginBody(exchange, size);
    return true;
  }

  /** Takes a trusted proxy's word for whom it asks: each of its requests may be another client's.
   *  @holds the request before is decided: what is not waits with `hold` */
  #hear(head: Head): void {
    const { context } = this;
    const forwarded = head.headers.filter(([name]) => name === 'x-forwarded-for').map(([, value]) => value);
    context.remoteAddress = this.host.proxies.clientOf(this.#peer, forwarded.join(','));
    const scheme = head.header('x-forwarded-proto');
    context.tls = scheme === undefined ? this.#tls : scheme.toLowerCase() === 'https';
    this.certificate = shownCertificate(head);
  }

  #beginBody(exchange: Exchange, size: number): void {
    const { head } = exchange;
    if (exchange.answered && (head.expectsContinue || size > exchange.bodyBytesMax)) {
      // It is not worth reading over: the client stops when it sees the answer.
      this.end();
      return;
    }
    this.#deadlineMs = this.host.coarseMs + this.host.requestMsMax;
    this.#reading = exchange;
    this.#bodySize = 0;
    this.#bodyEnd = size;
    this.#chunks = head.chunked ? new ChunkReader(exchange.bodyBytesMax) : null;
    if (head.expectsContinue && this.#queue.length === 1) this.socket.write('HTTP/1.1 100 Continue\r\n\r\n');
  }

  #readBody(exchange: Exchange): boolean {
    const size = Math.min(this.#rest.length - this.#at, this.#bodyEnd - this.#bodySize);
    if (!this.#take(this.#rest.subarray(this.#at, this.#at + size))) return false;
    this.#at += size;
    if (this.#bodySize < this.#bodyEnd) return false;
    this.#finishBody(exchange);
    return true;
  }

  #readChunks(chunks: ChunkReader): boolean {
    const exchange = this.#reading as Exchange;
    const progress = chunks.read(this.#rest, this.#at, (piece) => this.#take(piece));
    this.#at = chunks.at;
    if (progress === 'more' || this.closing) return false;
    if (progress === 'done') {
      this.#finishBody(exchange);
      return true;
    }
    this.closing = true;
    exchange.closes = true;
    if (exchange.answered) this.end();
    else if (progress === 'malformed') exchange.refuse(400, 'malformed', 'The chunked body is malformed.');
    else exchange.refuse(413, 'too_large', `The body is larger than ${exchange.bodyBytesMax} bytes.`);
    return false;
  }

  /** Keeps a piece of the body. @returns false when the connection ends, for want of room */
  #take(piece: Buffer): boolean {
    const exchange = this.#reading as Exchange;
    const size = this.#bodySize + piece.length;
    if (!exchange.answered) {
      if (size > this.#body.length) {
        const known = this.#bodyEnd > 0 ? this.#bodyEnd : exchange.bodyBytesMax;
        const capacity = Math.min(known, Math.max(FIRST_BODY_BYTES, size * 2));
        if (!this.host.takeBytes(capacity)) {
          exchange.closes = true;
          exchange.refuse(503, 'in_flight', 'Too many bodies are being received: try again later.');
          return false;
        }
        const larger = Buffer.allocUnsafeSlow(capacity);
        this.#body.copy(larger, 0, 0, this.#bodySize);
        this.#release();
        this.#bytesTaken = capacity;
        this.#body = larger;
      }
      piece.copy(this.#body, this.#bodySize);
    }
    this.#bodySize = size;
    return true;
  }

  #finishBody(exchange: Exchange): void {
    this.#reading = null;
    this.#chunks = null;
    const body = this.#body.subarray(0, this.#bodySize);
    this.#body = EMPTY;
    if (exchange.answered) {
      this.#release();
      this.#settle();
    } else {
      // It counts until it is answered: a decision may take its time.
      exchange.bodyBytesTaken = this.#bytesTaken;
      this.#bytesTaken = 0;
      exchange.body = body;
      this.host.onRequest(exchange);
    }
  }

  #release(): void {
    this.host.giveBytes(this.#bytesTaken);
    this.#bytesTaken = 0;
  }

  /** Answers what is no request, after all that came before it, and ends. */
  #fail(status: number, reason: Refusal, detail: string): void {
    this.closing = true;
    this.host.refused(reason, false);
    const exchange = new Exchange(this, NO_HEAD);
    exchange.closes = true;
    this.#queue.push(exchange);
    exchange.answer(problemAnswer(status, detail, exchange.lines));
  }
}

/** Stands for the head of what is no request. */
const NO_HEAD = new Head({ method: 'GET', path: '/', query: '', minor: 1 }, [], { contentLength: -1, chunked: false });
