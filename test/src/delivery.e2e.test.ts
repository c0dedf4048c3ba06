import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, createMetrics, type Principal } from '@millrace/core';
import { createDelivery } from '@millrace/ingest';
import { embeddedLog } from '@millrace/log';
import { createCredentials, createGate, createSealer } from '@millrace/policy';
import { afterAll, describe, expect, test } from 'vitest';
import { eventually } from './millrace.ts';
import { CHANNELS, Connections, publish, Reader } from './readers.ts';

const PARTITIONS = 2;
const MESSAGES = 20_000;
const SUBSCRIBERS = 300;

describe('delivery over the embedded log and the real gate', () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-delivery-'));
  const ends: (() => Promise<void>)[] = [];
  afterAll(async () => {
    for (const end of ends.reverse()) await end();
    rmSync(directory, { recursive: true, force: true });
  });

  async function open() {
    const metrics = createMetrics();
    const logger = createLogger({ level: 'silent' });
    const started = await embeddedLog({
      directory,
      durability: 'commit',
      bytesMax: 1_073_741_824,
      pendingBytesMax: 67_108_864,
      recordBytesMax: 4_194_304,
      metrics,
      logger,
    }).start();
    ends.push(() => started.stop());
    const log = await started.value.topic({
      topic: 'millrace.messages',
      partitionCount: PARTITIONS,
      retentionMs: 3_600_000,
      retentionBytes: 1_073_741_824,
    });
    const secret = new Uint8Array(32).fill(5);
    const connections = new Connections();
    const gate = createGate({
      directory: connections,
      credentials: createCredentials({ secret }),
      sealer: createSealer(secret),
    });
    ends.push(async () => gate.stop());
    const delivery = createDelivery({ log, gate, metrics, logger, verify: true });
    ends.push(() => delivery.stop());
    const principal = async (id: string): Promise<Principal> => {
      const identified = await gate.identify({ kind: 'subject', id });
      if (identified.kind === 'refused') throw new Error(identified.reason);
      return identified.principal;
    };
    return { log, gate, delivery, connections, principal };
  }

  test(`gives ${MESSAGES} messages to ${SUBSCRIBERS} subscribers, some of them slow, each all of its own in order`, {
    timeout: 240_000,
  }, async () => {
    const { log, gate, delivery, connections, principal } = await open();
    const readers: Reader[] = [];
    for (let index = 0; index < SUBSCRIBERS; index++) {
      // Every tenth is slow, every hundredth reads everything.
      const reader = new Reader(await principal(`thing-${index}`), index % 10 === 0 ? 20 : Number.POSITIVE_INFINITY);
      reader.attachment = delivery.attach(reader);
      const channel = index % 100 === 1 ? null : (CHANNELS[index % CHANNELS.length] as string);
      const answer = await reader.attachment.subscribe({ channel, subtopic: 'room/+' }, 't');
      expect(answer.kind).toBe('subscribed');
      readers.push(reader);
    }
    await publish(log, gate.sealer, MESSAGES);
    const expected = (index: number): number => (index % 100 === 1 ? MESSAGES : MESSAGES / CHANNELS.length);
    await eventually('everybody has all', 120_000, async () =>
      readers.every((reader, index) => reader.count >= expected(index)),
    );
    for (const [index, reader] of readers.entries()) {
      expect(reader).toMatchObject({ count: expected(index), disorder: 0, gaps: 0, over: 0 });
      expect(reader.counts.size).toBe(index % 100 === 1 ? CHANNELS.length : 1);
      if (index % 10 === 0) expect(reader.refused).toBeGreaterThan(0);
    }

    // Who comes back with a position gets the rest.
    const [, back] = readers as [Reader, Reader];
    const positions = back.attachment?.positions() ?? [];
    back.attachment?.detach();
    await publish(log, gate.sealer, 1_000);
    back.attachment = delivery.attach(back);
    await back.attachment.subscribe({ channel: null, subtopic: '#' }, 't', positions);
    await eventually('it has what it missed', 60_000, async () => back.count >= MESSAGES + 1_000);
    expect(back).toMatchObject({ count: MESSAGES + 1_000, disorder: 0, gaps: 0 });

    // Who is disconnected gets nothing more, and is told.
    const cut = readers[2] as Reader;
    const witness = readers[22] as Reader;
    connections.disconnect('thing-2');
    const before = { cut: cut.count, witness: witness.count };
    await publish(log, gate.sealer, 1_000);
    await eventually('the other has them', 60_000, async () => witness.count >= before.witness + 50);
    await eventually('it is told', 60_000, async () => cut.over === 1);
    expect(cut.count).toBe(before.cut);
  });
});
