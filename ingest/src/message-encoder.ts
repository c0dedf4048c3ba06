import {
  type Admission,
  EnvelopeEncoder,
  type Gate,
  type Protocol,
  partitionOf,
  type SealedFields,
  writeUuidV7,
} from '@millrace/core';
import { type ChannelLimit, ChannelLimits } from './channel-limits.ts';

// hot
export type Allowed = Extract<Admission, { kind: 'allow' }>;
type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Fields = Mutable<Parameters<EnvelopeEncoder['encode']>[0]>;

const utf8 = new TextEncoder();

/** What an envelope needs of an admission, a subtopic and a content type, encoded once for all messages that share them. */
export interface PublishTarget {
  readonly admission: Allowed;
  readonly partition: number;
  readonly org: Uint8Array;
  readonly channel: Uint8Array;
  readonly subtopic: Uint8Array;
  readonly subtopicText: string;
  readonly publisher: Uint8Array;
  readonly contentType: Uint8Array;
  /** What the channel lets its publishers do; null: anything. */
  readonly limit: ChannelLimit | null;
}

/** What one message may say beyond its target. */
export interface MessageExtras {
  readonly contentType?: Uint8Array | undefined;
  readonly traceContext?: string | undefined;
  readonly dedupKey?: string | undefined;
  readonly qos?: 0 | 1 | 2 | undefined;
  readonly retain?: boolean | undefined;
  /** µs since 1970 at which it happened; when it was received, if absent. */
  readonly timeUs?: number | undefined;
  readonly headers?: readonly (readonly [name: string, value: string])[] | undefined;
}
export const NO_EXTRAS: MessageExtras = {};

/** Turns admitted messages of one protocol into records for the log: a new id, the admission's MAC, the envelope. */
export class MessageEncoder {
  /** Of the message encoded last.  @shape 16 bytes, UUIDv7 */
  readonly id = new Uint8Array(16);
  readonly #gate: Gate;
  readonly #limits: ChannelLimits;
  readonly #partitionCount: number;
  readonly #encoder = new EnvelopeEncoder();
  readonly #mac = new Uint8Array(16);
  readonly #seal: Mutable<SealedFields>;
  readonly #admission: Mutable<NonNullable<Fields['admission']>>;
  readonly #fields: Fields;

  constructor(protocol: Protocol, gate: Gate, partitionCount: number) {
    this.#gate = gate;
    this.#limits = ChannelLimits.of(gate);
    this.#partitionCount = partitionCount;
    const { id } = this;
    const text = { org: '', channel: '', subtopic: '', publisher: '' };
    this.#seal = { ...text, id, version: 0, receivedUs: 0, payload: id };
    this.#admission = { version: 0, mac: this.#mac };
    this.#fields = {
      ...text,
      id,
      protocol,
      contentType: '',
      receivedUs: 0,
      payload: id,
      traceContext: undefined,
      dedupKey: undefined,
      qos: undefined,
      retain: undefined,
      timeUs: undefined,
      headers: undefined,
      admission: this.#admission,
    };
  }

  /** @param contentType as the client named it; "": the channel's default */
  targetOf(admission: Allowed, subtopic: string, contentType: string): PublishTarget {
    const { channel, subject } = admission;
    const bytes = utf8.encode(channel.id);
    return {
      admission,
      partition: partitionOf(bytes, this.#partitionCount),
      org: utf8.encode(channel.org),
      channel: bytes,
      subtopic: utf8.encode(subtopic),
      subtopicText: subtopic,
      publisher: utf8.encode(subject.id),
      contentType: utf8.encode(contentType === '' ? (channel.contentType ?? '') : contentType),
      limit: this.#limits.limitOf(channel),
    };
  }

  /** @returns a record that is valid until the next call */
  encode(target: PublishTarget, payload: Uint8Array, nowUs: number, extras: MessageExtras): Uint8Array {
    const { channel, subject, version } = target.admission;
    const seal = this.#seal;
    const fields = this.#fields;
    writeUuidV7(this.id, 0, Math.floor(nowUs / 1_000));
    seal.org = channel.org;
    seal.channel = channel.id;
    seal.subtopic = target.subtopicText;
    seal.publisher = subject.id;
    seal.version = version;
    seal.receivedUs = nowUs;
    seal.payload = payload;
    this.#gate.sealer.seal(seal, this.#mac);
    this.#admission.version = version;
    fields.org = target.org;
    fields.channel = target.channel;
    fields.subtopic = target.subtopic;
    fields.publisher = target.publisher;
    fields.contentType = extras.contentType ?? target.contentType;
    fields.receivedUs = nowUs;
    fields.payload = payload;
    fields.traceContext = extras.traceContext;
    fields.dedupKey = extras.dedupKey;
    fields.qos = extras.qos;
    fields.retain = extras.retain;
    fields.timeUs = extras.timeUs;
    fields.headers = extras.headers;
    return this.#encoder.encode(fields);
  }
}
