import {
  type BatchTally,
  type Block,
  blockOf,
  deadLettersColumns,
  EXPIRES_NEVER,
  messageLogColumns,
  messagesColumns,
  type NormalisedBatch,
  packBatch,
  parseUuid,
  readingsColumns,
  type TableName,
  unpackBatch,
  uuidV7,
} from '@millrace/core';

/** A reading as a test says it. @units timeUs µs since 1970 */
export interface GivenReading {
  readonly name: string;
  readonly timeUs: number;
  readonly unit?: string;
  readonly value?: number;
  readonly stringValue?: string;
  readonly boolValue?: boolean;
  readonly dataValue?: Uint8Array;
  readonly sum?: number;
  readonly updateTime?: number;
}
export interface GivenMessage {
  readonly id?: string;
  readonly org?: string;
  readonly channel?: string;
  readonly subtopic?: string;
  readonly publisher?: string;
  readonly protocol?: string;
  readonly receivedUs?: number;
  readonly contentType?: string;
  readonly readings?: readonly GivenReading[];
  readonly payload?: Uint8Array;
  /** When what is kept of it may go. @units s since 1970 */
  readonly expiresS?: number;
  readonly deadLetters?: readonly {
    readonly index: number | null;
    readonly reason: string;
    readonly payload: Uint8Array;
  }[];
}

export const RECEIVED_US = Date.UTC(2026, 10, 21, 12) * 1_000;

/** Columns are kept and cleared, as a worker does it. */
const columns = {
  readings: readingsColumns(),
  messages: messagesColumns(),
  message_log: messageLogColumns(),
  dead_letters: deadLettersColumns(),
};
const blocks: Readonly<Record<TableName, Block>> = {
  readings: blockOf(columns.readings),
  messages: blockOf(columns.messages),
  message_log: blockOf(columns.message_log),
  dead_letters: blockOf(columns.dead_letters),
};

const TALLY: BatchTally = {
  messages: 0,
  readings: 0,
  stored: 0,
  dropped: {},
  dead: {},
  deadRecords: {},
  filteredReadings: 0,
};

/** A batch of the log as a worker gives it back: message k has the offset first + k. */
export function batchOf(first: number, messages: readonly GivenMessage[], partition = 0): NormalisedBatch {
  for (const block of Object.values(blocks)) block.clear();
  for (const [index, message] of messages.entries()) addMessage(message, partition, first + index);
  return unpackBatch(packBatch(blocks, TALLY), partition, first, first + messages.length - 1);
}

function addMessage(message: GivenMessage, partition: number, offset: number): void {
  const { readings: r, messages: m, message_log: l, dead_letters: d } = columns;
  const id = parseUuid(message.id ?? uuidV7((message.receivedUs ?? RECEIVED_US) / 1_000));
  if (id === null) throw new RangeError('not a UUID');
  const origin = (table: typeof r | typeof m | typeof l | typeof d): void => {
    table.org.addText(message.org ?? 'acme');
    table.channel.addText(message.channel ?? 'room');
    table.subtopic.addText(message.subtopic ?? '');
    table.publisher.addText(message.publisher ?? 'thing');
    table.protocol.addText(message.protocol ?? 'mqtt');
    table.received.add(message.receivedUs ?? RECEIVED_US);
    table.partition.add(partition);
    table.offset.add(offset);
  };
  const expiresS = message.expiresS ?? EXPIRES_NEVER;
  r.expires.add(expiresS, message.readings?.length ?? 0);
  if (message.payload !== undefined) m.expires.add(expiresS);
  d.expires.add(expiresS, message.deadLetters?.length ?? 0);
  (message.readings ?? []).forEach((reading, index) => {
    origin(r);
    r.index.add(index);
    r.name.addText(reading.name);
    r.unit.addText(reading.unit ?? '');
    r.time.addMicroseconds(reading.timeUs);
    r.kind.addText(kindOf(reading));
    if (reading.value === undefined) r.value.addNull();
    else r.value.add(reading.value);
    r.stringValue.addText(reading.stringValue ?? '');
    if (reading.boolValue === undefined) r.boolValue.addNull();
    else r.boolValue.add(reading.boolValue ? 1 : 0);
    r.dataValue.addBytes(reading.dataValue ?? new Uint8Array(0));
    if (reading.sum === undefined) r.sum.addNull();
    else r.sum.add(reading.sum);
    if (reading.updateTime === undefined) r.updateTime.addNull();
    else r.updateTime.add(reading.updateTime);
  });
  if (message.payload !== undefined) {
    m.id.add(id);
    origin(m);
    m.contentType.addText(message.contentType ?? 'application/octet-stream');
    m.size.add(message.payload.length);
    m.payload.addBytes(message.payload);
  }
  for (const dead of message.deadLetters ?? []) {
    d.id.add(id);
    origin(d);
    d.contentType.addText(message.contentType ?? 'application/senml+json');
    if (dead.index === null) d.recordIndex.addNull();
    else d.recordIndex.add(dead.index);
    d.reason.addText(dead.reason);
    d.detail.addText('as told');
    d.payload.addBytes(dead.payload);
  }
  const readingCount = message.readings?.length ?? 0;
  l.id.add(id);
  origin(l);
  l.contentType.addText(message.contentType ?? 'application/senml+json');
  l.size.add(message.payload?.length ?? 0);
  l.decision.addText('admitted');
  l.readings.add(readingCount);
  l.deadLetters.add(message.deadLetters?.length ?? 0);
  l.stored.addText(readingCount > 0 ? 'readings' : message.payload === undefined ? 'nothing' : 'payload');
  l.reason.addText(message.deadLetters?.find((dead) => dead.index === null)?.reason ?? '');
}

function kindOf(reading: GivenReading): string {
  if (reading.value !== undefined) return 'number';
  if (reading.stringValue !== undefined) return 'string';
  if (reading.boolValue !== undefined) return 'bool';
  return reading.dataValue === undefined ? 'sum' : 'data';
}
