import { type KeyObject, sign } from 'node:crypto';
import { DTLS_1_0, DTLS_1_2 } from '../record.ts';
import { u16, vector8, vector16, vector24 } from '../wire.ts';
import { ECDSA_SECP256R1_SHA256, Extension, SECP256R1 } from './client-hello.ts';

/** Bodies of the messages that a server sends. */

const NAMED_CURVE = 3;
const ECDSA_SIGN = 64;
const UNCOMPRESSED = 0;
const NOTHING = Buffer.alloc(0);

export interface ServerHello {
  readonly random: Buffer;
  readonly suite: number;
  /** Says that we know of RFC 5746; its verify data is empty, for there never is a second handshake in a session. */
  readonly renegotiationInfo: boolean;
  readonly extendedMasterSecret: boolean;
  /** The one that the client shall send; null: without. */
  readonly connectionId: Buffer | null;
  readonly pointFormats: boolean;
}

const extension = (type: number, body: Buffer): Buffer => Buffer.concat([u16(type), vector16(body)]);

/** @source RFC 5246 §7.4.1.3: no session id, no compression */
export function serverHello(hello: ServerHello): Buffer {
  const extensions: Buffer[] = [];
  if (hello.renegotiationInfo) extensions.push(extension(Extension.renegotiationInfo, vector8(NOTHING)));
  if (hello.extendedMasterSecret) extensions.push(extension(Extension.extendedMasterSecret, NOTHING));
  if (hello.connectionId !== null) extensions.push(extension(Extension.connectionId, vector8(hello.connectionId)));
  if (hello.pointFormats) extensions.push(extension(Extension.pointFormats, vector8(Buffer.from([UNCOMPRESSED]))));
  return Buffer.concat([
    u16(DTLS_1_2),
    hello.random,
    vector8(NOTHING),
    u16(hello.suite),
    Buffer.from([0]),
    extensions.length === 0 ? NOTHING : vector16(Buffer.concat(extensions)),
  ]);
}

/** @source RFC 6347 §4.2.1: the version is that of 1.0, whatever will be spoken */
export const helloVerifyRequest = (cookie: Buffer): Buffer => Buffer.concat([u16(DTLS_1_0), vector8(cookie)]);

export const certificate = (chain: readonly Buffer[]): Buffer => vector24(Buffer.concat(chain.map(vector24)));

/** @source RFC 8422 §5.4 */
export const ecdhParameters = (point: Buffer): Buffer =>
  Buffer.concat([Buffer.from([NAMED_CURVE]), u16(SECP256R1), vector8(point)]);

/** @param randoms the client's, then the server's */
export function signedKeyExchange(parameters: Buffer, randoms: Buffer, key: KeyObject): Buffer {
  const signature = sign('sha256', Buffer.concat([randoms, parameters]), key);
  return Buffer.concat([parameters, u16(ECDSA_SECP256R1_SHA256), vector16(signature)]);
}
/** Without a hint.  @source RFC 5489 §2 */
export const pskKeyExchange = (parameters: Buffer): Buffer => Buffer.concat([vector16(NOTHING), parameters]);

/** Any authority: whom a certificate stands for is not told by who has issued it. */
export const certificateRequest = (): Buffer =>
  Buffer.concat([vector8(Buffer.from([ECDSA_SIGN])), vector16(u16(ECDSA_SECP256R1_SHA256)), vector16(NOTHING)]);
