/** Options by number.  @source RFC 7252 §5.10, 7641 §2, 7959 §2.1 and §4, 7967 §2, 9175 §2.2 and §3.2, 8613 §2 */
export const Option = {
  UriHost: 3,
  ETag: 4,
  Observe: 6,
  UriPort: 7,
  LocationPath: 8,
  Oscore: 9,
  UriPath: 11,
  ContentFormat: 12,
  MaxAge: 14,
  UriQuery: 15,
  Accept: 17,
  LocationQuery: 20,
  Block2: 23,
  Block1: 27,
  Size2: 28,
  ProxyUri: 35,
  ProxyScheme: 39,
  Size1: 60,
  Echo: 252,
  NoResponse: 258,
  RequestTag: 292,
} as const;

/** Content-Formats that we speak.  @source IANA, CoAP Content-Formats */
export const Format = {
  Text: 0,
  Link: 40,
  Xml: 41,
  OctetStream: 42,
  Json: 50,
  Cbor: 60,
  SenmlJson: 110,
  SenmlCbor: 112,
  Tlv: 11542,
  LwM2mJson: 11543,
} as const;

/** Who does not know it must refuse the message.  @source RFC 7252 §5.4.1 */
export const isCritical = (number: number): boolean => (number & 1) === 1;

/** Not part of the cache key, so not of what names a transfer either.  @source RFC 7252 §5.4.6 */
export const isNoCacheKey = (number: number): boolean => (number & 0x1e) === 0x1c;

const EMPTY = Buffer.alloc(0);

/** An unsigned number as an option holds it: no leading zero, nothing for 0. @source RFC 7252 §3.2 */
export function uintBytes(value: number): Buffer {
  if (value === 0) return EMPTY;
  const size = value < 0x1_00 ? 1 : value < 0x1_00_00 ? 2 : value < 0x1_00_00_00 ? 3 : 4;
  const bytes = Buffer.allocUnsafeSlow(size);
  bytes.writeUIntBE(value, 0, size);
  return bytes;
}

/** @returns null where it is longer than four bytes */
export function readUint(bytes: Uint8Array, start: number, end: number): number | null {
  if (end - start > 4) return null;
  let value = 0;
  for (let at = start; at < end; at++) value = value * 256 + (bytes[at] ?? 0);
  return value;
}
