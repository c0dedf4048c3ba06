import { Builder } from 'flatbuffers';
import { DEAD_LETTER_HEADER } from '../outcome.ts';
import { Admission } from './generated/millrace/admission.ts';
import { Envelope } from './generated/millrace/envelope.ts';
import { Header } from './generated/millrace/header.ts';
import { Protocol } from './generated/millrace/protocol.ts';

export { Protocol } from './generated/millrace/protocol.ts';

// hot

/** What a message is made of. Text may come as UTF-8 bytes that the caller keeps, so nothing is encoded twice.
 *  @shape id: 16 bytes; mac: 16 bytes  @units receivedUs: µs since 1970 */
export interface EnvelopeFields {
  readonly id: Uint8Array;
  readonly org: string | Uint8Array;
  readonly channel: string | Uint8Array;
  readonly subtopic: string | Uint8Array;
  readonly publisher: string | Uint8Array;
  readonly protocol: Protocol;
  readonly contentType: string | Uint8Array;
  readonly receivedUs: number;
  readonly payload: Uint8Array;
  readonly traceContext?: string | undefined;
  readonly dedupKey?: string | undefined;
  readonly headers?: readonly (readonly [name: string, value: string])[] | undefined;
  readonly admission?: { readonly version: number; readonly mac: Uint8Array } | undefined;
  /** As MQTT counts it; 1 if absent. */
  readonly qos?: 0 | 1 | 2 | undefined;
  readonly retain?: boolean | undefined;
  /** µs since 1970 at which it happened; when it was received, if absent. */
  readonly timeUs?: number | undefined;
}

/** Encodes envelopes into one buffer that is used again and grows to the largest message.
 *  @holds the view that `encode` gives is valid until the next call */
export class EnvelopeEncoder {
  #builder = new Builder(4_096);

  encode(fields: EnvelopeFields): Uint8Array {
    const builder = this.#builder;
    builder.clear();
    // Not the generated create…Vector: they copy byte by byte.
    const payload = builder.createByteVector(fields.payload);
    let admission = 0;
    if (fields.admission !== undefined) {
      const mac = builder.createByteVector(fields.admission.mac);
      admission = Admission.createAdmission(builder, BigInt(fields.admission.version), mac);
    }
    const dedupKey = fields.dedupKey === undefined ? 0 : builder.createString(fields.dedupKey);
    let headers = 0;
    if (fields.headers !== undefined && fields.headers.length > 0) {
      const each: number[] = [];
      for (const [name, value] of fields.headers) {
        const nameAt = builder.createString(name);
        each.push(Header.createHeader(builder, nameAt, builder.createString(value)));
      }
      headers = Envelope.createHeadersVector(builder, each);
    }
    const trace = fields.traceContext === undefined ? 0 : builder.createString(fields.traceContext);
    const contentType = builder.createString(fields.contentType);
    const publisher = builder.createString(fields.publisher);
    const subtopic = fields.subtopic.length === 0 ? 0 : builder.createString(fields.subtopic);
    const channel = builder.createString(fields.channel);
    const org = builder.createString(fields.org);
    const id = builder.createByteVector(fields.id);
    Envelope.startEnvelope(builder);
    Envelope.addReceived(builder, BigInt(fields.receivedUs));
    Envelope.addPayload(builder, payload);
    if (admission !== 0) Envelope.addAdmission(builder, admission);
    if (dedupKey !== 0) Envelope.addDedupKey(builder, dedupKey);
    if (headers !== 0) Envelope.addHeaders(builder, headers);
    if (trace !== 0) Envelope.addTraceContext(builder, trace);
    Envelope.addContentType(builder, contentType);
    Envelope.addPublisher(builder, publisher);
    if (subtopic !== 0) Envelope.addSubtopic(builder, subtopic);
    Envelope.addChannel(builder, channel);
    Envelope.addOrg(builder, org);
    Envelope.addId(builder, id);
    Envelope.addProtocol(builder, fields.protocol);
    if (fields.qos !== undefined) Envelope.addQos(builder, fields.qos);
    if (fields.retain === true) Envelope.addRetain(builder, true);
    if (fields.timeUs !== undefined) Envelope.addTime(builder, BigInt(fields.timeUs));
    builder.finish(Envelope.endEnvelope(builder), 'MLRC');
    return builder.asUint8Array();
  }
}

const FIELD_COUNT = 16;
const ID = 0;
const ORG = 1;
const CHANNEL = 2;
const SUBTOPIC = 3;
const PUBLISHER = 4;
const PROTOCOL = 5;
const CONTENT_TYPE = 6;
const RECEIVED = 7;
const TRACE_CONTEXT = 8;
const HEADERS = 9;
const DEDUP_KEY = 10;
const ADMISSION = 11;
const PAYLOAD = 12;
const QOS = 13;
const RETAIN = 14;
const TIME = 15;
/** Fields that stand in the table itself, or are followed elsewhere. */
const NO_VECTOR =
  (1 << PROTOCOL) | (1 << RECEIVED) | (1 << ADMISSION) | (1 << HEADERS) | (1 << QOS) | (1 << RETAIN) | (1 << TIME);
