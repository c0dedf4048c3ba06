import { createHash, randomInt } from 'node:crypto';
import type {
  Answered,
  CoapAnswer,
  CoapEndpoint,
  CoapHandler,
  CoapObserver,
  CoapOption,
  CoapRequest,
  CoapResponse,
  ObserveEnd,
  OutgoingRequest,
  Peer,
} from '../contract.ts';
import { CoapError } from '../error.ts';
import {
  buildMessage,
  type CoapMessage,
  Code,
  c,
  Option,
  option,
  parseMessage,
  readUint,
  Type,
  uintBytes,
} from '../message/message.ts';
import { isCritical, isNoCacheKey } from '../message/option.ts';

export interface EndpointOptions {
  readonly dedupEntries?: number;
  readonly exchangeLifetimeMs?: number;
  readonly maxBody?: number;
  readonly maxTransfers?: number;
  readonly maxBlockBytes?: number;
  readonly maxObservers?: number;
  readonly piggybackMs?: number;
  readonly conEvery?: number;
  readonly ackTimeoutMs?: number;
  readonly maxRetransmit?: number;
}
export interface EndpointCounts {
  requests: number;
  duplicates: number;
  malformed: number;
  retransmissions: number;
  timeouts: number;
  resets: number;
  observers: number;
}
export interface Endpoint extends CoapEndpoint {
  readonly counts: EndpointCounts;
}
export const createEndpoint = (handler: CoapHandler, options: EndpointOptions = {}): Endpoint =>
  new FirstEndpoint(handler, options);

const EMPTY = Buffer.alloc(0);
const KNOWN_CRITICAL = new Set<number>([1, 3, 5, 7, 11, 15, 17, 23, 27]);
const uint = (bytes: Buffer | undefined): number | null =>
  bytes === undefined ? null : readUint(bytes, 0, bytes.length);

interface Exchange {
  buf: Buffer;
  peer: Peer;
  due: number;
  wait: number;
  tries: number;
  fail: (why: 'reset' | 'timeout') => void;
  ok: () => void;
}
class Observation implements CoapObserver {
  seq = 1;
  open = true;
  owes = false;
  blocked = false;
  onEnd: ((why: ObserveEnd) => void) | null = null;
  onRoom: (() => void) | null = null;
  readonly endpoint: FirstEndpoint;
  readonly request: CoapRequest;
  readonly message: CoapMessage;
  constructor(endpoint: FirstEndpoint, request: CoapRequest, message: CoapMessage) {
    this.endpoint = endpoint;
    this.request = request;
    this.message = message;
  }
  get peer(): Peer {
    return this.request.peer;
  }
  get key(): string {
    return `${this.peer.key}/${this.request.token.toString('latin1')}`;
  }
  notify(response: CoapResponse): boolean {
    if (!this.open) return true;
    if (this.owes) {
      this.blocked = true;
      return false;
    }
    this.endpoint.sendNotification(this, response);
    return true;
  }
  end(response: CoapResponse): void {
    if (!this.open) return;
    this.endpoint.sendNotification(this, response);
    this.endpoint.endObserver(this, 'ended');
  }
}

