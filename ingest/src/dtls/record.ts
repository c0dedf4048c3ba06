import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { CipherSuite } from './cipher-suites.ts';

// hot

export const ContentType = {
  changeCipherSpec: 20,
  alert: 21,
  handshake: 22,
  applicationData: 23,
  /** With a connection id; the real type is inside.  @source RFC 9146 §3 */
  connectionId: 25,
} as const;
/** DTLS 1.2; a HelloVerifyRequest and most first ClientHellos go by the number of 1.0. */
export const DTLS_1_2 = 0xfefd;
export const DTLS_1_0 = 0xfeff;

/** type, version, epoch, sequence number, length */
export const RECORD_HEADER_BYTES = 13;
const EXPLICIT_NONCE_BYTES = 8;
/** @source RFC 6347 §4.1: 2^14, and what a cipher may add */
const RECORD_BYTES_MAX = 16_384 + 256;

/** One record of a datagram. @holds body and connectionId are views */
export interface DtlsRecord {
  readonly type: number;
  readonly epoch: number;
  readonly sequence: number;
  /** null unless type is `connectionId`. */
  readonly connectionId: Buffer | null;
  readonly body: Buffer;
  /** Where the next one begins. */
  readonly end: number;
}

/** Reads the record that begins at `offset`; null if there is none: the rest of the datagram is dropped.
 *  @param connectionIdBytes length of all ids that were given out; 0: none were
 *  @source RFC 6347 §4.1, RFC 9146 §4 */
export function readRecord(datagram: Buffer, offset: number, connectionIdBytes: number): DtlsRecord | null {
  if (offset + RECORD_HEADER_BYTES > datagram.length) return null;
  const type = datagram[offset] as number;
  // The minor version is told apart by whoever reads the ClientHello.
  if (datagram[offset + 1] !== 0xfe) return null;
  let at = offset + 11;
  let connectionId: Buffer | null = null;
  if (type === ContentType.connectionId) {
    if (connectionIdBytes === 0) return null;
    connectionId = datagram.subarray(at, at + connectionIdBytes);
    at += connectionIdBytes;
  } else if (type < ContentType.changeCipherSpec || type > ContentType.applicationData) return null;
  if (at + 2 > datagram.length) return null;
  const size = datagram.readUInt16BE(at);
  const end = at + 2 + size;
  if (size > RECORD_BYTES_MAX || end > datagram.length) return null;
  return {
    type,
    epoch: datagram.readUInt16BE(offset + 3),
    sequence: datagram.readUIntBE(offset + 5, 6),
    connectionId,
    body: datagram.subarray(at + 2, end),
    end,
  };
}

/** A record in the clear, as before the keys are agreed. */
export function plainRecord(type: number, sequence: number, body: Buffer, version = DTLS_1_2): Buffer {
  const record = Buffer.allocUnsafe(RECORD_HEADER_BYTES + body.length);
  record[0] = type;
  record.writeUInt16BE(version, 1);
  record.writeUInt16BE(0, 3);
  record.writeUIntBE(sequence, 5, 6);
  record.writeUInt16BE(body.length, 11);
  body.copy(record, RECORD_HEADER_BYTES);
  return record;
}

/** Keys of one direction.  @units key 16 bytes, salt 4 bytes (the implicit part of the nonce) */
export interface DirectionKeys {
  readonly suite: CipherSuite;
  readonly key: Buffer;
  readonly salt: Buffer;
}
export interface OpenedRecord {
  readonly type: number;
  readonly data: Buffer;
}

// Filled and read within one call, which nothing interrupts.
const NONCE = Buffer.alloc(12);
const SEQUENCE = Buffer.alloc(8);
const AAD = Buffer.alloc(13);
const CONNECTION_ID_BYTES_MAX = 255;
/** @shape eight 0xff, type, id length, type, version, epoch and sequence, id, inner length  @source RFC 9146 §5.3 */
const AAD_WITH_ID = Buffer.alloc(23 + CONNECTION_ID_BYTES_MAX);

/** The only epoch that is ever encrypted: there is no renegotiation. */
export const ENCRYPTED_EPOCH = 1;

/** @param connectionId the one that the peer wants; null or empty: a record without
 *  @source RFC 5246 §6.2.3.3, RFC 5288, RFC 6655 */
