// hot
import type { CoapOption, CoapResponse } from '../contract.ts';
import { buildMessage, Option, uintBytes } from '../message/message.ts';

const EMPTY = Buffer.alloc(0);
const ETAG_BYTES_MAX = 8;
/** Header, token and the options that are written in place: none is longer than 9 bytes. */
const scratch = new Uint8Array(128);

/** How one answer goes out: what the response itself does not say. Numbers are -1 where there is none. */
export interface Framing {
  readonly type: number;
  readonly messageId: number;
  readonly token: Buffer;
  readonly observe: number;
  readonly block1: number;
  readonly block2: number;
  readonly size2: number;
  readonly etag: Buffer | null;
  readonly echo: Buffer | null;
  /** Of the payload. */
  readonly start: number;
  readonly end: number;
}

/** An empty message: ACK, RST, ping. */
export function bareMessage(type: number, messageId: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes[0] = 0x40 | (type << 4);
  bytes[1] = 0;
  bytes[2] = messageId >> 8;
  bytes[3] = messageId & 0xff;
  return bytes;
}

/** @param own whether the datagram is kept for a while: then it is no slice of a slab */
export function encodeAnswer(response: CoapResponse, framing: Framing, own: boolean): Buffer {
  const payload = response.payload ?? EMPTY;
  const etag = framing.etag ?? response.etag;
  if (
    (response.options !== undefined && response.options.length > 0) ||
    framing.echo !== null ||
    (etag !== undefined && etag.length > ETAG_BYTES_MAX)
  )
    return encodeAny(response, framing, payload, etag);
  const { token, messageId } = framing;
  scratch[0] = 0x40 | (framing.type << 4) | token.length;
  scratch[1] = response.code;
  scratch[2] = messageId >> 8;
  scratch[3] = messageId & 0xff;
  let at = 4;
  for (let index = 0; index < token.length; index++) scratch[at++] = token[index] as number;
  let last = 0;
  if (etag !== undefined) {
    scratch[at++] = (Option.ETag << 4) | etag.length;
    for (let index = 0; index < etag.length; index++) scratch[at++] = etag[index] as number;
    last = Option.ETag;
  }
  if (framing.observe >= 0) {
    at = putUint(at, Option.Observe - last, framing.observe);
    last = Option.Observe;
  }
  if (response.format !== undefined) {
    at = putUint(at, Option.ContentFormat - last, response.format);
    last = Option.ContentFormat;
  }
  if (response.maxAge !== undefined) {
    at = putUint(at, Option.MaxAge - last, response.maxAge);
    last = Option.MaxAge;
  }
  if (framing.block2 >= 0) {
    at = putUint(at, Option.Block2 - last, framing.block2);
    last = Option.Block2;
  }
  if (framing.block1 >= 0) {
    at = putUint(at, Option.Block1 - last, framing.block1);
    last = Option.Block1;
  }
  if (framing.size2 >= 0) at = putUint(at, Option.Size2 - last, framing.size2);
  const size = framing.end - framing.start;
  const total = size === 0 ? at : at + 1 + size;
  const bytes = own ? Buffer.allocUnsafeSlow(total) : Buffer.allocUnsafe(total);
  for (let index = 0; index < at; index++) bytes[index] = scratch[index] as number;
  if (size > 0) {
    bytes[at++] = 0xff;
    payload.copy(bytes, at, framing.start, framing.end);
  }
  return bytes;
}

/** @param delta at most 28 */
function putUint(from: number, delta: number, value: number): number {
  let at = from;
  const size = value === 0 ? 0 : value < 0x1_00 ? 1 : value < 0x1_00_00 ? 2 : value < 0x1_00_00_00 ? 3 : 4;
  if (delta < 13) {
    scratch[at++] = (delta << 4) | size;
  } else {
    scratch[at++] = 0xd0 | size;
    scratch[at++] = delta - 13;
  }
  for (let shift = (size - 1) * 8; shift >= 0; shift -= 8) scratch[at++] = (value >>> shift) & 0xff;
  return at;
}

function encodeAny(response: CoapResponse, framing: Framing, payload: Buffer, etag: Buffer | undefined): Buffer {
  const options: CoapOption[] = [...(response.options ?? [])];
  const put = (number: number, value: number | undefined): void => {
    if (value !== undefined && value >= 0) options.push([number, uintBytes(value)]);
  };
  if (etag !== undefined) options.push([Option.ETag, etag]);
  put(Option.Observe, framing.observe);
  put(Option.ContentFormat, response.format);
  put(Option.MaxAge, response.maxAge);
  put(Option.Block2, framing.block2);
  put(Option.Block1, framing.block1);
  put(Option.Size2, framing.size2);
  if (framing.echo !== null) options.push([Option.Echo, framing.echo]);
  return buildMessage({
    type: framing.type,
    code: response.code,
    messageId: framing.messageId,
    token: framing.token,
    options,
    payload: payload.subarray(framing.start, framing.end),
  });
}

/** Whether the client does not want to hear this answer.  @source RFC 7967 §2 */
export const isUnwanted = (noResponse: number, code: number): boolean => (noResponse & (1 << ((code >> 5) - 1))) !== 0;

/** What a message of that size may be answered with, to a peer whose address is not proven.  @source RFC 9175 §2.6 */
export const allowanceBytes = (requestSize: number): number => Math.max(3 * requestSize, 136);
