import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Attachment,
  type ChannelRecord,
  connectionRules,
  createLogger,
  createMetrics,
  type DeliveredMessage,
  type Directory,
  type DirectoryChange,
  EnvelopeEncoder,
  type Log,
  type PolicyRule,
  type Principal,
  Protocol,
  parseUuid,
  partitionOf,
  type SubjectRecord,
  type Subscriber,
  uuidV7,
} from '@millrace/core';
import { createDelivery } from '@millrace/ingest';
import { embeddedLog } from '@millrace/log';
import { createCredentials, createGate, createSealer } from '@millrace/policy';
import { afterAll, describe, expect, test } from 'vitest';
import { eventually } from './millrace.ts';

const ORG = 'org-1';
const PARTITIONS = 2;
const CHANNELS = Array.from({ length: 20 }, (_, index) => `channel-${index}`);
const MESSAGES = 20_000;
const SUBSCRIBERS = 300;

/** What the gate asks: things that are connected to every channel. */
class Connections implements Directory {
  version = 1;
  readonly #listeners = new Set<(change: DirectoryChange) => void>();
  readonly cut = new Set<string>();

  async thingByKey(): Promise<null> {
    return null;
  }
  async thingByCertificate(): Promise<null> {
    return null;
  }
  async redeemTicket(): Promise<null> {
    return null;
  }
  async subject(id: string): Promise<SubjectRecord | null> {
    return { kind: 'thing', id, org: ORG, enabled: true, metadata: {} };
  }
  async channel(id: string): Promise<ChannelRecord | null> {
    return CHANNELS.includes(id) ? { id, org: ORG, enabled: true, alias: null, contentType: null } : null;
  }
  async rules(subject: string, org: string): Promise<readonly PolicyRule[]> {
    if (org !== ORG || this.cut.has(subject)) return [];
    return CHANNELS.flatMap((channel) => connectionRules(subject, ORG, channel, { publish: false, subscribe: true }));
  }
  onChange(listener: (change: DirectoryChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  disconnect(subject: string): void {
    this.cut.add(subject);
    this.version++;
    const change: DirectoryChange = {
      version: this.version,
      entity: 'connection',
      id: subject,
      org: ORG,
      voids: [subject],
    };
    for (const listener of this.#listeners) listener(change);
  }
}

/** Takes so many at once, then refuses until it is asked again a few turns later. */
class Reader implements Subscriber<string> {
  readonly principal: Principal;
  readonly context = {
    protocol: Protocol.mqtt,
    remoteAddress: '192.0.2.1',
    tls: false,
    mutualTls: false,
    nowMs: Date.now(),
  };
  attachment: Attachment<string> | null = null;
  readonly last = new Map<number, number>();
  readonly counts = new Map<string, number>();
  count = 0;
  refused = 0;
  disorder = 0;
  over = 0;
  gaps = 0;
  readonly #window: number;
  #room: number;

  constructor(principal: Principal, window: number) {
    this.principal = principal;
    this.#window = window;
    this.#room = window;
  }

  offer({ partition, offset, channel, payload }: DeliveredMessage): boolean {
    if (this.#room-- <= 0) {
      this.refused++;
      setTimeout(() => {
        this.#room = this.#window;
        this.attachment?.resume();
      }, 1);
      return false;
    }
    if (offset <= (this.last.get(partition) ?? -1) || payload.length === 0) this.disorder++;
    this.last.set(partition, offset);
    this.counts.set(channel, (this.counts.get(channel) ?? 0) + 1);
    this.count++;
    return true;
  }
  gap(): void {
    this.gaps++;
  }
  ended(): void {
    this.over++;
  }
}

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

  /** Appends messages round robin, `perTurn` each turn of the event loop, and waits until all are durable. */
  async function publish(log: Log, gate: { sealer: ReturnType<typeof createSealer> }, count: number): Promise<void> {
    const encoder = new EnvelopeEncoder();
    const mac = new Uint8Array(16);
    let durable = 0;
    let refused: unknown = null;
    const receipt = {
      appended: () => {
        durable++;
      },
      refused: (error: unknown) => {
        refused = error;
      },
    };
    for (let index = 0; index < count; index++) {
      const channel = CHANNELS[index % CHANNELS.length] as string;
      const sealed = {
        id: parseUuid(uuidV7()) as Uint8Array,
        org: ORG,
        channel,
        subtopic: 'room/1',
        publisher: 'publisher',
        version: 1,
        receivedUs: Date.now() * 1_000,
        payload: Buffer.from(`${index}`),
      };
      gate.sealer.seal(sealed, mac);
      const record = encoder.encode({
        ...sealed,
        protocol: Protocol.http,
        contentType: 'text/plain',
        admission: { version: 1, mac },
      });
      log.append(partitionOf(Buffer.from(channel), PARTITIONS), channel, record, receipt);
      if (index % 100 === 99) await new Promise((resolve) => setImmediate(resolve));
    }
    await eventually('all is durable', 60_000, async () => refused !== null || durable === count);
    expect(refused).toBeNull();
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
    await publish(log, gate, MESSAGES);
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
    await publish(log, gate, 1_000);
    back.attachment = delivery.attach(back);
    await back.attachment.subscribe({ channel: null, subtopic: '#' }, 't', positions);
    await eventually('it has what it missed', 60_000, async () => back.count >= MESSAGES + 1_000);
    expect(back).toMatchObject({ count: MESSAGES + 1_000, disorder: 0, gaps: 0 });

    // Who is disconnected gets nothing more, and is told.
    const cut = readers[2] as Reader;
    const witness = readers[22] as Reader;
    connections.disconnect('thing-2');
    const before = { cut: cut.count, witness: witness.count };
    await publish(log, gate, 1_000);
    await eventually('the other has them', 60_000, async () => witness.count >= before.witness + 50);
    await eventually('it is told', 60_000, async () => cut.over === 1);
    expect(cut.count).toBe(before.cut);
  });
});
