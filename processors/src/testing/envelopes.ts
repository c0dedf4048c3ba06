import { EnvelopeEncoder, type EnvelopeFields, Protocol, parseUuid, uuidV7 } from '@millrace/core';
import { RepeatTable } from '../batch/repeat-table.ts';
import type { BatchTask } from '../batch/task.ts';
import { createSealer } from './plain-enforcer.ts';

export const SECRET = new Uint8Array(32).fill(7);
export const RECEIVED_US = 1_795_200_000_000_000;

const encoder = new EnvelopeEncoder();
const sealer = createSealer(SECRET);

export interface MessageFields extends Partial<Omit<EnvelopeFields, 'payload' | 'admission'>> {
  readonly payload?: Uint8Array | string;
  /** Bears an admission that holds. On by default. */
  readonly sealed?: boolean;
}

/** An envelope of its own. */
export function envelopeOf(fields: MessageFields = {}): Uint8Array {
  const { sealed = true, payload = '[{"n":"x","v":1}]', ...rest } = fields;
  const full = {
    id: parseUuid(uuidV7()) ?? new Uint8Array(16),
    org: 'org',
    channel: 'channel',
    subtopic: '',
    publisher: 'thing',
    protocol: Protocol.http,
    contentType: 'application/senml+json',
    receivedUs: RECEIVED_US,
    ...rest,
    payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
  };
  if (!sealed) return encoder.encode(full).slice();
  const mac = new Uint8Array(16);
  const text = (given: string | Uint8Array): string =>
    typeof given === 'string' ? given : Buffer.from(given).toString();
  sealer.seal(
    {
      ...full,
      org: text(full.org),
      channel: text(full.channel),
      subtopic: text(full.subtopic),
      publisher: text(full.publisher),
      version: 1,
    },
    mac,
  );
  return encoder.encode({ ...full, admission: { version: 1, mac } }).slice();
}

/** A task as a lane makes it, of records that stand at 0, 1, … */
export function taskOf(records: readonly Uint8Array[], options: Partial<BatchTask> = {}): BatchTask {
  const bytes = new Uint8Array(records.reduce((size, record) => size + 4 + record.length, 0));
  let at = 0;
  for (const record of records) {
    new DataView(bytes.buffer).setUint32(at, record.length, true);
    bytes.set(record, at + 4);
    at += 4 + record.length;
  }
  return {
    partition: 0,
    first: 0,
    last: records.length - 1,
    bytes,
    offsets: null,
    cutAtMonth: false,
    nowUs: RECEIVED_US,
    raw: 'non-senml',
    directoryVersion: 1,
    grants: [],
    profilesVersion: 0,
    profiles: null,
    repeats: RepeatTable.create(records.length).buffer,
    repeatWindow: { recordsMax: 1_000, secondsMax: 3_600 },
    learns: false,
    inHand: null,
    ...options,
  };
}
