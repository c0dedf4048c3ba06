import { Builder, type ByteBuffer } from 'flatbuffers';

// hot

/** The bare road's own envelope, so that a change of the product's never moves the floor.
 *  @shape table { id, org, channel, subtopic, publisher, protocol: ubyte, content_type, received: ulong, payload },
 *         size-prefixed */
const FIELD_COUNT = 9;
const ORG = 1;
const CHANNEL = 2;
const PUBLISHER = 4;
const PROTOCOL = 5;
const CONTENT_TYPE = 6;
const RECEIVED = 7;
const PAYLOAD = 8;

const builder = new Builder(4_096);

/** @returns a copy of its own */
export function encodeEnvelope(
  org: string,
  channel: string,
  publisher: string,
  contentType: string,
  receivedUs: bigint,
  payload: Uint8Array,
): Uint8Array {
  builder.clear();
  const payloadAt = builder.createByteVector(payload);
  const channelAt = builder.createString(channel);
  const orgAt = builder.createString(org);
  const publisherAt = builder.createString(publisher);
  const contentTypeAt = builder.createString(contentType);
  builder.startObject(FIELD_COUNT);
  builder.addFieldOffset(ORG, orgAt, 0);
  builder.addFieldOffset(CHANNEL, channelAt, 0);
  builder.addFieldOffset(PUBLISHER, publisherAt, 0);
  builder.addFieldInt8(PROTOCOL, 1, 0);
  builder.addFieldOffset(CONTENT_TYPE, contentTypeAt, 0);
  builder.addFieldInt64(RECEIVED, receivedUs, 0n);
  builder.addFieldOffset(PAYLOAD, payloadAt, 0);
  builder.finishSizePrefixed(builder.endObject(), 'MLRC');
  return builder.asUint8Array().slice();
}

/** Reads the envelope at the buffer's position. */
export class BareEnvelope {
  #buffer: ByteBuffer | null = null;
  #table = 0;

  open(buffer: ByteBuffer, at: number): void {
    this.#buffer = buffer;
    this.#table = at + 4 + buffer.readInt32(at + 4);
  }
  get org(): string {
    return this.#text(ORG);
  }
  get channel(): string {
    return this.#text(CHANNEL);
  }
  get publisher(): string {
    return this.#text(PUBLISHER);
  }
  get receivedUs(): number {
    const buffer = this.#buffer as ByteBuffer;
    return Number(buffer.readUint64(this.#table + this.#offset(RECEIVED)));
  }
  /** Position and size of the payload in the buffer. */
  get payload(): { at: number; size: number } {
    const buffer = this.#buffer as ByteBuffer;
    const slot = this.#table + this.#offset(PAYLOAD);
    return { at: buffer.__vector(slot), size: buffer.__vector_len(slot) };
  }
  #text(field: number): string {
    const buffer = this.#buffer as ByteBuffer;
    return buffer.__string(this.#table + this.#offset(field)) as string;
  }
  #offset(field: number): number {
    return (this.#buffer as ByteBuffer).__offset(this.#table, 4 + field * 2);
  }
}
