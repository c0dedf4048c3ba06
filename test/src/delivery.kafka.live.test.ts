import { createLogger, createMetrics } from '@millrace/core';
import { createDelivery } from '@millrace/ingest';
import { kafkaLog } from '@millrace/log';
import { kafkaAvailable, startKafka } from '@millrace/log/testing';
import { createCredentials, createGate, createSealer } from '@millrace/policy';
import { afterAll, describe, expect, test } from 'vitest';
import { eventually } from './millrace.ts';
import { CHANNELS, Connections, publish, Reader } from './readers.ts';

const PARTITIONS = 6;
const missing = kafkaAvailable();

describe.skipIf(missing !== null)(`delivery from Apache Kafka${missing === null ? '' : ` (${missing})`}`, () => {
  const ends: (() => Promise<void>)[] = [];
  afterAll(async () => {
    for (const end of ends.reverse()) await end();
  }, 120_000);

  test('gives everybody all of its own in order: the quick, the slow, and who comes back', {
    timeout: 300_000,
  }, async () => {
    const kafka = await startKafka();
    ends.push(() => kafka.stop());
    const tools = { metrics: createMetrics(), logger: createLogger({ level: 'silent' }) };
    const started = await kafkaLog({
      brokers: kafka.brokers,
      replication: -1,
      pendingBytesMax: 67_108_864,
      recordBytesMax: 1_048_576,
      ...tools,
    }).start();
    ends.push(() => started.stop());
    const log = await started.value.topic({
      topic: 'millrace.messages',
      partitionCount: PARTITIONS,
      retentionMs: 3_600_000,
      retentionBytes: 1_073_741_824,
    });
    const secret = new Uint8Array(32).fill(5);
    const sealer = createSealer(secret);
    const gate = createGate({ directory: new Connections(), credentials: createCredentials({ secret }), sealer });
    ends.push(async () => gate.stop());
    const delivery = createDelivery({ log, gate, verify: true, ...tools });
    ends.push(() => delivery.stop());
    const reader = async (name: string, window: number): Promise<Reader> => {
      const identified = await gate.identify({ kind: 'subject', id: name });
      if (identified.kind === 'refused') throw new Error(identified.reason);
      const made = new Reader(identified.principal, window);
      made.attachment = delivery.attach(made);
      return made;
    };

    await publish(log, sealer, 1_000);
    const everything = { channel: null, subtopic: '#' };
    const quick = await reader('quick', Number.POSITIVE_INFINITY);
    const slow = await reader('slow', 200);
    const single = await reader('single', Number.POSITIVE_INFINITY);
    const back = await reader('back', Number.POSITIVE_INFINITY);
    await quick.attachment?.subscribe(everything, 't');
    await slow.attachment?.subscribe(everything, 't');
    await single.attachment?.subscribe({ channel: CHANNELS[3] as string, subtopic: 'room/1' }, 't');
    const start = Array.from({ length: PARTITIONS }, (_, partition) => ({ partition, offset: 0 }));
    await back.attachment?.subscribe(everything, 't', start);
    await publish(log, sealer, 4_000);
    await eventually('everybody has all', 120_000, async () =>
      [quick.count >= 4_000, slow.count >= 4_000, single.count >= 4_000 / CHANNELS.length, back.count >= 5_000].every(
        Boolean,
      ),
    );
    const well = { disorder: 0, gaps: 0, over: 0 };
    expect(quick).toMatchObject({ count: 4_000, ...well });
    expect(slow).toMatchObject({ count: 4_000, ...well });
    expect(slow.refused).toBeGreaterThan(0);
    expect(single).toMatchObject({ count: 4_000 / CHANNELS.length, ...well });
    expect(back).toMatchObject({ count: 5_000, ...well });
    const [position] = quick.attachment?.positions() ?? [];
    if (position === undefined) throw new Error('it stands nowhere');
    const { partition, offset } = position;
    expect(await delivery.at({ partition, offset: offset - 1 })).toMatchObject({ partition, offset: offset - 1 });
    expect(await delivery.at(position)).toBeNull();
  });
});
