import { type Credential, credentialOf, type Principal } from '@millrace/core';
import type { PublishTarget } from '../message-encoder.ts';
import { type Encoding, encodingOf } from './encoding.ts';
import { type BadRoute, type PublishRoute, routeOf } from './route.ts';

export const HEAD_BYTES_MAX = 16_384;
const HEADERS_MAX = 100;

/** A request line and its headers, checked. Immutable but for the memo of the publish path: devices send the very same
 *  head again and again, so heads are kept (see HeadCache) with what was found out about them. */
export class Head {
  readonly method: string;
  /** Path without the query, as it was sent. */
  readonly path: string;
  /** After the '?', without it. */
  readonly query: string;
  /** Names in lower case, in order. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly minor: 0 | 1;
  readonly keepAlive: boolean;
  /** The protocol that the sender wants to go on in, in lower case; "" if none. */
  readonly upgrade: string;
  /** −1 if the head names none. */
  readonly contentLength: number;
  readonly chunked: boolean;
  readonly expectsContinue: boolean;
  readonly encoding: Encoding;
  readonly route: PublishRoute | BadRoute | null;
  readonly credential: Credential | null;
  readonly contentType: string;
  readonly origin: string | undefined;
  readonly traceParent: string | undefined;
  readonly idempotencyKey: string | undefined;

  /** The memo: who this is, and what an envelope needs of what the gate said last. */
  principal: Principal | null = null;
  target: PublishTarget | null = null;

  constructor(line: RequestLine, headers: [string, string][], framing: Framing) {
    const value = (name: string) => headers.find((header) => header[0] === name)?.[1];
    const connection = (value('connection') ?? '').toLowerCase();
    this.method = line.method;
    this.path = line.path;
    this.query = line.query;
    this.headers = headers;
    this.minor = line.minor;
    this.keepAlive = line.minor === 1 ? !/\bclose\b/.test(connection) : /\bkeep-alive\b/.test(connection);
    const upgrades = line.minor === 1 && line.method === 'GET' && /\bupgrade\b/.test(connection);
    this.upgrade = upgrades ? (value('upgrade') ?? '').toLowerCase() : '';
    this.contentLength = framing.contentLength;
    this.chunked = framing.chunked;
    this.expectsContinue = line.minor === 1 && value('expect')?.toLowerCase() === '100-continue';
    this.encoding = encodingOf(value('content-encoding'));
    this.route = line.method === 'POST' ? routeOf(line.path) : null;
    this.credential = this.route === null ? null : credentialOf(value('authorization'));
    this.contentType = value('content-type') ?? '';
    this.origin = value('origin');
    this.traceParent = value('traceparent');
    this.idempotencyKey = value('idempotency-key');
  }

  header(name: string): string | undefined {
    return this.headers.find((header) => header[0] === name)?.[1];
  }
}

/** A head that can't be served; the connection closes after the answer, since where it ends is not certain. */
export interface HeadFault {
  readonly status: 400 | 431 | 501 | 505;
  readonly detail: string;
}
interface RequestLine {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly minor: 0 | 1;
}
interface Framing {
  readonly contentLength: number;
  readonly chunked: boolean;
}

const LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e]+) HTTP\/(\d)\.(\d)$/;
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)$/;
const fault = (status: HeadFault['status'], detail: string): HeadFault => ({ status, detail });

/** Reads a head.
 *  @param text Latin-1, with the CRLF of its last line, without the empty line
 *  @source RFC 9112 §2–6; strict where leniency lets one message pass for two */
export function parseHead(text: string): Head | HeadFault {
  const lines = text.slice(0, -2).split('\r\n');
  const line = readLine(lines[0] ?? '');
  if ('status' in line) return line;
  if (lines.length - 1 > HEADERS_MAX) return fault(431, `More than ${HEADERS_MAX} header fields.`);
  const headers: [string, string][] = [];
  for (let index = 1; index < lines.length; index++) {
    const [, name, value] = FIELD.exec(lines[index] as string) ?? [];
    if (name === undefined || value === undefined) return fault(400, 'A header field is malformed.');
    headers.push([name.toLowerCase(), trimmed(value)]);
  }
  const framing = readFraming(headers, line.minor);
  if ('status' in framing) return framing;
  const hosts = headers.filter(([name]) => name === 'host');
  if (hosts.length > 1 || (hosts.length === 0 && line.minor === 1)) return fault(400, 'Give exactly one Host header.');
  return new Head(line, headers, framing);
}

