// hot
import { createHash } from 'node:crypto';
import type { CoapRequest, Peer } from '../contract.ts';
import { Code, Method, Option, readUint } from '../message/message.ts';
import { isCritical, isNoCacheKey } from '../message/option.ts';
import { MessageScanner } from '../message/scan.ts';

/** Reads again what was left in the datagram. Only ever used within one call. */
const again = new MessageScanner();
/** Beyond, a transfer is known by a digest of what it is about. */
const TRANSFER_KEY_SIZE_MAX = 512;

/** A request as it came: what every resource needs is read, the rest stays in the datagram until someone asks. */
export class ServerRequest implements CoapRequest {
  readonly method: number;
  format: number | null = null;
  accept: number | null = null;
  observe: number | null = null;
  payload: Buffer;
  readonly peer: Peer;
  readonly token: Buffer;
  resourceKey = '';
  readonly confirmable: boolean;
  readonly datagram: Buffer;
  readonly messageId: number;
  /** As the option says them: number, more, size exponent; -1 without. */
  block1 = -1;
  block2 = -1;
  size1 = -1;
  noResponse = 0;
  echo: Buffer | null = null;
  /** The code that it has to be answered with, for its options; 0 if they are fine. */
  refusal = 0;
  refusedOption = 0;
  #texts: { path: string[]; query: string[] } | null = null;

  /** @param scanned has just scanned the datagram, and found it well-formed */
  constructor(scanned: MessageScanner, datagram: Buffer, peer: Peer) {
    this.method = scanned.code;
    this.confirmable = scanned.type === 0;
    this.messageId = scanned.messageId;
    this.peer = peer;
    this.datagram = datagram;
    this.token = datagram.subarray(4, 4 + scanned.tokenSize);
    this.payload = datagram.subarray(scanned.payloadAt);
    this.#readOptions(scanned, datagram);
  }

  get path(): readonly string[] {
    return this.#readTexts().path;
  }
  get query(): readonly string[] {
    return this.#readTexts().query;
  }
  get etags(): readonly Buffer[] {
    const values: Buffer[] = [];
    again.scan(this.datagram);
    for (let index = 0; index < again.optionCount; index++) {
      const start = again.starts[index] as number;
      const end = again.ends[index] as number;
      if (again.numbers[index] === Option.ETag && end - start <= 8) values.push(this.datagram.subarray(start, end));
    }
    return values;
  }

  /** The number of the block that it asks for. */
  get block2Number(): number {
    return this.block2 < 0 ? 0 : this.block2 >> 4;
  }

  /** What blocks of one body have in common. Not the token, which may be another for each of them.
   *  @shape latin1  @source RFC 7959 §2.5, RFC 9175 §3.3 */
  transferKey(peerId: number): string {
    again.scan(this.datagram);
    let key = `${peerId}:${this.method}`;
    for (let index = 0; index < again.optionCount; index++) {
      const number = again.numbers[index] as number;
      if (isNoCacheKey(number) || isOfOneBlock(number)) continue;
      const value = this.datagram.toString('latin1', again.starts[index], again.ends[index]);
      key += `;${number}:${value.length}:${value}`;
    }
    // Anybody can put 60 kB of options that nobody has to understand into a datagram: a digest takes their place.
    if (key.length <= TRANSFER_KEY_SIZE_MAX) return key;
    return `${peerId}:${createHash('sha256').update(key, 'latin1').digest('base64')}`;
  }

  #readTexts(): { path: string[]; query: string[] } {
    if (this.#texts !== null) return this.#texts;
    const texts = { path: [] as string[], query: [] as string[] };
    again.scan(this.datagram);
    for (let index = 0; index < again.optionCount; index++) {
      const number = again.numbers[index];
      if (number !== Option.UriPath && number !== Option.UriQuery) continue;
      const text = this.datagram.toString('utf8', again.starts[index], again.ends[index]);
      (number === Option.UriPath ? texts.path : texts.query).push(text);
    }
    this.#texts = texts;
    return texts;
  }

  #refuse(code: number, option: number): void {
    if (this.refusal !== 0) return;
    this.refusal = code;
    this.refusedOption = option;
  }

  #readOptions(scanned: MessageScanner, datagram: Buffer): void {
    const { numbers, starts, ends, optionCount } = scanned;
    let last = -1;
    let firstNamed = -1;
    let lastNamed = -1;
    for (let index = 0; index < optionCount; index++) {
      const number = numbers[index] as number;
      const start = starts[index] as number;
      const end = ends[index] as number;
      const size = end - start;
      // One too many of what may come once is like an option that nobody knows.
      const repeated = number === last;
      last = number;
      let understood = true;
      switch (number) {
        case Option.UriPath:
        case Option.UriQuery:
          understood = size <= 255;
          break;
        case Option.UriHost:
          understood = size >= 1 && size <= 255 && !repeated;
          break;
        case Option.UriPort:
          understood = size <= 2 && !repeated;
          break;
        case Option.ContentFormat:
          if (size <= 2 && !repeated) this.format = readUint(datagram, start, end);
          break;
        case Option.Accept:
          understood = size <= 2 && !repeated;
          if (understood) this.accept = readUint(datagram, start, end);
          break;
        case Option.Observe:
          if (size <= 3 && !repeated && (this.method === Method.Get || this.method === Method.Fetch)) {
            const asked = readUint(datagram, start, end) as number;
            if (asked <= 1) this.observe = asked;
          }
          break;
        case Option.Block1:
        case Option.Block2: {
          understood = size <= 3 && !repeated;
          const block = understood ? (readUint(datagram, start, end) as number) : -1;
          if (number === Option.Block1) this.block1 = block;
          else this.block2 = block;
          // 7 is reserved, and 4.00 is what the RFC wants for it.
          if (block >= 0 && (block & 7) === 7) this.#refuse(Code.BadRequest, number);
          break;
        }
        case Option.Size1:
          if (size <= 4 && !repeated) this.size1 = readUint(datagram, start, end) as number;
          break;
        case Option.Echo:
          if (size >= 1 && size <= 40 && !repeated) this.echo = datagram.subarray(start, end);
          break;
        case Option.NoResponse:
          if (size <= 1 && !repeated) this.noResponse = readUint(datagram, start, end) as number;
          break;
        case Option.ProxyUri:
        case Option.ProxyScheme:
          this.#refuse(Code.ProxyingNotSupported, number);
          break;
        default:
          // If-Match and If-None-Match too: nothing here is replaced that could be as expected.
          understood = !isCritical(number);
      }
      if (!understood) this.#refuse(Code.BadOption, number);
      if (namesResource(number)) {
        if (firstNamed < 0) firstNamed = index;
        lastNamed = index;
      }
    }
    if (firstNamed >= 0) {
      const bytes = datagram.toString('latin1', scanned.headers[firstNamed], ends[lastNamed]);
      // The first header is relative to the option before it. Numbers up to 12 never start the other kind of key.
      this.resourceKey = firstNamed === 0 ? bytes : String.fromCharCode(numbers[firstNamed - 1] as number, 0) + bytes;
    }
  }
}

const namesResource = (number: number): boolean =>
  number === Option.UriPath ||
  number === Option.UriQuery ||
  number === Option.ContentFormat ||
  number === Option.Accept ||
  number === Option.UriHost ||
  number === Option.UriPort;

/** Differs between the requests for one body. */
const isOfOneBlock = (number: number): boolean =>
  number === Option.Block1 ||
  number === Option.Block2 ||
  number === Option.Observe ||
  number === Option.Echo ||
  number === Option.NoResponse ||
  number === Option.ETag;
