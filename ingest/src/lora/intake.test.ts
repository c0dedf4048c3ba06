import { createLogger, createMetrics, type Log, Protocol, readConfig } from '@millrace/core';
import { expect, test } from 'vitest';
import { Client } from '../live/client.ts';
import { ORG, TestGate } from '../testing/gate.ts';
import { MemoryLog } from '../testing/memory-log.ts';
import { LoraConfig } from './config.ts';
import { readEvent } from './events/read-event.ts';
import { Intake } from './intake.ts';
import { MemoryDirectory } from './testing/memory-directory.ts';

const PEER = { remoteAddress: '192.0.2.1', tls: true, mutualTls: false };

test('dead letters of a caller count as its messages: it must keep to the rate of its channel', async () => {
  const gate = new TestGate();
  gate.limits = { messagesPerSecond: 0.01 };
  const directory = new MemoryDirectory();
  directory.addChannel('app');
  const intake = new Intake({
    config: readConfig(LoraConfig, {}),
    log: new MemoryLog(1) as unknown as Log,
    gate,
    directory,
    codecs: null,
    metrics: createMetrics(),
    logger: createLogger({ level: 'silent' }),
    events: { about: () => null, taken: () => {} },
  });
  const caller = await Client.identify(gate, { kind: 'key', key: 'many-bridges' }, Protocol.lora, PEER);
  if (typeof caller === 'string') throw new Error(caller);
  const source = { org: ORG, server: null, caller, peer: PEER, contentType: 'application/json', patience: null };
  const taken = [];
  for (const devEui of ['0101010101010101', '0202020202020202', '0303030303030303']) {
    const bytes = Buffer.from(JSON.stringify({ deviceInfo: { devEui, applicationId: 'app' }, fPort: 1, data: 'AQ==' }));
    const read = readEvent('chirpstack-v4', 'json', 'up', bytes);
    taken.push(await intake.take(source, read, bytes, { applicationId: '', otherwise: ORG }));
  }
  intake.stop();
  expect(taken[0]).toMatchObject({ kind: 'dead', reason: 'unknown_device' });
  expect(taken.slice(1)).toMatchObject(Array(2).fill({ kind: 'refused', refusal: { status: 429 } }));
});
