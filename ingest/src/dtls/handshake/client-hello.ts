import { MalformedError, WireReader } from '../wire.ts';

/** The front of a ClientHello: enough to answer it with a cookie. */
export interface ClientHello {
  readonly version: number;
  readonly random: Buffer;
  readonly sessionId: Buffer;
  readonly cookie: Buffer;
}
/** All of it. @holds views of the message */
export interface WholeClientHello extends ClientHello {
  readonly suites: readonly number[];
  readonly extensions: ReadonlyMap<number, Buffer>;
}

export const Extension = {
  supportedGroups: 10,
  pointFormats: 11,
  signatureAlgorithms: 13,
  extendedMasterSecret: 23,
  connectionId: 54,
  renegotiationInfo: 0xff01,
} as const;
export const SECP256R1 = 23;
export const ECDSA_SECP256R1_SHA256 = 0x0403;
const EXTENSIONS_MAX = 64;

/** @throws MalformedError */
export function readClientHelloFront(bytes: Buffer): ClientHello {
  return frontOf(new WireReader(bytes));
}

/** @throws MalformedError  @source RFC 6347 §4.2.1, RFC 5246 §7.4.1.2 */
export function readClientHello(bytes: Buffer): WholeClientHello {
  const reader = new WireReader(bytes);
  const front = frontOf(reader);
  const offered = reader.vector16();
  if (offered.length < 2 || offered.length % 2 !== 0) throw new MalformedError();
  const suites: number[] = [];
  for (let at = 0; at < offered.length; at += 2) suites.push(offered.readUInt16BE(at));
  // Without "none" among the compression methods it is no ClientHello.
  if (!reader.vector8().includes(0)) throw new MalformedError();
  const extensions = new Map<number, Buffer>();
  if (reader.left > 0) {
    const list = new WireReader(reader.vector16());
    reader.end();
    while (list.left > 0) {
      const type = list.u16();
      if (extensions.has(type) || extensions.size >= EXTENSIONS_MAX) throw new MalformedError();
      extensions.set(type, list.vector16());
    }
  }
  return { ...front, suites, extensions };
}

function frontOf(reader: WireReader): ClientHello {
  const version = reader.u16();
  const random = reader.take(32);
  const sessionId = reader.vector8();
  if (sessionId.length > 32) throw new MalformedError();
  return { version, random, sessionId, cookie: reader.vector8() };
}

/** Whether an extension that is a list of 16-bit values names one; an absent one leaves everything open. */
export function lists(extension: Buffer | undefined, value: number): boolean {
  if (extension === undefined) return true;
  const reader = new WireReader(extension);
  const list = new WireReader(reader.vector16());
  while (list.left >= 2) if (list.u16() === value) return true;
  return false;
}
