import { z } from '@hono/zod-openapi';
import {
  type DeadLetter,
  type DeadReason,
  EnvelopeReader,
  isUuid,
  type Log,
  type MessageFate,
  parseUuid,
  protocolNames,
} from '@millrace/core';
import { pageOf } from '../inventory/lookup.ts';
import { example } from './examples.ts';
import { orgOf, permit } from './identity.ts';
import { mayRead, receivedText } from './messages.ts';
import type { Plane } from './plane.ts';
import { notFound, Refusal } from './refusal.ts';
import { json, type Route, route } from './route.ts';
import { PageQuery, page } from './schemas.ts';

const tag = 'messages';

const FateAnswer = z
  .object({
    id: z.uuid(),
    status: z.enum(['accepted', 'stored', 'dead']),
    channel: z.string(),
    subtopic: z.string(),
    publisher: z.string(),
    protocol: z.string(),
    content_type: z.string(),
    received: z.iso.datetime(),
    size: z.int(),
    decision: z.string().optional(),
    readings: z.int(),
    dead_letters: z.int(),
    stored: z.string().optional(),
    reason: z.string().optional(),
    detail: z.string(),
    log: z.object({ partition: z.int(), offset: z.int() }),
  })
  .openapi('Fate');
const DeadLetterAnswer = z
  .object({
    id: z.uuid(),
    channel: z.string(),
    index: z.int().nullable().describe('Of the record in its pack; null: the whole message.'),
    reason: z.string(),
    detail: z.string(),
    payload: z.string(),
    encoding: z.enum(['utf8', 'base64']),
  })
  .openapi('DeadLetter');

export const fateRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/messages/{id}',
      tag,
      summary: 'What became of a message',
      answers: { 200: { description: 'Its fate.', schema: FateAnswer } },
      examples: [{ name: 'one that never was', parameters: { id: example.message }, status: 404 }],
    },
    async (call, plane) => {
      const id = (call.parameters.id ?? '').toLowerCase();
      await call.principal();
      if (!isUuid(id)) throw notFound('message');
      // Stored while we looked into the log: ask again.
      const fate =
        storedFate(await plane.store.fate(id)) ??
        (await plane.scans.run(() => waitingFate(plane, id))) ??
        storedFate(await plane.store.fate(id));
      if (fate === null) throw notFound('message');
      await mayRead(call, plane, fate.about);
      return json(200, fate.answer);
    },
  ),
  route(
    {
      method: 'get',
      path: '/dead-letters',
      tag,
      summary: 'Messages and records that could not be processed, newest first',
      query: PageQuery.extend({
        channel: z.string().max(128).optional().describe('Id of the channel.'),
        message: z.uuid().optional().describe('Id of the message.'),
        reason: z.string().max(64).optional().describe('Why it could not be processed.'),
      }),
      answers: { 200: { description: 'A page of dead letters.', schema: page('dead_letters', DeadLetterAnswer) } },
      examples: [{ name: 'of a channel', query: { channel: example.channel }, status: 200 }],
    },
    async (call, plane) => {
      const user = await call.user();
      const { scope } = await call.principal();
      const everyOrg = user.admin && scope === null && call.query.org === undefined;
      const org = everyOrg ? null : await orgOf(call, plane);
      if (org !== null) await permit(call, plane, org, 'deadletters', 'deadletters.read', { hidden: 'organisation' });
      const { channel, message, reason } = call.query;
      const found = await plane.store.deadLetters({
        org,
        ...pageOf(call.query),
        ...(channel === undefined ? {} : { channel }),
        ...(message === undefined ? {} : { message }),
        ...(reason === undefined ? {} : { reason }),
      });
      const { total, offset, limit, cursor } = found;
      return json(200, {
        total,
        offset,
        limit,
        ...(cursor === undefined ? {} : { cursor }),
        dead_letters: found.deadLetters.map(letter),
      });
    },
  ),
];

interface Told {
  readonly about: {
    readonly org: string;
    readonly channel: string;
    readonly subtopic: string;
    readonly publisher: string;
  };
  readonly answer: Readonly<Record<string, unknown>>;
}

function storedFate(fate: MessageFate | null): Told | null {
  if (fate === null) return null;
  const dropped = fate.reason === 'filtered' || fate.reason === 'duplicate';
  const dead = fate.reason !== '' && !dropped;
  return {
    about: fate,
    answer: {
      id: fate.id,
      status: dead ? 'dead' : 'stored',
      channel: fate.channel,
      subtopic: fate.subtopic,
      publisher: fate.publisher,
      protocol: fate.protocol,
      content_type: fate.contentType,
      received: receivedText(fate.receivedUs),
      size: fate.size,
      decision: fate.decision,
      readings: fate.readings,
      dead_letters: fate.deadLetters,
      stored: fate.stored,
      ...(fate.reason === '' ? {} : { reason: fate.reason }),
      detail: fate.reason === '' ? storedDetail(fate) : explain(fate.reason),
      log: { partition: fate.partition, offset: fate.offset },
    },
  };
}

function storedDetail({ stored, readings, deadLetters }: MessageFate): string {
  const kept =
    stored === 'readings'
      ? `Stored as ${readings} reading${readings === 1 ? '' : 's'}.`
      : stored === 'payload'
        ? 'Kept as it came.'
        : 'Processed; nothing of it is stored.';
  if (deadLetters === 0) return kept;
  return `${kept} ${deadLetters} record${deadLetters === 1 ? ' is a dead letter' : 's are dead letters'}: see GET /dead-letters?message=<id>.`;
}