const PROTOCOL_MAX = Protocol.lora;

/** Reads envelopes in place, one after the other, without decoding what is not asked for.
 *  `open` checks every offset and size against the record's bounds, so a hostile record can't make a getter read
 *  beyond it.
 *  @holds getters are valid after an `open` that gave true, until the next `open` */
export class EnvelopeReader {
  #bytes: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;
  /** Position of each field's data (vectors and strings: of the first byte), 0 if absent. */
  readonly #at = new Uint32Array(FIELD_COUNT);
  readonly #size = new Uint32Array(FIELD_COUNT);
  #macAt = 0;
  #versionAt = 0;

  /** @returns false if the record is no well-formed envelope */
  open(bytes: Uint8Array, start = 0, end = bytes.length): boolean {
    if (bytes !== this.#bytes) this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#start = start;
    this.#end = end;
    const buffer = this.#bytes;
    // 'MLRC'
    if (end - start < 16 || end > buffer.length || buffer.readUInt32LE(start + 4) !== 0x43_52_4c_4d) return false;
    const table = start + buffer.readUInt32LE(start);
    if (!this.#readTable(table, this.#at, FIELD_COUNT)) return false;
    const at = this.#at;
    for (let field = 0; field < FIELD_COUNT; field++) {
      if (((NO_VECTOR >> field) & 1) === 0 && at[field] !== 0 && !this.#follow(field)) return false;
    }
    if (at[ID] === 0 || this.#size[ID] !== 16) return false;
    if (at[ORG] === 0 || at[CHANNEL] === 0 || at[PUBLISHER] === 0 || at[PAYLOAD] === 0) return false;
    if (at[PROTOCOL] !== 0 && (at[PROTOCOL] as number) >= end) return false;
    if (at[RECEIVED] !== 0 && (at[RECEIVED] as number) + 8 > end) return false;
    if (at[QOS] !== 0 && ((at[QOS] as number) >= end || (buffer[at[QOS] as number] as number) > 2)) return false;
    if (at[RETAIN] !== 0 && (at[RETAIN] as number) >= end) return false;
    if (at[TIME] !== 0 && (at[TIME] as number) + 8 > end) return false;
    if (at[HEADERS] !== 0 && !this.#checkHeaders()) return false;
    return this.#openAdmission();
  }

  get org(): string {
    return this.#text(ORG);
  }
  get channel(): string {
    return this.#text(CHANNEL);
  }
  get subtopic(): string {
    return this.#text(SUBTOPIC);
  }
  get publisher(): string {
    return this.#text(PUBLISHER);
  }
  get contentType(): string {
    return this.#text(CONTENT_TYPE);
  }
  get traceContext(): string {
    return this.#text(TRACE_CONTEXT);
  }
  get dedupKey(): string {
    return this.#text(DEDUP_KEY);
  }
  /** `unknown` also for one that only a newer program knows: during an upgrade both write to one log. */
  get protocol(): Protocol {
    const at = this.#at[PROTOCOL] as number;
    const found = at === 0 ? Protocol.unknown : (this.#bytes[at] as number);
    return found > PROTOCOL_MAX ? Protocol.unknown : (found as Protocol);
  }
  /** @units µs since 1970 */
  get receivedUs(): number {
    const at = this.#at[RECEIVED] as number;
    return at === 0 ? 0 : this.#bytes.readUInt32LE(at) + this.#bytes.readUInt32LE(at + 4) * 0x1_0000_0000;
  }
  get qos(): 0 | 1 | 2 {
    const at = this.#at[QOS] as number;
    return at === 0 ? 1 : (this.#bytes[at] as 0 | 1 | 2);
  }
  get retain(): boolean {
    const at = this.#at[RETAIN] as number;
    return at !== 0 && this.#bytes[at] !== 0;
  }
  /** When it happened: as its publisher's network says, else when it was received.  @units µs since 1970 */
  get timeUs(): number {
    const at = this.#at[TIME] as number;
    if (at === 0) return this.receivedUs;
    return this.#bytes.readUInt32LE(at) + this.#bytes.readUInt32LE(at + 4) * 0x1_0000_0000;
  }
  /** A view, not a copy. */
  get id(): Uint8Array {
    const at = this.#at[ID] as number;
    return this.#bytes.subarray(at, at + 16);
  }
  /** A view, not a copy. */
  get payload(): Buffer {
    const at = this.#at[PAYLOAD] as number;
    return this.#bytes.subarray(at, at + (this.#size[PAYLOAD] as number));
  }
  /** Whether the record says that it is no message but becomes a dead letter. */
  get isDeadLetter(): boolean {
    return this.#at[HEADERS] !== 0 && this.headers.some(([name]) => name === DEAD_LETTER_HEADER);
  }
  get headers(): [name: string, value: string][] {
    const first = this.#at[HEADERS] as number;
    const all: [string, string][] = [];
    if (first === 0) return all;
    for (let index = 0; index < (this.#size[HEADERS] as number); index++) {
      const slot = first + index * 4;
      const pair = this.#headerAt(slot + this.#bytes.readUInt32LE(slot));
      if (pair !== null) all.push(pair);
    }
    return all;
  }
  /** Version of the policy that the admission names; −1 if it bears none. */
  get admissionVersion(): number {
    const at = this.#versionAt;
    if (this.#macAt === 0) return -1;
    return at === 0 ? 0 : this.#bytes.readUInt32LE(at) + this.#bytes.readUInt32LE(at + 4) * 0x1_0000_0000;
  }
  /** The admission's MAC, a view of 16 bytes; null if it bears none. */
  get mac(): Uint8Array | null {
    return this.#macAt === 0 ? null : this.#bytes.subarray(this.#macAt, this.#macAt + 16);
  }

  #text(field: number): string {
    const at = this.#at[field] as number;
    return at === 0 ? '' : this.#bytes.toString('utf8', at, at + (this.#size[field] as number));
  }

  /** Positions of a table's fields into `out`. */
  #readTable(table: number, out: Uint32Array, count: number): boolean {
    const buffer = this.#bytes;
    if (table < this.#start || table + 4 > this.#end) return false;
    const vtable = table - buffer.readInt32LE(table);
    if (vtable < this.#start || vtable + 4 > this.#end) return false;
    const vtableSize = buffer.readUInt16LE(vtable);
    const tableSize = buffer.readUInt16LE(vtable + 2);
    if (vtableSize < 4 || vtableSize % 2 !== 0 || vtable + vtableSize > this.#end || table + tableSize > this.#end)
      return false;
    const known = (vtableSize - 4) >>> 1;
    for (let field = 0; field < count; field++) {
      const offset = field < known ? buffer.readUInt16LE(vtable + 4 + field * 2) : 0;
      if (offset >= tableSize && offset !== 0) return false;
      out[field] = offset === 0 ? 0 : table + offset;
    }
    return true;
  }

  /** Follows the offset of a vector or string of bytes. */
  #follow(field: number): boolean {
    const slot = this.#at[field] as number;
    const buffer = this.#bytes;
    if (slot + 4 > this.#end) return false;
    const vector = slot + buffer.readUInt32LE(slot);
    if (vector + 4 > this.#end) return false;
    const size = buffer.readUInt32LE(vector);
    if (vector + 4 + size > this.#end) return false;
    this.#at[field] = vector + 4;
    this.#size[field] = size;
    return true;
  }

  #openAdmission(): boolean {
    this.#macAt = 0;
    this.#versionAt = 0;
    const slot = this.#at[ADMISSION] as number;
    if (slot === 0) return true;
    const buffer = this.#bytes;
    if (slot + 4 > this.#end) return false;
    const fields = new Uint32Array(2);
    if (!this.#readTable(slot + buffer.readUInt32LE(slot), fields, 2)) return false;
    const [version = 0, mac = 0] = fields;
    if (version !== 0 && version + 8 > this.#end) return false;
    if (mac === 0 || mac + 4 > this.#end) return false;
    const vector = mac + buffer.readUInt32LE(mac);
    if (vector + 4 + 16 > this.#end || buffer.readUInt32LE(vector) !== 16) return false;
    this.#macAt = vector + 4;
    this.#versionAt = version;
    return true;
  }

  #checkHeaders(): boolean {
    const slot = this.#at[HEADERS] as number;
    const buffer = this.#bytes;
    if (slot + 4 > this.#end) return false;
    const vector = slot + buffer.readUInt32LE(slot);
    if (vector + 4 > this.#end) return false;
    const count = buffer.readUInt32LE(vector);
    if (vector + 4 + count * 4 > this.#end) return false;
    for (let index = 0; index < count; index++) {
      const at = vector + 4 + index * 4;
      if (this.#headerAt(at + buffer.readUInt32LE(at)) === null) return false;
    }
    this.#at[HEADERS] = vector + 4;
    this.#size[HEADERS] = count;
    return true;
  }

  #headerAt(table: number): [string, string] | null {
    const fields = new Uint32Array(2);
    if (!this.#readTable(table, fields, 2)) return null;
    const [name = 0, value = 0] = fields;
    const nameText = this.#stringAt(name);
    const valueText = this.#stringAt(value);
    return nameText === null || valueText === null ? null : [nameText, valueText];
  }

  #stringAt(slot: number): string | null {
    const buffer = this.#bytes;
    if (slot === 0 || slot + 4 > this.#end) return null;
    const vector = slot + buffer.readUInt32LE(slot);
    if (vector + 4 > this.#end) return null;
    const size = buffer.readUInt32LE(vector);
    return vector + 4 + size > this.#end ? null : buffer.toString('utf8', vector + 4, vector + 4 + size);
  }
}
