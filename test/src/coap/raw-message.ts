/** CoAP on the wire, written once more: the tests do not read with the eyes of what they test.
 *  @source RFC 7252 §3 */

/** @shape number and value */
export type RawOption = readonly [number: number, value: Buffer];

export interface RawMessage {
  readonly type: number;
  /** @shape 0x45 is 2.05 */
  readonly code: number;
  readonly messageId: number;
  readonly token: Buffer;
  readonly options: readonly RawOption[];
  readonly payload: Buffer;
}

export const CON = 0;
export const NON = 1;
export const ACK = 2;
export const RST = 3;
export const METHODS = { GET: 1, POST: 2, PUT: 3, DELETE: 4, FETCH: 5 } as const;
export type MethodName = keyof typeof METHODS;
/** Those that the tests write or read. */
export const OPTION = {
  ETag: 4,
  Observe: 6,
  UriPath: 11,
  ContentFormat: 12,
  MaxAge: 14,
  UriQuery: 15,
  Accept: 17,
  Block2: 23,
  Block1: 27,
  Size1: 60,
  Echo: 252,
  NoResponse: 258,
  RequestTag: 292,
} as const;

const NOTHING = Buffer.alloc(0);

/** `2.05` */
export const codeOf = ({ code }: RawMessage): string => `${code >> 5}.${String(code & 31).padStart(2, '0')}`;

export function optionOf({ options }: RawMessage, number: number): Buffer | undefined {
  return options.find(([each]) => each === number)?.[1];
}

/** An option's value as a number; undefined where it is not there. */
export function numberOf(message: RawMessage, number: number): number | undefined {
  const value = optionOf(message, number);
  return value?.reduce((sum, byte) => sum * 256 + byte, 0);
}

/** As an option holds it: no leading zero. */
export function uint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.from(bytes);
}

/** The value of Block1 and Block2.  @param szx 0 is 16 bytes, 6 is 1,024 */
export const block = (index: number, more: boolean, szx: number): Buffer => uint(index * 16 + (more ? 8 : 0) + szx);

export const empty = (type: number, messageId: number): Buffer =>
  encode({ type, code: 0, messageId, token: NOTHING, options: [], payload: NOTHING });

export function encode({ type, code, messageId, token, options, payload }: RawMessage): Buffer {
  const parts: Buffer[] = [
    Buffer.from([0x40 | (type << 4) | token.length, code, messageId >> 8, messageId & 255]),
    token,
  ];
  let last = 0;
  for (const [number, value] of options.toSorted(([one], [other]) => one - other)) {
    const [delta, deltaMore] = extended(number - last);
    const [size, sizeMore] = extended(value.length);
    parts.push(Buffer.from([(delta << 4) | size, ...deltaMore, ...sizeMore]), value);
    last = number;
  }
  if (payload.length > 0) parts.push(Buffer.from([0xff]), payload);
  return Buffer.concat(parts);
}

function extended(value: number): [nibble: number, more: number[]] {
  if (value < 13) return [value, []];
  if (value < 269) return [13, [value - 13]];
  return [14, [(value - 269) >> 8, (value - 269) & 255]];
}

/** @throws Error where it is no CoAP: a server that sends such a thing is at fault */
export function decode(datagram: Buffer): RawMessage {
  const wrong = (why: string): Error => new Error(`the server sent no CoAP (${why}): ${datagram.toString('hex')}`);
  if (datagram.length < 4) throw wrong('short');
  const [first, code, high, low] = datagram as unknown as [number, number, number, number];
  const tokenSize = first & 15;
  if (first >> 6 !== 1 || tokenSize > 8 || datagram.length < 4 + tokenSize) throw wrong('front');
  const options: RawOption[] = [];
  let at = 4 + tokenSize;
  let number = 0;
  const more = (nibble: number): number => {
    if (nibble < 13) return nibble;
    if (nibble === 15) throw wrong('reserved length');
    const size = nibble - 12;
    at += size;
    return datagram.readUIntBE(at - size, size) + (size === 1 ? 13 : 269);
  };
  while (at < datagram.length && datagram[at] !== 0xff) {
    const front = datagram[at++] as number;
    number += more(front >> 4);
    const size = more(front & 15);
    if (at + size > datagram.length) throw wrong('an option');
    options.push([number, datagram.subarray(at, at + size)]);
    at += size;
  }
  if (at === datagram.length - 1) throw wrong('an empty payload');
  return {
    type: (first >> 4) & 3,
    code,
    messageId: high * 256 + low,
    token: datagram.subarray(4, 4 + tokenSize),
    options,
    payload: datagram.subarray(at + 1),
  };
}
