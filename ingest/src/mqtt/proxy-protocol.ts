import { isIP } from 'node:net';

/** What a proxy says of the connection that it passes on. */
export interface ProxiedClient {
  /** null: the proxy speaks for itself, as a health check does, or does not know. */
  readonly remoteAddress: string | null;
  /** Whether the client came by TLS; null where the proxy does not tell. */
  readonly tls: boolean | null;
}
export type ProxyHeader =
  | { readonly kind: 'more' }
  | { readonly kind: 'bad' }
  | { readonly kind: 'header'; readonly client: ProxiedClient; readonly size: number };

/** The longest line of version 1, with its CRLF. */
const LINE_SIZE_MAX = 107;
/** Addresses and what HAProxy, Envoy and the clouds add to them take a few hundred bytes. */
export const PROXY_HEADER_SIZE_MAX = 2_048;
const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const FIRST_LINE = Buffer.from('PROXY ', 'latin1');
const FIXED_SIZE = 16;
const TLV_SSL = 0x20;
const CLIENT_SSL = 0x01;
const ADDRESSES_SIZE: Readonly<Record<number, number>> = { 1: 12, 2: 36 };

const MORE: ProxyHeader = { kind: 'more' };
const BAD: ProxyHeader = { kind: 'bad' };
const UNTOLD: ProxiedClient = { remoteAddress: null, tls: null };

/** Reads the header that a proxy writes before anything of its client's.
 *  @param bytes from the connection's beginning on; with `more`, ask again when there are more
 *  @source HAProxy's PROXY protocol, versions 1 and 2 */
export function readProxyHeader(bytes: Buffer): ProxyHeader {
  if (startsAs(bytes, SIGNATURE)) return bytes.length < FIXED_SIZE ? MORE : readBinary(bytes);
  if (startsAs(bytes, FIRST_LINE)) return bytes.length <= FIRST_LINE.length ? MORE : readLine(bytes);
  return BAD;
}

/** Whether what is there agrees with how it must begin. */
function startsAs(bytes: Buffer, beginning: Buffer): boolean {
  const size = Math.min(bytes.length, beginning.length);
  return bytes.compare(beginning, 0, size, 0, size) === 0;
}

/** `PROXY TCP4 <source> <destination> <source port> <destination port>` CRLF, or `PROXY UNKNOWN …` */
function readLine(bytes: Buffer): ProxyHeader {
  const end = bytes.subarray(0, LINE_SIZE_MAX).indexOf('\r\n');
  if (end < 0) return bytes.length < LINE_SIZE_MAX ? MORE : BAD;
  const size = end + 2;
  const [, family, source = '', destination = '', ...ports] = bytes.toString('latin1', 0, end).split(' ');
  if (family === 'UNKNOWN') return { kind: 'header', client: UNTOLD, size };
  const version = family === 'TCP4' ? 4 : family === 'TCP6' ? 6 : 0;
  if (version === 0 || isIP(source) !== version || isIP(destination) !== version) return BAD;
  if (ports.length !== 2 || !ports.every((port) => /^\d{1,5}$/.test(port) && Number(port) < 65_536)) return BAD;
  return { kind: 'header', client: { remoteAddress: plain(source), tls: null }, size };
}

function readBinary(bytes: Buffer): ProxyHeader {
  const [command, family] = [bytes[12] as number, (bytes[13] as number) >> 4];
  const size = FIXED_SIZE + bytes.readUInt16BE(14);
  if (command >> 4 !== 2 || (command & 15) > 1 || size > PROXY_HEADER_SIZE_MAX) return BAD;
  if (bytes.length < size) return MORE;
  // LOCAL: of the proxy's own.
  if ((command & 15) === 0) return { kind: 'header', client: UNTOLD, size };
  const addresses = ADDRESSES_SIZE[family] ?? 0;
  if (FIXED_SIZE + addresses > size) return BAD;
  const tls = toldTls(bytes.subarray(FIXED_SIZE + addresses, size));
  if (addresses === 0) return { kind: 'header', client: { remoteAddress: null, tls }, size };
  const remoteAddress = family === 1 ? bytes.subarray(16, 20).join('.') : plain(ip6(bytes.subarray(16, 32)));
  return { kind: 'header', client: { remoteAddress, tls }, size };
}

/** What the list of types, sizes and values says of TLS; null if nothing. */
function toldTls(list: Buffer): boolean | null {
  for (let at = 0; at + 3 <= list.length; ) {
    const size = list.readUInt16BE(at + 1);
    if (list[at] === TLV_SSL && size >= 1 && at + 3 < list.length) return ((list[at + 3] as number) & CLIENT_SSL) !== 0;
    at += 3 + size;
  }
  return null;
}

function ip6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  // As the system writes it, so that it is the same text wherever it is compared.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

/** IPv4 in IPv6 is IPv4, as policies name it. */
function plain(address: string): string {
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(address) ?? [];
  if (high === undefined || low === undefined) return address.replace(/^::ffff:(?=\d+\.)/i, '');
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return [a >> 8, a & 255, b >> 8, b & 255].join('.');
}
