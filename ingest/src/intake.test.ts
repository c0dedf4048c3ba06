import { createMetrics, EnvelopeReader, type IntakeMessage, type Log, Protocol, uuidText } from '@millrace/core';
import { expect, test } from 'vitest';
import { messageIntake } from './intake.ts';
import { CHANNEL, ORG, TestGate, THING } from './testing/gate.ts';
import { MemoryLog } from './testing/memory-log.ts';

const RECEIVED_US = 1_790_000_000_000_000;
const MESSAGE: IntakeMessage = {
  org: ORG,
  channel: CHANNEL,
  subtopic: 'hall/1',
  publisher: THING,
  contentType: 'application/senml+json',
  payload: Buffer.from('[{"n":"t","v":1}]'),
  dedupKey: 'import:abc:0-1',
};

function open(partitionCount = 8) {
  const log = new MemoryLog(partitionCount);
  const gate = new TestGate();
  gate.keepSealed = true;
  const metrics = createMetrics();
  const intake = messageIntake({ log: log as unknown as Log, gate, metrics, nowUs: () => RECEIVED_US });
  return { log, gate, metrics, intake };
}

test('what it puts on the log is its publisher’s message, under the platform’s seal', async () => {
  const { log, gate, intake } = open();
  const { partition, offset, id } = await intake.append(MESSAGE);
  const batch = await log.peek(partition, offset, { bytesMax: 1_000_000 });
  if (batch === null) throw new Error('nothing is there');
  const envelope = new EnvelopeReader();
  expect(envelope.open(batch.bytes, 4)).toBe(true);
  expect(uuidText(envelope.id)).toBe(id);
  expect(envelope).toMatchObject({
    org: ORG,
    channel: CHANNEL,
    subtopic: 'hall/1',
    publisher: THING,
    contentType: 'application/senml+json',
    dedupKey: 'import:abc:0-1',
    protocol: Protocol.http,
    receivedUs: RECEIVED_US,
    timeUs: RECEIVED_US,
    admissionVersion: 0,
    isDeadLetter: false,
  });
  expect(envelope.payload.toString()).toBe('[{"n":"t","v":1}]');
  expect(envelope.mac).toHaveLength(16);
  const { payload, ...sealed } = gate.sealed[0] ?? {};
  expect(payload).toBe(MESSAGE.payload);
  expect(sealed).toEqual({
    id: new Uint8Array(envelope.id),
    org: ORG,
    channel: CHANNEL,
    subtopic: 'hall/1',
    publisher: THING,
    version: 0,
    receivedUs: RECEIVED_US,
  });
});

test('what is sent anew keeps the time and the protocol by which it first came', async () => {
  const { log, intake } = open();
  await intake.append({ ...MESSAGE, timeUs: 5_000_000, protocol: Protocol.mqtt });
  const envelope = new EnvelopeReader();
  expect(envelope.open(log.records?.[0] ?? new Uint8Array())).toBe(true);
  expect(envelope).toMatchObject({ timeUs: 5_000_000, protocol: Protocol.mqtt, receivedUs: RECEIVED_US });
});

test('messages of one channel stand behind one another, also when they are appended at once', async () => {
  const { intake } = open();
  const places = await Promise.all(Array.from({ length: 50 }, () => intake.append(MESSAGE)));
  expect(new Set(places.map(({ partition }) => partition)).size).toBe(1);
  expect(places.map(({ offset }) => offset)).toEqual(Array.from({ length: 50 }, (_, index) => index));
  expect(new Set(places.map(({ id }) => id)).size).toBe(50);
});

test('a log that takes nothing is an error of its own kind, and counted', async () => {
  const { log, metrics, intake } = open();
  log.refusal = 'LOG_FULL';
  await expect(intake.append(MESSAGE)).rejects.toMatchObject({ code: 'LOG_FULL', retry: 'later' });
  log.refusal = null;
  log.recordBytesMax = 10;
  await expect(intake.append(MESSAGE)).rejects.toMatchObject({ code: 'LOG_RECORD_TOO_LARGE' });
  log.recordBytesMax = 1_000_000;
  await intake.append(MESSAGE);
  const text = await metrics.registry.metrics();
  expect(text).toContain('millrace_intake_messages_total{outcome="LOG_FULL"} 1');
  expect(text).toContain('millrace_intake_messages_total{outcome="LOG_RECORD_TOO_LARGE"} 1');
  expect(text).toContain('millrace_intake_messages_total{outcome="accepted"} 1');
});
