import type { NormalisedBatch } from '../block/batch.ts';
import type { Protocol } from '../envelope/envelope.ts';
import { MillraceError } from '../errors.ts';
import type { DeadReason } from '../outcome.ts';

export type StoreErrorCode =
  /** The engine does not answer or is out of resources: try again later, with the very same range. */
  | 'STORE_UNREACHABLE'
  /** The engine will never take this block: bisect. */
  | 'STORE_REFUSED'
  | 'STORE_QUERY_INVALID'
  | 'STORE_QUERY_TOO_EXPENSIVE'
  | 'STORE_CLOSED';
export class StoreError extends MillraceError<StoreErrorCode> {}

export interface WriteOptions {
  /** Ask each table first what of the range it has: for a redo whose token may have left the window, and for
   *  the parts of a bisected range. */
  readonly verify: boolean;
  /** The range is a part of one that was tried as a whole: rows of it that are there came with the whole, under a token
   *  that is not this range's, and must not be told again. Only with `verify`. */
  readonly part?: boolean;
  /** Awaited before each insert, when nothing else is waited for: what it throws ends the write, and the insert is not
   *  begun. So who has lost the range inserts nothing, however long it slept. */
  readonly fence?: () => Promise<void>;
}

/** Writes normalised batches exactly once and answers for what was written. */
export interface ReadingsStore {
  /** Writes the blocks of one range, one insert a table, each with the token
   *  `<topic>-<partition>-<first>-<last>-<table>`: repeating a call with the same range changes nothing.
   *  @throws StoreError STORE_UNREACHABLE, STORE_REFUSED */
  write(topic: string, batch: NormalisedBatch, options: WriteOptions): Promise<void>;
  readings(query: ReadingsQuery): Promise<ReadingsPage>;
  payloads(query: PayloadsQuery): Promise<PayloadsPage>;
  /** The bytes of a kept payload; null if there is none. `org` and `channel` tell who may see it. */
  payload(id: string): Promise<StoredPayload | null>;
  deadLetters(query: DeadLettersQuery): Promise<DeadLettersPage>;
  /** What became of a message; null if nothing about it is stored (yet). */
  fate(id: string): Promise<MessageFate | null>;
  /** The message that was published last on exactly this channel and subtopic, of those that are processed; null if
   *  there is none. */
  lastMessage(of: MessageOrigin): Promise<MessageFate | null>;
  /** What went through a channel lately, of what is processed.
   *  @holds what it costs is bounded: of a store that is too busy it tells fewer windows */
  activity(query: ActivityQuery): Promise<ChannelActivity>;
  /** null when healthy, else what is wrong and what to do. */
  health(): Promise<string | null>;
}

export type Comparator = 'eq' | 'lt' | 'le' | 'gt' | 'ge';

/** @units from (inclusive) and to (exclusive) in µs since 1970 */
export interface ReadingsQuery {
  readonly org: string;
  readonly channel: string;
  readonly offset: number;
  /** 1 to 1000. */
  readonly limit: number;
  /** Opaque, from a page before; then offset is 0. */
  readonly cursor?: string;
  readonly name?: string;
  readonly subtopic?: string;
  readonly publisher?: string;
  readonly protocol?: string;
  readonly fromUs?: bigint;
  readonly toUs?: bigint;
  readonly value?: { readonly comparator: Comparator; readonly operand: number };
  readonly stringValue?: { readonly comparator: Comparator | 'contains'; readonly operand: string };
  readonly boolValue?: boolean;
  /** base64url without padding. */
  readonly dataValue?: string;
  readonly order: 'time' | 'name';
  readonly direction: 'asc' | 'desc';
  readonly total: 'exact' | 'estimate';
}

/** A reading. Value fields that are absent are left out. */
export interface Reading {
  readonly channel: string;
  readonly subtopic: string;
  readonly publisher: string;
  readonly protocol: string;
  readonly name: string;
  readonly unit: string;
  /** ns since 1970, decimal text: a double does not carry it. */
  readonly timeNs: string;
  /** s, relative to `time` as the device said it. */
  readonly updateTime?: number;
  readonly value?: number;
  readonly stringValue?: string;
  readonly boolValue?: boolean;
  /** base64url without padding. */
  readonly dataValue?: string;
  readonly sum?: number;
}

export interface Page {
  /** Exact only when asked for; otherwise at least offset + items. */
  readonly total: number;
  readonly totalExact: boolean;
  readonly offset: number;
  readonly limit: number;
  /** Present when there is more. */
  readonly cursor?: string;
}
export interface ReadingsPage extends Page {
  readonly readings: readonly Reading[];
}