/** What a look into the log may cost. */
const SCAN_BYTES_MAX = 64 * 1024 * 1024;
const SCAN_BATCH_BYTES = 1024 * 1024;
const SCAN_MS_MAX = 2_000;

/** Looks for a message among those that are not processed yet.
 *  @throws Refusal 503 if more is waiting than may be looked through */
async function waitingFate(plane: Plane, id: string): Promise<Told | null> {
  const { log } = plane;
  const wanted = parseUuid(id);
  if (log === null || wanted === null) return null;
  const budget = { bytes: SCAN_BYTES_MAX, endMs: performance.now() + SCAN_MS_MAX };
  for (let partition = 0; partition < log.partitionCount; partition++) {
    const found = await scan(log, plane.processorsGroup, partition, Buffer.from(wanted), budget);
    if (found !== null) return accepted(id, found);
  }
  return null;
}

interface Found {
  readonly reader: EnvelopeReader;
  readonly partition: number;
  readonly offset: number;
}

async function scan(
  log: Log,
  group: string,
  partition: number,
  wanted: Buffer,
  budget: { bytes: number; endMs: number },
): Promise<Found | null> {
  const [{ earliest, next }, committed] = await Promise.all([log.extent(partition), log.committed(group, partition)]);
  const reader = new EnvelopeReader();
  for (let from = Math.max(earliest, committed.offset); from < next; ) {
    if (budget.bytes <= 0 || performance.now() > budget.endMs)
      throw new Refusal(
        503,
        'So much waits to be processed that this message was not found in time. Try again later.',
        { 'retry-after': '5' },
      );
    const batch = await log.peek(partition, from, { bytesMax: SCAN_BATCH_BYTES });
    if (batch === null) return null;
    budget.bytes -= batch.bytes.length;
    const bytes = Buffer.from(batch.bytes.buffer, batch.bytes.byteOffset, batch.bytes.length);
    for (let at = 0, index = 0; index < batch.count; index++) {
      const size = bytes.readUInt32LE(at);
      if (reader.open(bytes, at + 4, at + 4 + size) && wanted.equals(reader.id))
        return { reader, partition, offset: batch.offsets?.[index] ?? batch.first + index };
      at += 4 + size;
    }
    from = batch.last + 1;
  }
  return null;
}

function accepted(id: string, { reader, partition, offset }: Found): Told {
  const { org, channel, subtopic, publisher } = reader;
  return {
    about: { org, channel, subtopic, publisher },
    answer: {
      id,
      status: 'accepted',
      channel,
      subtopic,
      publisher,
      protocol: protocolNames[reader.protocol] ?? 'unknown',
      content_type: reader.contentType,
      received: receivedText(String(reader.receivedUs)),
      size: reader.payload.length,
      readings: 0,
      dead_letters: 0,
      detail: 'Durable in the log and waiting to be processed.',
      log: { partition, offset },
    },
  };
}

function letter(dead: DeadLetter) {
  const bytes = Buffer.from(dead.payload.buffer, dead.payload.byteOffset, dead.payload.length);
  const text = textOf(bytes);
  return {
    id: dead.message,
    org: dead.org,
    channel: dead.channel,
    subtopic: dead.subtopic,
    publisher: dead.publisher,
    protocol: dead.protocol,
    content_type: dead.contentType,
    received: receivedText(dead.receivedUs),
    index: dead.index,
    reason: dead.reason,
    detail: dead.detail === '' ? explain(dead.reason) : dead.detail,
    payload: text ?? bytes.toString('base64'),
    encoding: text === null ? 'base64' : 'utf8',
    log: { partition: dead.partition, offset: dead.offset },
  };
}

function textOf(bytes: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

const EXPLANATIONS: Readonly<Record<DeadReason | 'filtered' | 'duplicate', string>> = {
  bad_envelope: 'The record in the log is no Millrace envelope.',
  forbidden: 'It bears no valid admission, and the policy does not let its publisher publish here.',
  malformed_json: 'The payload is no well-formed JSON.',
  malformed_cbor: 'The payload is no well-formed CBOR.',
  not_an_array: 'A SenML pack must be an array of records.',
  empty_pack: 'The SenML pack holds no record.',
  too_deep: 'The payload is nested too deeply.',
  too_many_records: 'The payload holds too many records.',
  no_reading: 'The payload holds no value that could be stored.',
  worker_failed: 'Processing this message failed again and again.',
  store_refused: 'The database does not take this message.',
  unknown_device: 'No thing has this DevEUI: make one with it as its external id, or let the network server provision.',
  unknown_application: 'No channel names this application: set metadata.lora.app_id of one.',
  codec_failed: 'The codec of the device could not decode the payload.',
  bad_event: 'The network server sent an event that is not understood.',
  not_an_object: 'A SenML record must be an object.',
  unsupported_version: 'The SenML version (bver) is not supported.',
  must_understand: 'A field whose name ends in "_" must be understood, and is not known.',
  missing_name: 'The record has no name, neither of its own nor from a base name.',
  bad_name: 'The name of the record holds characters that SenML does not allow.',
  no_value: 'The record has no value.',
  many_values: 'The record has more than one value.',
  bad_value: 'The value of the record is of the wrong type.',
  bad_field: 'A field of the record is of the wrong type.',
  time_out_of_range: 'The time of the record is outside of the years 1900 to 2262.',
  bad_time: 'The member of the record that holds its time, by the profile of the channel, holds none.',
  filtered: 'The profile of its channel keeps none of its readings.',
  duplicate: 'It repeats an earlier message: same publisher, channel and Idempotency-Key. That one counts.',
};
const explain = (reason: DeadReason | 'filtered' | 'duplicate' | ''): string =>
  reason === '' ? '' : EXPLANATIONS[reason];
