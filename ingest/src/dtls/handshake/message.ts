import { ContentType, plainRecord, RECORD_HEADER_BYTES } from '../record.ts';
import { MalformedError, WireReader } from '../wire.ts';

export const HandshakeType = {
  clientHello: 1,
  serverHello: 2,
  helloVerifyRequest: 3,
  certificate: 11,
  serverKeyExchange: 12,
  certificateRequest: 13,
  serverHelloDone: 14,
  certificateVerify: 15,
  clientKeyExchange: 16,
  finished: 20,
} as const;

export const HANDSHAKE_HEADER_BYTES = 12;
export const FINISHED_BYTES = 12;

export interface HandshakeMessage {
  readonly type: number;
  readonly sequence: number;
  readonly body: Buffer;
}
/** A piece of a message. @holds bytes is a view */
export interface HandshakeFragment {
  readonly type: number;
  /** Of the whole message. */
  readonly size: number;
  readonly sequence: number;
  readonly offset: number;
  readonly bytes: Buffer;
}

/** Those of one record, which may hold several.  @throws MalformedError  @source RFC 6347 §4.2.2 */
export function readFragments(body: Buffer): HandshakeFragment[] {
  const reader = new WireReader(body);
  const fragments: HandshakeFragment[] = [];
  while (reader.left > 0) {
    const type = reader.u8();
    const size = reader.u24();
    const sequence = reader.u16();
    const offset = reader.u24();
    const bytes = reader.vector24();
    if (offset + bytes.length > size) throw new MalformedError();
    fragments.push({ type, size, sequence, offset, bytes });
  }
  return fragments;
}

/** As it goes over the wire, and into the transcript, in one piece. */
export const wholeMessage = ({ type, sequence, body }: HandshakeMessage): Buffer =>
  fragment(type, sequence, body, 0, body.length);

function fragment(type: number, sequence: number, body: Buffer, offset: number, size: number): Buffer {
  const bytes = Buffer.allocUnsafe(HANDSHAKE_HEADER_BYTES + size);
  bytes[0] = type;
  bytes.writeUIntBE(body.length, 1, 3);
  bytes.writeUInt16BE(sequence, 4);
  bytes.writeUIntBE(offset, 6, 3);
  bytes.writeUIntBE(size, 9, 3);
  body.copy(bytes, HANDSHAKE_HEADER_BYTES, offset, offset + size);
  return bytes;
}

/** A flight in the clear, as few datagrams as it fits in.
 *  @param sequence draws the number of each record  @units datagramBytesMax bytes */
export function flightDatagrams(
  messages: readonly HandshakeMessage[],
  datagramBytesMax: number,
  sequence: () => number,
): Buffer[] {
  const room = datagramBytesMax - RECORD_HEADER_BYTES - HANDSHAKE_HEADER_BYTES;
  const datagrams: Buffer[] = [];
  let records: Buffer[] = [];
  let size = 0;
  for (const { type, sequence: number, body } of messages) {
    let offset = 0;
    do {
      const piece = Math.min(body.length - offset, room);
      const record = plainRecord(ContentType.handshake, sequence(), fragment(type, number, body, offset, piece));
      if (size > 0 && size + record.length > datagramBytesMax) {
        datagrams.push(Buffer.concat(records, size));
        records = [];
        size = 0;
      }
      records.push(record);
      size += record.length;
      offset += piece;
    } while (offset < body.length);
  }
  if (size > 0) datagrams.push(Buffer.concat(records, size));
  return datagrams;
}