export function sealRecord(
  keys: DirectionKeys,
  type: number,
  sequence: number,
  content: Buffer,
  connectionId: Buffer | null,
): Buffer {
  const { suite, key, salt } = keys;
  const id = connectionId === null || connectionId.length === 0 ? null : connectionId;
  const idBytes = id === null ? 0 : id.length;
  let inner = content;
  if (id !== null) {
    inner = Buffer.allocUnsafe(content.length + 1);
    content.copy(inner);
    inner[content.length] = type;
  }
  writeSequence(sequence);
  // The explicit nonce is the sequence number, so it never comes twice.
  salt.copy(NONCE);
  SEQUENCE.copy(NONCE, 4);
  const cipher = createCipheriv(suite.cipher, key, NONCE, { authTagLength: suite.tagBytes });
  cipher.setAAD(associated(type, id, inner.length), { plaintextLength: inner.length });
  const encrypted = cipher.update(inner);
  cipher.final();
  const size = EXPLICIT_NONCE_BYTES + encrypted.length + suite.tagBytes;
  const record = Buffer.allocUnsafe(RECORD_HEADER_BYTES + idBytes + size);
  record[0] = id === null ? type : ContentType.connectionId;
  record.writeUInt16BE(DTLS_1_2, 1);
  SEQUENCE.copy(record, 3);
  if (id !== null) id.copy(record, 11);
  let at = 11 + idBytes;
  at = record.writeUInt16BE(size, at);
  at += SEQUENCE.copy(record, at);
  at += encrypted.copy(record, at);
  cipher.getAuthTag().copy(record, at);
  return record;
}

/** null if it is not authentic. The tag is compared by OpenSSL, in constant time. */
export function openRecord(keys: DirectionKeys, record: DtlsRecord): OpenedRecord | null {
  const { suite, key, salt } = keys;
  const { body, connectionId } = record;
  const size = body.length - EXPLICIT_NONCE_BYTES - suite.tagBytes;
  if (size < 0) return null;
  writeSequence(record.sequence);
  salt.copy(NONCE);
  body.copy(NONCE, 4, 0, EXPLICIT_NONCE_BYTES);
  const decipher = createDecipheriv(suite.cipher, key, NONCE, { authTagLength: suite.tagBytes });
  decipher.setAuthTag(body.subarray(EXPLICIT_NONCE_BYTES + size));
  decipher.setAAD(associated(record.type, connectionId, size), { plaintextLength: size });
  let data: Buffer;
  try {
    data = decipher.update(body.subarray(EXPLICIT_NONCE_BYTES, EXPLICIT_NONCE_BYTES + size));
    decipher.final();
  } catch {
    return null;
  }
  if (connectionId === null) return { type: record.type, data };
  // Content, its type, and any number of zeros.
  let last = data.length - 1;
  while (last >= 0 && data[last] === 0) last--;
  return last < 0 ? null : { type: data[last] as number, data: data.subarray(0, last) };
}

function writeSequence(sequence: number): void {
  SEQUENCE.writeUInt16BE(ENCRYPTED_EPOCH, 0);
  SEQUENCE.writeUIntBE(sequence, 2, 6);
}

/** @holds SEQUENCE is written */
function associated(type: number, id: Buffer | null, size: number): Buffer {
  if (id === null) {
    SEQUENCE.copy(AAD);
    AAD[8] = type;
    AAD.writeUInt16BE(DTLS_1_2, 9);
    AAD.writeUInt16BE(size, 11);
    return AAD;
  }
  const aad = AAD_WITH_ID;
  aad.fill(0xff, 0, 8);
  aad[8] = ContentType.connectionId;
  aad[9] = id.length;
  aad[10] = ContentType.connectionId;
  aad.writeUInt16BE(DTLS_1_2, 11);
  SEQUENCE.copy(aad, 13);
  id.copy(aad, 21);
  return aad.subarray(0, aad.writeUInt16BE(size, 21 + id.length));
}

/** Overwrites what a session that is over leaves in memory. */
export function eraseKeys(keys: DirectionKeys): void {
  keys.key.fill(0);
  keys.salt.fill(0);
}
