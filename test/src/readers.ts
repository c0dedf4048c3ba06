import {
  type Attachment,
  type ChannelRecord,
  connectionRules,
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
  type Sealer,
  type SubjectRecord,
  type Subscriber,
  uuidV7,
} from '@millrace/core';
import { expect } from 'vitest';
import { eventually } from './millrace.ts';

const ORG = 'org-1';
export const CHANNELS = Array.from({ length: 20 }, (_, index) => `channel-${index}`);

/** What the gate asks: things that are connected to every channel. */
export class Connections implements Directory {
  version = 1;
  readonly #listeners = new Set<(change: DirectoryChange) => void>();
  readonly cut = new Set<string>();

  async thingByKey(): Promise<null> {
    return null;
  }
  async bearer(): Promise<null> {
    return null;
  }
  async thingByCertificate(): Promise<null> {
    return null;
  }
  async redeemTicket(): Promise<null> {
    return null;
  }
  async subject(id: string): Promise<SubjectRecord | null> {
    return { kind: 'thing', id, org: ORG, type: 'device', enabled: true, metadata: {}, epoch: 0 };
  }
  async channel(id: string): Promise<ChannelRecord | null> {
    if (!CHANNELS.includes(id)) return null;
    return { id, org: ORG, enabled: true, alias: null, contentType: null, groups: [], profile: {}, limits: {} };
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
export class Reader implements Subscriber<string> {
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

/** Appends messages to all channels in turn and waits until all are durable. */
export async function publish(log: Log, sealer: Sealer, count: number): Promise<void> {
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
    sealer.seal(sealed, mac);
    const record = encoder.encode({
      ...sealed,
      protocol: Protocol.http,
      contentType: 'text/plain',
      admission: { version: 1, mac },
    });
    log.append(partitionOf(Buffer.from(channel), log.partitionCount), channel, record, receipt);
    if (index % 100 === 99) await new Promise((resolve) => setImmediate(resolve));
  }
  await eventually('all is durable', 60_000, async () => refused !== null || durable === count);
  expect(refused).toBeNull();
}