class FirstEndpoint implements Endpoint {
  readonly counts = {
    requests: 0,
    duplicates: 0,
    malformed: 0,
    retransmissions: 0,
    timeouts: 0,
    resets: 0,
    observers: 0,
  };
  private seen = new Map<string, Buffer | null>();
  private seenOld = new Map<string, Buffer | null>();
  private readonly exchanges = new Map<string, Exchange>();
  private readonly notes = new Map<string, Observation>();
  private readonly observers = new Map<string, Observation>();
  private readonly waiting = new Map<
    string,
    { done: (m: CoapMessage) => void; fail: (error: CoapError) => void; peer: Peer }
  >();
  private readonly up = new Map<string, { parts: Buffer[]; size: number; at: number }>();
  private readonly down = new Map<string, { body: Buffer; r: CoapResponse; at: number }>();
  private blockBytes = 0;
  private downBytes = 0;
  private mid = randomInt(65536);
  private tok = randomInt(2 ** 32);
  private underWay = 0;
  private draining = false;
  private readonly o: Required<EndpointOptions>;
  private readonly timers: NodeJS.Timeout[];
  private readonly handler: CoapHandler;
  constructor(handler: CoapHandler, options: EndpointOptions) {
    this.handler = handler;
    this.o = {
      dedupEntries: 100_000,
      exchangeLifetimeMs: 247_000,
      maxBody: 1 << 20,
      maxTransfers: 4096,
      maxBlockBytes: 64 << 20,
      maxObservers: 100_000,
      piggybackMs: 1500,
      conEvery: 10,
      ackTimeoutMs: 2000,
      maxRetransmit: 4,
      ...options,
    };
    this.timers = [
      setInterval(() => this.tick(Date.now()), 200).unref(),
      setInterval(() => this.rotate(), this.o.exchangeLifetimeMs).unref(),
    ];
  }
  close(): void {
    for (const t of this.timers) clearInterval(t);
    for (const o of [...this.observers.values()]) this.endObserver(o, 'closed');
    for (const w of [...this.waiting.values()]) w.fail(new CoapError('COAP_CLOSED', 'later'));
    this.exchanges.clear();
  }
  async drain(deadlineMs: number): Promise<void> {
    this.draining = true;
    const until = Date.now() + deadlineMs;
    while (this.underWay > 0 && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 10));
  }
  private rotate(): void {
    this.seenOld = this.seen;
    this.seen = new Map();
  }
  private remember(k: string, v: Buffer | null): void {
    this.seen.set(k, v);
    if (this.seen.size >= this.o.dedupEntries) this.rotate();
  }
  private nextMid(): number {
    this.mid = (this.mid + 1) & 0xffff;
    return this.mid;
  }
  private bare(type: number, mid: number, peer: Peer): void {
    peer.send(Buffer.of(0x40 | (type << 4), 0, mid >> 8, mid & 255));
  }

  receive(b: Buffer, peer: Peer): void {
    const m = parseMessage(b);
    if (m === null) {
      this.counts.malformed++;
      if (b.length >= 4 && ((b[0] ?? 0) & 0xf0) === 0x40) this.bare(Type.Rst, b.readUInt16BE(2), peer);
      return;
    }
    if (m.type === Type.Ack || m.type === Type.Rst) {
      this.answered(m, peer);
      if (m.type === Type.Ack && m.code !== 0) this.response(m, peer);
      return;
    }
    const cls = m.code >> 5;
    if (m.code === 0 || (cls !== 0 && (cls < 2 || cls > 5))) {
      if (m.type === Type.Con) this.bare(Type.Rst, m.messageId, peer);
      return;
    }
    if (cls !== 0) {
      const known = this.response(m, peer);
      if (m.type === Type.Con || !known) this.bare(known ? Type.Ack : Type.Rst, m.messageId, peer);
      return;
    }
    const key = `${peer.key}/${m.messageId}/${m.token.toString('latin1')}`;
    let old = this.seen.get(key);
    if (old === undefined) old = this.seenOld.get(key);
    if (old !== undefined) {
      this.counts.duplicates++;
      if (old === null) {
        if (m.type === Type.Con) this.bare(Type.Ack, m.messageId, peer);
      } else if (old.length > 0) peer.send(old);
      return;
    }
    this.counts.requests++;
    this.remember(key, null);
    let r: CoapResponse | Promise<CoapResponse>;
    try {
      r = this.dispatch(m, peer);
    } catch {
      r = { code: Code.InternalServerError };
    }
    if (!(r instanceof Promise)) {
      this.reply(m, peer, key, r, true);
      return;
    }
    this.underWay++;
    let piggyback = true;
    const t =
      m.type === Type.Con
        ? setTimeout(() => {
            piggyback = false;
            this.bare(Type.Ack, m.messageId, peer);
          }, this.o.piggybackMs)
        : undefined;
    void r
      .catch((): CoapResponse => ({ code: Code.InternalServerError }))
      .then((x) => {
        this.underWay--;
        clearTimeout(t);
        this.reply(m, peer, key, x, piggyback);
      });
  }

  private reply(m: CoapMessage, peer: Peer, key: string, r: CoapResponse, piggyback: boolean): void {
    const type = m.type === Type.Non ? Type.Non : piggyback ? Type.Ack : Type.Con;
    const messageId = m.type === Type.Con && piggyback ? m.messageId : this.nextMid();
    const out = this.block2(m, peer, r, [...(r.options ?? [])]);
    const nr = uint(option(m.options, Option.NoResponse));
    const quiet = nr !== null && (nr & (1 << ((r.code >> 5) - 1))) !== 0;
    const buf = quiet
      ? m.type === Type.Con && piggyback
        ? Buffer.of(0x60, 0, messageId >> 8, messageId & 255)
        : EMPTY
      : buildMessage({ type, messageId, token: m.token, ...out });
    this.remember(key, type === Type.Con ? Buffer.of(0x60, 0, m.messageId >> 8, m.messageId & 255) : buf);
    if (buf.length === 0) return;
    if (type === Type.Con)
      this.confirm(
        buf,
        peer,
        messageId,
        () => {},
        () => {},
      );
    else peer.send(buf);
  }

  private dispatch(m: CoapMessage, peer: Peer): CoapResponse | Promise<CoapResponse> {
    if (this.draining) return { code: Code.ServiceUnavailable, maxAge: 5 };
    const path: string[] = [];
    const query: string[] = [];
    const etags: Buffer[] = [];
    const ifMatch: Buffer[] = [];
    let format: number | null = null;
    let accept: number | null = null;
    let observe: number | null = null;
    let ifNoneMatch = false;
    let block1: Buffer | undefined;
    let block2: Buffer | undefined;
    let resourceKey = '';
    for (const [n, v] of m.options) {
      if (n === Option.UriPath) path.push(v.toString('utf8'));
      else if (n === Option.UriQuery) query.push(v.toString('utf8'));
      else if (n === Option.ContentFormat) format = uint(v);
      else if (n === Option.Accept) accept = uint(v);
      else if (n === Option.Observe) observe = uint(v);
      else if (n === Option.ETag) etags.push(v);
      else if (n === Option.IfMatch) ifMatch.push(v);
      else if (n === Option.IfNoneMatch) ifNoneMatch = true;
      else if (n === Option.Block1) block1 = v;
      else if (n === Option.Block2) block2 = v;
      else if (n === Option.ProxyUri || n === Option.ProxyScheme) return { code: Code.ProxyingNotSupported };
      else if (isCritical(n) && !KNOWN_CRITICAL.has(n))
        return { code: Code.BadOption, payload: Buffer.from(`option ${n}`) };
      if (n === 3 || n === 7 || n === 11 || n === 12 || n === 15 || n === 17)
        resourceKey += `${String.fromCharCode(n)}${v.length}:${v.toString('latin1')}`;
    }
    const b2 = uint(block2);
    if (block2 && (block2.length > 3 || ((b2 ?? 0) & 7) === 7)) return { code: Code.BadOption };
    if (b2 !== null && b2 >> 4 > 0) {
      const d = this.down.get(this.transferKey(m, peer));
      if (d) return { ...d.r, payload: d.body };
      if (m.code !== 1 && m.code !== 5) return { code: Code.RequestEntityIncomplete };
    }
    const own = this.observers.get(`${peer.key}/${m.token.toString('latin1')}`);
    if (own && (observe === 1 || (observe === null && m.code === 1 && b2 === null))) this.endObserver(own, 'cancelled');
    const run = (payload: Buffer, extra?: CoapOption): CoapResponse | Promise<CoapResponse> => {
      const request: CoapRequest = {
        method: m.code,
        path,
        query,
        format,
        accept,
        observe,
        etags,
        ifMatch,
        ifNoneMatch,
        payload,
        peer,
        token: m.token,
        resourceKey,
        confirmable: m.type === Type.Con,
      };
      const done = (r: CoapResponse): CoapResponse => {
        let answer = r;
        if (observe === 0 && r.onObserve && r.code >> 5 === 2 && this.observers.size < this.o.maxObservers) {
          const o = new Observation(this, request, m);
          const was = this.observers.get(o.key);
          if (was) this.endObserver(was, 'replaced');
          this.observers.set(o.key, o);
          this.counts.observers = this.observers.size;
          answer = { ...r, options: [...(r.options ?? []), [Option.Observe, uintBytes(o.seq)]] };
          setImmediate(() => r.onObserve?.(o));
        }
        return extra ? { ...answer, options: [...(answer.options ?? []), extra] } : answer;
      };
      const r = this.handler(request);
      return r instanceof Promise ? r.then(done) : done(r);
    };
    if (!block1) return run(m.payload);
    const v = uint(block1);
    if (v === null || block1.length > 3 || (v & 7) === 7) return { code: Code.BadOption };
    const num = v >> 4;
    const more = (v & 8) !== 0;
    const szx = v & 7;
    const k = this.transferKey(m, peer);
    const echo: CoapOption = [Option.Block1, uintBytes(v)];
    let t = this.up.get(k);
    if (num === 0) {
      this.dropUp(k);
      t = { parts: [], size: 0, at: 0 };
      if (this.up.size >= this.o.maxTransfers) this.dropUp(this.up.keys().next().value as string);
      this.up.set(k, t);
    }
    if (!t || t.size !== num << (szx + 4) || (more && m.payload.length !== 16 << szx))
      return { code: Code.RequestEntityIncomplete, options: [echo] };
    if (t.size + m.payload.length > this.o.maxBody || this.blockBytes + m.payload.length > this.o.maxBlockBytes) {
      this.dropUp(k);
      return { code: Code.RequestEntityTooLarge, options: [[Option.Size1, uintBytes(this.o.maxBody)]] };
    }
    t.parts.push(m.payload);
    t.size += m.payload.length;
    t.at = Date.now();
    this.blockBytes += m.payload.length;
    if (more) return { code: c(2, 31), options: [echo] };
    this.dropUp(k);
    return run(Buffer.concat(t.parts), echo);
  }
  private dropUp(k: string): void {
    const t = this.up.get(k);
    if (t) {
      this.up.delete(k);
      this.blockBytes -= t.size;
    }
  }
  private dropDown(k: string): void {
    const t = this.down.get(k);
    if (t) {
      this.down.delete(k);
      this.downBytes -= t.body.length;
    }
  }
  private transferKey(m: CoapMessage, peer: Peer): string {
    const h = createHash('sha1').update(peer.key).update(Buffer.of(m.code));
    for (const [n, v] of m.options)
      if (!isNoCacheKey(n) && n !== Option.Block1 && n !== Option.Block2 && n !== Option.Observe)
        h.update(`${n}:${v.length}:`).update(v);
    return h.digest('base64');
  }
  private block2(
    m: CoapMessage,
    peer: Peer,
    r: CoapResponse,
    options: CoapOption[],
  ): { code: number; options: CoapOption[]; payload: Buffer } {
    if (r.format !== undefined) options.push([Option.ContentFormat, uintBytes(r.format)]);
    if (r.maxAge !== undefined) options.push([Option.MaxAge, uintBytes(r.maxAge)]);
    const asked = uint(option(m.options, Option.Block2));
    const szx = asked === null ? 6 : Math.min(asked & 7, 6);
    const size = 16 << szx;
    const body = r.payload ?? EMPTY;
    const num = asked === null ? 0 : asked >> 4;
    if (body.length <= size && num === 0) {
      if (r.etag !== undefined) options.push([Option.ETag, r.etag]);
      if (asked !== null && body.length) options.push([Option.Block2, uintBytes(szx)]);
      return { code: r.code, options, payload: body };
    }
    if (num * size >= body.length) return { code: Code.BadOption, options: [], payload: EMPTY };
    if (num === 0) {
      const k = this.transferKey(m, peer);
      this.dropDown(k);
      this.downBytes += body.length;
      while (this.down.size > 0 && (this.down.size >= this.o.maxTransfers || this.downBytes > this.o.maxBlockBytes))
        this.dropDown(this.down.keys().next().value as string);
      this.down.set(k, {
        body,
        r: { ...r, options: (r.options ?? []).filter(([n]) => n !== Option.Observe) },
        at: Date.now(),
      });
      options.push([Option.Size2, uintBytes(body.length)]);
    }
    options.push([Option.ETag, r.etag ?? createHash('sha1').update(body).digest().subarray(0, 4)]);
    const end = (num + 1) * size;
    options.push([Option.Block2, uintBytes((num << 4) | (end < body.length ? 8 : 0) | szx)]);
    return { code: r.code, options, payload: body.subarray(num * size, end) };
  }

  sendNotification(o: Observation, r: CoapResponse): void {
    if (!o.open) return;
    o.seq = (o.seq + 1) & 0xffffff;
    const messageId = this.nextMid();
    const con = o.seq % this.o.conEvery === 0;
    const options: CoapOption[] = [...(r.options ?? [])];
    if (r.code >> 5 === 2) options.push([Option.Observe, uintBytes(o.seq)]);
    const buf = buildMessage({
      type: con ? Type.Con : Type.Non,
      messageId,
      token: o.request.token,
      ...this.block2(o.message, o.peer, r, options),
    });
    this.notes.set(`${o.peer.key}/${messageId}`, o);
    if (this.notes.size > 65536) this.notes.delete(this.notes.keys().next().value as string);
    if (con) {
      o.owes = true;
      this.confirm(
        buf,
        o.peer,
        messageId,
        (why) => this.endObserver(o, why),
        () => {
          o.owes = false;
          if (o.blocked) {
            o.blocked = false;
            o.onRoom?.();
          }
        },
      );
    } else o.peer.send(buf);
    if (r.code >> 5 !== 2) this.endObserver(o, 'ended');
  }
  endObserver(o: Observation, why: ObserveEnd): void {
    if (!o.open) return;
    o.open = false;
    if (this.observers.get(o.key) === o) this.observers.delete(o.key);
    this.counts.observers = this.observers.size;
    o.onEnd?.(why);
  }
  private confirm(buf: Buffer, peer: Peer, mid: number, fail: Exchange['fail'], ok: () => void): void {
    const wait = this.o.ackTimeoutMs * (1 + Math.random() / 2);
    this.exchanges.set(`${peer.key}/${mid}`, { buf, peer, due: Date.now() + wait, wait, tries: 0, fail, ok });
    peer.send(buf);
  }
  private answered(m: CoapMessage, peer: Peer): void {
    const k = `${peer.key}/${m.messageId}`;
    const e = this.exchanges.get(k);
    if (e) {
      this.exchanges.delete(k);
      if (m.type === Type.Rst) e.fail('reset');
      else {
        peer.verified = true;
        e.ok();
      }
    }
    if (m.type === Type.Rst) {
      this.counts.resets++;
      const o = this.notes.get(k);
      if (o) {
        this.notes.delete(k);
        this.endObserver(o, 'reset');
      }
    }
  }
  private tick(now: number): void {
    for (const [k, e] of this.exchanges) {
      if (e.due > now) continue;
      if (++e.tries > this.o.maxRetransmit) {
        this.exchanges.delete(k);
        this.counts.timeouts++;
        e.fail('timeout');
        continue;
      }
      this.counts.retransmissions++;
      e.wait *= 2;
      e.due = now + e.wait;
      e.peer.send(e.buf);
    }
    for (const [k, t] of this.up) if (t.at && now - t.at > 60_000) this.dropUp(k);
    for (const [k, t] of this.down) {
      if (now - t.at > 60_000) this.dropDown(k);
      else break;
    }
  }

  request(peer: Peer, asked: OutgoingRequest): Promise<Answered> {
    const token = Buffer.alloc(4);
    this.tok = (this.tok + 1) >>> 0;
    token.writeUInt32BE(this.tok);
    const tk = `${peer.key}/${token.toString('latin1')}`;
    const options: CoapOption[] = asked.path
      .split('/')
      .filter(Boolean)
      .map((s) => [Option.UriPath, Buffer.from(s)]);
    for (const q of asked.query ?? []) options.push([Option.UriQuery, Buffer.from(q)]);
    if (asked.onNotification) options.push([Option.Observe, EMPTY]);
    if (asked.format !== undefined) options.push([Option.ContentFormat, uintBytes(asked.format)]);
    if (asked.accept !== undefined) options.push([Option.Accept, uintBytes(asked.accept)]);
    return new Promise((resolve, reject) => {
      const parts: Buffer[] = [];
      let first = true;
      const fail = (error: CoapError): void => {
        clearTimeout(t);
        this.waiting.delete(tk);
        reject(error);
      };
      const send = (messageOptions: CoapOption[], payload: Buffer): void => {
        const messageId = this.nextMid();
        const b = buildMessage({
          type: Type.Con,
          code: asked.method,
          messageId,
          token,
          options: messageOptions,
          payload,
        });
        this.confirm(
          b,
          peer,
          messageId,
          (why) => fail(new CoapError(why === 'reset' ? 'COAP_RESET' : 'COAP_TIMEOUT', 'later', { path: asked.path })),
          () => {},
        );
      };
      const cancel = (): void => {
        if (!this.waiting.delete(tk)) return;
        const messageId = this.nextMid();
        const rest = options.filter(([n]) => n !== Option.Observe);
        const b = buildMessage({
          type: Type.Con,
          code: asked.method,
          messageId,
          token,
          options: [...rest, [Option.Observe, uintBytes(1)]],
          payload: EMPTY,
        });
        this.confirm(
          b,
          peer,
          messageId,
          () => {},
          () => {},
        );
      };
      const t = setTimeout(
        () => fail(new CoapError('COAP_TIMEOUT', 'later', { path: asked.path })),
        asked.timeoutMs ?? 60_000,
      );
      t.unref();
      this.waiting.set(tk, {
        peer,
        fail,
        done: (m) => {
          const b2 = uint(option(m.options, Option.Block2));
          let { payload } = m;
          if (b2 !== null && ((b2 & 8) !== 0 || b2 >> 4 > 0)) {
            if (b2 >> 4 !== parts.length) {
              fail(new CoapError('COAP_RESET', 'later', { path: asked.path }));
              return;
            }
            parts.push(m.payload);
            if ((b2 & 8) !== 0 && parts.length < 1024) {
              send(
                [
                  ...options.filter(([n]) => n !== Option.Observe),
                  [Option.Block2, uintBytes((((b2 >> 4) + 1) << 4) | (b2 & 7))],
                ],
                EMPTY,
              );
              return;
            }
            payload = Buffer.concat(parts);
            parts.length = 0;
          }
          const answer: CoapAnswer = {
            code: m.code,
            format: uint(option(m.options, Option.ContentFormat)),
            payload,
            options: m.options,
          };
          if (!first) {
            asked.onNotification?.(answer);
            return;
          }
          first = false;
          clearTimeout(t);
          if (!asked.onNotification || option(m.options, Option.Observe) === undefined) this.waiting.delete(tk);
          resolve({ answer, cancel });
        },
      });
      send(options, asked.payload ?? EMPTY);
    });
  }
  private response(m: CoapMessage, peer: Peer): boolean {
    const w = this.waiting.get(`${peer.key}/${m.token.toString('latin1')}`);
    if (!w) return false;
    w.done(m);
    return true;
  }
  forget(peer: Peer): void {
    for (const o of [...this.observers.values()]) if (o.peer === peer) this.endObserver(o, 'closed');
    for (const w of [...this.waiting.values()]) if (w.peer === peer) w.fail(new CoapError('COAP_CLOSED', 'later'));
  }
}