export interface PayloadsQuery {
  readonly org: string;
  readonly channel: string;
  readonly offset: number;
  readonly limit: number;
  /** Opaque, from a page before; then offset is 0. */
  readonly cursor?: string;
}
export interface PayloadHead {
  readonly id: string;
  readonly org: string;
  readonly channel: string;
  readonly subtopic: string;
  readonly publisher: string;
  readonly protocol: string;
  readonly contentType: string;
  readonly receivedUs: string;
  readonly size: number;
}
export interface PayloadsPage extends Page {
  readonly payloads: readonly PayloadHead[];
}
export interface StoredPayload extends PayloadHead {
  readonly bytes: Uint8Array;
}

export interface DeadLettersQuery {
  /** null: of every org (administrators). */
  readonly org: string | null;
  readonly channel?: string;
  readonly publisher?: string;
  readonly message?: string;
  /** Any of. At most 1000. */
  readonly messages?: readonly string[];
  readonly reason?: string;
  /** Of reception.  @units from (inclusive) and to (exclusive) in µs since 1970 */
  readonly fromUs?: bigint;
  readonly toUs?: bigint;
  readonly offset: number;
  readonly limit: number;
  /** Opaque, from a page or a letter before; then offset is 0. */
  readonly cursor?: string;
  /** Of a payload not more is given; all of it if left out. */
  readonly payloadBytesMax?: number;
}
export interface DeadLetter {
  readonly message: string;
  readonly org: string;
  readonly channel: string;
  readonly subtopic: string;
  readonly publisher: string;
  readonly protocol: string;
  readonly contentType: string;
  readonly receivedUs: string;
  /** Index of the record in its pack; null: the whole message. */
  readonly index: number | null;
  readonly reason: DeadReason;
  readonly detail: string;
  /** Of the record (as JSON, with the base fields that hold for it), or of the whole message; its beginning, if no more
   *  was asked for. */
  readonly payload: Uint8Array;
  /** Of the whole payload.  @units bytes */
  readonly size: number;
  readonly partition: number;
  readonly offset: number;
  /** What a page after this letter begins with. */
  readonly cursor: string;
}
export interface DeadLettersPage extends Page {
  readonly deadLetters: readonly DeadLetter[];
}

/** @shape channel: its id; subtopic: "" is only what has none */
export interface MessageOrigin {
  readonly org: string;
  readonly channel: string;
  readonly subtopic: string;
}

export interface MessageFate {
  readonly id: string;
  readonly org: string;
  readonly channel: string;
  readonly subtopic: string;
  readonly publisher: string;
  readonly protocol: string;
  readonly contentType: string;
  readonly receivedUs: string;
  readonly size: number;
  readonly partition: number;
  readonly offset: number;
  /** How it was let in: by the gate at admission, or enforced in the worker. */
  readonly decision: Decision;
  readonly readings: number;
  readonly deadLetters: number;
  readonly stored: 'readings' | 'payload' | 'nothing';
  /** Of the whole message; "" if it lives. `filtered`: its channel keeps none of its readings. */
  readonly reason: DeadReason | 'filtered' | 'duplicate' | '';
}
/** @units nowUs in µs since 1970 */
export interface ActivityQuery {
  readonly org: string;
  readonly channel: string;
  readonly nowUs: bigint;
}
/** The last so many seconds that a channel's activity is told of. */
export const activityWindows = [60, 900, 3_600, 86_400] as const;
export interface ChannelActivity {
  /** From the shortest on; what would cost too much is left out. */
  readonly windows: readonly ActivityWindow[];
  /** Who published most in the widest window, at most 20. */
  readonly publishers: readonly PublisherActivity[];
  /** How many published in it. */
  readonly publisherCount: number;
  readonly contentTypes: readonly { readonly type: string; readonly messages: number }[];
  /** The last of all; null if there is none, or if it is too long ago to be found at a bounded cost. */
  readonly last: MessageFate | null;
}
export interface ActivityWindow {
  readonly seconds: (typeof activityWindows)[number];
  readonly messages: number;
  readonly bytes: number;
  readonly readings: number;
  /** Messages that were left out on purpose, by reason; `nothing`: without content that is kept. */
  readonly dropped: Readonly<Record<string, number>>;
  /** Whole messages and single records, by reason. */
  readonly deadMessages: Readonly<Record<string, number>>;
  readonly deadRecords: Readonly<Record<string, number>>;
}
export interface PublisherActivity {
  readonly publisher: string;
  readonly messages: number;
  readonly dead: number;
  /** µs since 1970, decimal text. */
  readonly lastUs: string;
}

export type Decision = 'admitted' | 'enforced' | 'forbidden' | 'unreadable';

export const protocolNames = [
  'unknown',
  'http',
  'ws',
  'mqtt',
  'coap',
  'lora',
] as const satisfies readonly (keyof typeof Protocol)[];
