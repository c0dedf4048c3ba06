import {
  type Block,
  blockOf,
  type DeadReason,
  type Decision,
  deadLettersColumns,
  type Enforcer,
  EnvelopeReader,
  EXPIRES_NEVER,
  messageLogColumns,
  messagesColumns,
  packBatch,
  protocolNames,
  readingsColumns,
  type Sealer,
} from '@millrace/core';
import type { RawPolicy } from '../config.ts';
import { KnownProfiles } from '../profile/known-profiles.ts';
import type { ReadingProfile } from '../profile/reading-profile.ts';
import { MessageRows, type RowOrigin, TIME_US_MAX } from '../rows/message-rows.ts';
import type { Refusal } from '../senml/resolve.ts';
import { type Dialect, dialectOf, readPayload } from './content.ts';
import { shownAsJson, toldDead } from './dead-letters.ts';
import { firstReceived, isPlausible, monthOf } from './reception.ts';
import { Repeats } from './repeats.ts';
import { Tally } from './tally.ts';
import { type BatchAnswer, type BatchTask, type ChannelNeed, type Grant, grantKey, type Need } from './task.ts';

// hot

/** What one run asks for at most; the rest is asked for by the next. */
const NEEDS_MAX = 1_000;
const CONTENT_TYPES_MAX = 1_024;
const GRANTS_MAX = 20_000;
/** Channels of which a worker asks in one run how they are read. */
const CHANNEL_NEEDS_MAX = 20_000;
const ID_UNKNOWN = new Uint8Array(16);
const NO_BYTES = Buffer.alloc(0);

/** Turns batches of envelopes into one block a table. One for each thread; its columns are used again and grow to
 *  the largest batch.
 *  @holds same batch and same grants give the same rows */