/** Without the blanks around it. No pattern: those that trim an end take quadratic time on a long run of blanks. */
function trimmed(value: string): string {
  let from = 0;
  let to = value.length;
  while (from < to && (value[from] === ' ' || value[from] === '\t')) from++;
  while (to > from && (value[to - 1] === ' ' || value[to - 1] === '\t')) to--;
  return value.slice(from, to);
}

function readLine(text: string): RequestLine | HeadFault {
  const [, method, target, major, minor] = LINE.exec(text) ?? [];
  if (method === undefined || target === undefined) return fault(400, 'The request line is malformed.');
  if (major !== '1') return fault(505, 'Only HTTP/1.1 and HTTP/1.0 are spoken here.');
  let origin = target;
  if (!target.startsWith('/')) {
    const absolute = /^https?:\/\/[^/?#]+(.*)$/i.exec(target);
    if (absolute === null && target !== '*') return fault(400, 'The request target is malformed.');
    origin = absolute?.[1] ?? '/';
    if (!origin.startsWith('/')) origin = `/${origin}`;
  }
  const mark = origin.indexOf('?');
  const path = mark < 0 ? origin : origin.slice(0, mark);
  return { method, path, query: mark < 0 ? '' : origin.slice(mark + 1), minor: minor === '0' ? 0 : 1 };
}

function readFraming(headers: readonly (readonly [string, string])[], minor: 0 | 1): Framing | HeadFault {
  const lengths = headers.filter(([name]) => name === 'content-length');
  const codings = headers.filter(([name]) => name === 'transfer-encoding');
  if (codings.length > 0) {
    if (lengths.length > 0) return fault(400, 'Content-Length and Transfer-Encoding exclude each other.');
    if (codings.length > 1 || minor === 0) return fault(400, 'Transfer-Encoding is not acceptable here.');
    if (codings[0]?.[1].toLowerCase() !== 'chunked') return fault(501, 'Only the chunked transfer coding is known.');
    return { contentLength: -1, chunked: true };
  }
  if (lengths.length === 0) return { contentLength: -1, chunked: false };
  const text = lengths[0]?.[1] ?? '';
  if (lengths.length > 1 || !/^\d{1,15}$/.test(text)) return fault(400, 'Content-Length is malformed.');
  return { contentLength: Number(text), chunked: false };
}

/** Heads by their text, so that a device's next request is parsed by one look-up. Two generations: when the young one
 *  is full it becomes the old one, and what is used moves back.
 *  @holds at most 2 × `headsMax` heads of at most `HEAD_CHARACTERS_KEPT` characters */
export class HeadCache {
  readonly #headsMax: number;
  #young = new Map<string, Head>();
  #old = new Map<string, Head>();

  constructor(headsMax = 8_192) {
    this.#headsMax = headsMax;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  read(text: string): Head | HeadFault {
    const young = this.#young.get(text);
    if (young !== undefined) return young;
    const old = this.#old.get(text);
    if (old !== undefined) {
      this.#keep(text, old);
      return old;
    }
    const head = parseHead(text);
    // A head with a key or a trace of its own never comes again.
    if (head instanceof Head && head.route?.kind === 'publish' && text.length <= HEAD_CHARACTERS_KEPT) {
      if (head.traceParent === undefined && head.idempotencyKey === undefined) this.#keep(text, head);
    }
    return head;
  }

  #keep(text: string, head: Head): void {
    if (this.#young.size >= this.#headsMax) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(text, head);
  }
}
export const HEAD_CHARACTERS_KEPT = 2_048;
