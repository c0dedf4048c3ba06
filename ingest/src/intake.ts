import {
  appendOne,
  EnvelopeEncoder,
  type Gate,
  type IntakeMessage,
  type Log,
  LogError,
  type MessageIntake,
  type Metrics,
  type Position,
  Protocol,
  parseUuid,
  partitionOf,
  uuidText,
  writeUuidV7,
} from '@millrace/core';

const utf8 = new TextEncoder();

export interface MessageIntakeOptions {
  readonly log: Log;
  readonly gate: Pick<Gate, 'sealer'>;
  readonly metrics: Metrics;
  /** @units µs since 1970 */
  readonly nowUs?: () => number;
}

/** What the platform itself puts on the log, under its own seal: no policy judged it, so it names version 0. */
export function messageIntake({ log, gate, metrics, nowUs }: MessageIntakeOptions): MessageIntake {
  const encoder = new EnvelopeEncoder();
  const now = nowUs ?? (() => Date.now() * 1_000);
  const counted = metrics.counter(
    'millrace_intake_messages_total',
    'Messages that the platform itself put on the log (imports, replays), by outcome: accepted, or why not.',
    ['outcome'],
  );
  return {
    async append(message: IntakeMessage): Promise<Position & { readonly id: string }> {
      const { org, channel, subtopic, publisher, payload } = message;
      const receivedUs = now();
      const id = (message.id === undefined ? null : parseUuid(message.id)) ?? new Uint8Array(16);
      if (message.id === undefined) writeUuidV7(id, 0, Math.floor(receivedUs / 1_000));
      const mac = new Uint8Array(16);
      gate.sealer.seal({ id, org, channel, subtopic, publisher, version: 0, receivedUs, payload }, mac);
      const record = encoder.encode({
        id,
        org,
        channel,
        subtopic,
        publisher,
        protocol: message.protocol ?? Protocol.http,
        contentType: message.contentType,
        receivedUs,
        payload,
        dedupKey: message.dedupKey,
        timeUs: message.timeUs,
        admission: { version: 0, mac },
      });
      try {
        const partition = partitionOf(utf8.encode(channel), log.partitionCount);
        const { offset } = await appendOne(log, partition, channel, record);
        counted.inc({ outcome: 'accepted' });
        return { partition, offset, id: uuidText(id) };
      } catch (error) {
        counted.inc({ outcome: error instanceof LogError ? error.code : 'fault' });
        throw error;
      }
    },
  };
}