export class BatchNormaliser {
  readonly #sealer: Sealer;
  readonly #enforcer: Enforcer;
  readonly #readings = readingsColumns();
  readonly #messages = messagesColumns();
  readonly #messageLog = messageLogColumns();
  readonly #deadLetters = deadLettersColumns();
  readonly #blocks: Readonly<Record<'readings' | 'messages' | 'message_log' | 'dead_letters', Block>>;
  readonly #rows = new MessageRows(this.#readings);
  readonly #envelope = new EnvelopeReader();
  readonly #dialects = new Map<string, Dialect>();
  readonly #grants = new Map<string, Grant>();
  #grantsVersion = -1;
  readonly #profiles = new KnownProfiles();
  /** What this run asks for. */
  readonly #needs = new Map<string, Need>();
  readonly #channelNeeds = new Map<string, ChannelNeed>();
  readonly #repeats = new Repeats();
  #needsRepeats = false;
  readonly #origin: RowOrigin = {
    org: 0,
    channel: 0,
    subtopic: 0,
    publisher: 0,
    protocol: 0,
    receivedUs: 0,
    expires: EXPIRES_NEVER,
    partition: 0,
    offset: 0,
  };
  #tally = new Tally();

  constructor(sealer: Sealer, enforcer: Enforcer) {
    this.#sealer = sealer;
    this.#enforcer = enforcer;
    this.#blocks = {
      readings: blockOf(this.#readings),
      messages: blockOf(this.#messages),
      message_log: blockOf(this.#messageLog),
      dead_letters: blockOf(this.#deadLetters),
    };
  }

  run(task: BatchTask): BatchAnswer {
    this.#restart(task);
    const { bytes, offsets, inHand } = task;
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const envelope = this.#envelope;
    const needs = this.#needs;
    const channelNeeds = this.#channelNeeds;
    let receivedUs = firstReceived(view, envelope) ?? task.nowUs;
    const [monthStart, monthEnd] = monthOf(receivedUs);
    let last = task.last;
    let messages = 0;

    for (let at = 0; at < view.length; messages++) {
      const start = at + 4;
      const end = start + view.readUInt32LE(at);
      at = end;
      const offset = offsets === null ? task.first + messages : (offsets[messages] as number);
      if (inHand !== null) Atomics.store(inHand, 0, messages);
      const opened = envelope.open(view, start, end) && isPlausible(envelope.receivedUs);
      if (opened) receivedUs = envelope.receivedUs;
      if (task.cutAtMonth && (receivedUs < monthStart || receivedUs >= monthEnd)) {
        last = offset - 1;
        break;
      }
      if (opened) this.#message(envelope, task, offset);
      else if (!this.#isInNeed()) this.#unreadable(view.subarray(start, end), receivedUs, task.partition, offset);
    }
    if (this.#isInNeed()) {
      return {
        kind: 'needs',
        needs: [...needs.values()],
        channels: [...channelNeeds.values()],
        repeats: this.#needsRepeats,
      };
    }
    this.#repeats.keep();
    const tally = this.#tally;
    if (tally.messages !== messages) throw new RangeError(`counted ${tally.messages} of ${messages} messages`);
    return { kind: 'rows', rows: packBatch(this.#blocks, tally.close()), last, messages };
  }

  /** Puts the keys of a batch, up to its `last`, into its table of them, and does nothing else. */
  learn(task: BatchTask): BatchAnswer {
    const repeats = this.#repeats;
    repeats.restart(task.repeats, task.repeatWindow);
    const { bytes, offsets } = task;
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const envelope = this.#envelope;
    for (let at = 0, index = 0; at < view.length; index++) {
      const start = at + 4;
      const end = start + view.readUInt32LE(at);
      at = end;
      const offset = offsets === null ? task.first + index : (offsets[index] as number);
      if (offset > task.last) break;
      if (!envelope.open(view, start, end) || !isPlausible(envelope.receivedUs)) continue;
      const { dedupKey } = envelope;
      if (dedupKey === '') continue;
      const { org, channel, subtopic, publisher } = envelope;
      if (!this.#isAdmitted(envelope, org, channel, subtopic, publisher)) continue;
      repeats.learn(publisher, channel, dedupKey, offset, envelope.receivedUs);
    }
    return { kind: 'learned' };
  }

  /** Rows that say of each message in the batch that it is dead for one reason, without reading its payload. */
  bury(task: BatchTask, reason: DeadReason, detail: string): BatchAnswer {
    this.#restart(task);
    const view = Buffer.from(task.bytes.buffer, task.bytes.byteOffset, task.bytes.length);
    const envelope = this.#envelope;
    let receivedUs = firstReceived(view, envelope) ?? task.nowUs;
    let messages = 0;
    for (let at = 0; at < view.length; messages++) {
      const start = at + 4;
      const end = start + view.readUInt32LE(at);
      at = end;
      const offset = task.offsets === null ? task.first + messages : (task.offsets[messages] as number);
      if (envelope.open(view, start, end) && isPlausible(envelope.receivedUs)) {
        receivedUs = envelope.receivedUs;
        this.#locate(envelope.org, envelope.channel, envelope, task.partition, offset, EXPIRES_NEVER);
        this.#dead(envelope, 'admitted', { reason, detail });
      } else this.#unreadable(view.subarray(start, end), receivedUs, task.partition, offset);
    }
    return { kind: 'rows', rows: packBatch(this.#blocks, this.#tally.close()), last: task.last, messages };
  }

  #restart(task: BatchTask): void {
    for (const block of Object.values(this.#blocks)) block.clear();
    this.#rows.restart();
    this.#repeats.restart(task.repeats, task.repeatWindow);
    this.#needsRepeats = false;
    this.#tally = new Tally();
    if (this.#grantsVersion !== task.directoryVersion || this.#grants.size > GRANTS_MAX) this.#grants.clear();
    this.#grantsVersion = task.directoryVersion;
    this.#needs.clear();
    this.#channelNeeds.clear();
    this.#profiles.learn(task.profilesVersion, task.profiles);
    for (const grant of task.grants) this.#grants.set(grantKey(grant.subject, grant.org, grant.channel), grant);
  }

  #message(envelope: EnvelopeReader, task: BatchTask, offset: number): void {
    const needs = this.#needs;
    const org = envelope.org;
    let channel = envelope.channel;
    const subtopic = envelope.subtopic;
    const publisher = envelope.publisher;
    let decision: Decision = 'admitted';
    let forbidden: string | null = null;
    const admitted = this.#isAdmitted(envelope, org, channel, subtopic, publisher);
    if (!admitted) {
      const key = grantKey(publisher, org, channel);
      const grant = this.#grants.get(key);
      if (grant === undefined) {
        if (needs.size < NEEDS_MAX) needs.set(key, { subject: publisher, org, channel });
        return;
      }
      forbidden = this.#judge(grant, envelope);
      decision = forbidden === null ? 'enforced' : 'forbidden';
      channel = grant.channelId;
    }
    // What is forbidden is of no channel that need be known.
    const profile = forbidden === null ? this.#profiles.of(channel) : null;
    if (profile === undefined) {
      if (this.#channelNeeds.size < CHANNEL_NEEDS_MAX) this.#channelNeeds.set(channel, { channel, org });
      return;
    }
    const dedupKey = envelope.dedupKey;
    if (dedupKey !== '' && !this.#repeats.isReady) this.#needsRepeats = true;
    // The batch will be run again: only what it needs matters now.
    if (this.#isInNeed()) return;

    const expires = profile === null ? EXPIRES_NEVER : profile.expires(envelope.receivedUs);
    this.#locate(org, channel, envelope, task.partition, offset, expires);
    if (forbidden !== null) {
      this.#dead(envelope, decision, { reason: 'forbidden', detail: forbidden });
      return;
    }
    if (
      dedupKey !== '' &&
      this.#repeats.isRepeated(publisher, channel, dedupKey, offset, envelope.receivedUs, admitted)
    ) {
      this.#logRow(envelope, decision, 0, 0, 'nothing', 'duplicate');
      this.#tally.drop('duplicate');
      return;
    }
    const told = toldDead(envelope);
    if (told === null) this.#content(envelope, decision, task.raw, profile);
    else this.#dead(envelope, decision, told);
  }

  /** null, or why the message is forbidden. */
  #judge(grant: Grant, envelope: EnvelopeReader): string | null {
    if (grant.forbidden !== null) return grant.forbidden;
    const allowed = this.#enforcer.mayPublish(
      grant.subject,
      grant.org,
      grant.channelId,
      grant.groups,
      envelope.subtopic,
      envelope.protocol,
      Math.floor(envelope.receivedUs / 1_000),
      grant.rules,
    );
    return allowed ? null : 'no rule lets the publisher publish here';
  }

  /** Whether it bears an admission that holds. */
  #isAdmitted(envelope: EnvelopeReader, org: string, channel: string, subtopic: string, publisher: string): boolean {
    const mac = envelope.mac;
    if (mac === null) return false;
    return this.#sealer.verify(
      {
        id: envelope.id,
        org,
        channel,
        subtopic,
        publisher,
        version: envelope.admissionVersion,
        receivedUs: envelope.receivedUs,
        payload: envelope.payload,
      },
      mac,
    );
  }

  #isInNeed(): boolean {
    return this.#needsRepeats || this.#needs.size + this.#channelNeeds.size > 0;
  }

  #content(envelope: EnvelopeReader, decision: Decision, raw: RawPolicy, profile: ReadingProfile | null): void {
    const rows = this.#rows;
    const payload = envelope.payload;
    if (payload.length === 0) {
      this.#logRow(envelope, decision, 0, 0, 'nothing', '');
      this.#tally.drop('empty');
      return;
    }
    // What is relative, or says no time, is of when it happened; all else goes by reception.
    const { timeUs } = envelope;
    if (timeUs > TIME_US_MAX) {
      const detail = 'the time that the network gives the message is after 2262';
      this.#dead(envelope, decision, { reason: 'time_out_of_range', detail });
      return;
    }
    rows.clear();
    const dialect = this.#dialect(envelope.contentType);
    const reading = readPayload(dialect, payload, timeUs, profile?.time ?? null, rows);
    if (reading.refusal !== null) {
      this.#dead(envelope, decision, reading.refusal);
      return;
    }
    const tally = this.#tally;
    const fields = profile?.fields ?? null;
    const filtered = fields === null ? 0 : rows.leaveOut((name, dictionary) => fields.keeps(name, dictionary));
    tally.filtered += filtered;
    const keepsRaw = profile?.keepRaw === true || raw === 'all' || (raw === 'non-senml' && reading.dialect !== 'senml');
    const deadCount = rows.dead.length;
    if (rows.count === 0 && !keepsRaw) {
      if (reading.dialect === 'blob') {
        this.#logRow(envelope, decision, 0, 0, 'nothing', '');
        tally.drop('not_kept');
      } else if (filtered > 0) {
        this.#deadRecords(envelope);
        this.#logRow(envelope, decision, 0, deadCount, 'nothing', 'filtered');
        tally.drop('filtered');
      } else if (deadCount === 0) {
        this.#dead(envelope, decision, { reason: 'no_reading', detail: 'the message holds no value' });
      } else {
        this.#deadRecords(envelope);
        this.#logRow(envelope, decision, 0, deadCount, 'nothing', 'no_reading');
        tally.bury('no_reading');
      }
      return;
    }
    rows.emit(this.#origin);
    if (deadCount > 0) this.#deadRecords(envelope);
    if (keepsRaw) this.#keepRaw(envelope, payload);
    this.#logRow(envelope, decision, rows.count, deadCount, rows.count > 0 ? 'readings' : 'payload', '');
    tally.keep(rows.count);
  }

  #dialect(contentType: string): Dialect {
    const known = this.#dialects.get(contentType);
    if (known !== undefined) return known;
    if (this.#dialects.size === CONTENT_TYPES_MAX) this.#dialects.clear();
    const dialect = dialectOf(contentType);
    this.#dialects.set(contentType, dialect);
    return dialect;
  }

  #locate(
    org: string,
    channel: string,
    envelope: EnvelopeReader,
    partition: number,
    offset: number,
    expires: number,
  ): void {
    const origin = this.#origin;
    const columns = this.#readings;
    this.#org = org;
    this.#channel = channel;
    this.#subtopic = envelope.subtopic;
    this.#publisher = envelope.publisher;
    this.#protocol = protocolNames[envelope.protocol] ?? 'unknown';
    origin.org = columns.org.intern(org);
    origin.channel = columns.channel.intern(channel);
    origin.subtopic = columns.subtopic.intern(this.#subtopic);
    origin.publisher = columns.publisher.intern(this.#publisher);
    origin.protocol = columns.protocol.intern(this.#protocol);
    origin.receivedUs = envelope.receivedUs;
    origin.expires = expires;
    origin.partition = partition;
    origin.offset = offset;
  }
  #org = '';
  #channel = '';
  #subtopic = '';
  #publisher = '';
  #protocol = '';

  #unreadable(record: Buffer, receivedUs: number, partition: number, offset: number): void {
    const origin = this.#origin;
    this.#org = '';
    this.#channel = '';
    this.#subtopic = '';
    this.#publisher = '';
    this.#protocol = 'unknown';
    origin.receivedUs = receivedUs;
    origin.expires = EXPIRES_NEVER;
    origin.partition = partition;
    origin.offset = offset;
    const refusal: Refusal = { reason: 'bad_envelope', detail: 'the record on the log is no well-formed envelope' };
    this.#deadRow(ID_UNKNOWN, '', null, refusal, record);
    this.#logColumns(ID_UNKNOWN, '', record.length, 'unreadable', 0, 1, 'nothing', 'bad_envelope');
    this.#tally.bury('bad_envelope');
  }

  #dead(envelope: EnvelopeReader, decision: Decision, refusal: Refusal): void {
    this.#deadRow(envelope.id, envelope.contentType, null, refusal, envelope.payload);
    this.#logRow(envelope, decision, 0, 1, 'nothing', refusal.reason);
    this.#tally.bury(refusal.reason);
  }

  #deadRecords(envelope: EnvelopeReader): void {
    for (const dead of this.#rows.dead) {
      const shown = shownAsJson(dead.record);
      this.#deadRow(
        envelope.id,
        envelope.contentType,
        dead.index,
        dead,
        shown === undefined ? NO_BYTES : Buffer.from(shown),
      );
      this.#tally.buryRecord(dead.reason);
    }
  }

  #deadRow(id: Uint8Array, contentType: string, index: number | null, refusal: Refusal, payload: Uint8Array): void {
    const columns = this.#deadLetters;
    columns.id.add(id);
    this.#originColumns(columns);
    columns.contentType.addText(contentType);
    if (index === null) columns.recordIndex.addNull();
    else columns.recordIndex.add(index);
    columns.reason.addText(refusal.reason);
    columns.detail.addText(refusal.detail);
    columns.payload.addBytes(payload);
    columns.expires.add(this.#origin.expires);
  }

  #keepRaw(envelope: EnvelopeReader, payload: Buffer): void {
    const columns = this.#messages;
    columns.id.add(envelope.id);
    this.#originColumns(columns);
    columns.contentType.addText(envelope.contentType);
    columns.size.add(payload.length);
    columns.payload.addBytes(payload);
    columns.expires.add(this.#origin.expires);
  }

  #logRow(
    envelope: EnvelopeReader,
    decision: Decision,
    readings: number,
    deadLetters: number,
    stored: 'readings' | 'payload' | 'nothing',
    reason: LogReason,
  ): void {
    const size = envelope.payload.length;
    this.#logColumns(envelope.id, envelope.contentType, size, decision, readings, deadLetters, stored, reason);
  }

  #logColumns(
    id: Uint8Array,
    contentType: string,
    size: number,
    decision: Decision,
    readings: number,
    deadLetters: number,
    stored: string,
    reason: string,
  ): void {
    const columns = this.#messageLog;
    columns.id.add(id);
    this.#originColumns(columns);
    columns.contentType.addText(contentType);
    columns.size.add(size);
    columns.decision.addText(decision);
    columns.readings.add(readings);
    columns.deadLetters.add(deadLetters);
    columns.stored.addText(stored);
    columns.reason.addText(reason);
  }

  #originColumns(columns: ReturnType<typeof messagesColumns> | ReturnType<typeof messageLogColumns>): void;
  #originColumns(columns: ReturnType<typeof deadLettersColumns>): void;
  #originColumns(columns: Omit<ReturnType<typeof messagesColumns>, 'size' | 'payload' | 'expires'>): void {
    const origin = this.#origin;
    columns.org.addText(this.#org);
    columns.channel.addText(this.#channel);
    columns.subtopic.addText(this.#subtopic);
    columns.publisher.addText(this.#publisher);
    columns.protocol.addText(this.#protocol);
    columns.received.add(origin.receivedUs);
    columns.partition.add(origin.partition);
    columns.offset.add(origin.offset);
  }
}

/** As in MessageFate. */
type LogReason = DeadReason | 'filtered' | 'duplicate' | '';
