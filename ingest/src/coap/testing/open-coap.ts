import {
  type AuditTrail,
  type Committed,
  createLogger,
  createMetrics,
  EnvelopeReader,
  type Log,
  type MessageFate,
  type MessageOrigin,
  type Metrics,
  type Presence,
  protocolNames,
  type Reading,
  type ReadingsQuery,
  type ReadingsStore,
  readConfig,
} from '@millrace/core';
import { createDelivery } from '../../delivery/delivery.ts';
import { LiveGate } from '../../live/testing/live-gate.ts';
import { MemoryLog } from '../../testing/memory-log.ts';
import { CoapIngestConfig } from '../config.ts';
import type { CoapResource } from '../contract.ts';
import { type CoapService, coapServer } from '../server.ts';
import { RawCoap } from './raw-coap.ts';

/** A log whose processors have come as far as a test says. */
export class ProcessedLog extends MemoryLog {
  processed = 0;
  async committed(): Promise<Committed> {
    return { offset: this.processed, metadata: '' };
  }
}

/** A store that answers what a test says. */
export class AnsweringStore {
  fates: MessageFate[] = [];
  payloads = new Map<string, Buffer>();
  answers: Reading[] = [];
  readonly asked: (MessageOrigin | ReadingsQuery)[] = [];
  /** What every question meets. */
  failure: Error | null = null;
  /** What is waited for before one is answered. */
  before: () => Promise<void> = async () => {};

  async lastMessage(of: MessageOrigin): Promise<MessageFate | null> {
    this.#ask(of);
    await this.before();
    const { org, channel, subtopic } = of;
    return (
      this.fates.findLast((fate) => fate.org === org && fate.channel === channel && fate.subtopic === subtopic) ?? null
    );
  }

  async readings(query: ReadingsQuery) {
    this.#ask(query);
    const { offset, limit } = query;
    return { total: 0, totalExact: false, offset, limit, readings: this.answers };
  }

  async payload(id: string) {
    const bytes = this.payloads.get(id);
    return bytes === undefined ? null : { bytes };
  }

  #ask(question: MessageOrigin | ReadingsQuery): void {
    if (this.failure !== null) throw this.failure;
    this.asked.push(question);
  }
}

export interface OpenCoap {
  readonly url: string;
  readonly service: CoapService;
  readonly log: ProcessedLog;
  readonly gate: LiveGate;
  readonly store: AnsweringStore;
  readonly metrics: Metrics;
  readonly denials: string[];
  readonly seen: string[];
  client(): Promise<RawCoap>;
  /** What is on the log, oldest first. */
  messages(): { channel: string; subtopic: string; contentType: string; payload: string; protocol: string }[];
  metric(line: string): Promise<number>;
  drain(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** The CoAP server on a free port, over a gate that knows a few things and a log in memory. */
export async function openCoap(
  settings: Readonly<Record<string, string>> = {},
  resources: readonly CoapResource[] = [],
): Promise<OpenCoap> {
  const log = new ProcessedLog(1);
  const gate = new LiveGate();
  const store = new AnsweringStore();
  const metrics = createMetrics();
  const logger = createLogger({ level: 'silent' });
  const denials: string[] = [];
  const seen: string[] = [];
  const audit: AuditTrail = {
    denied: ({ context, action, object, reason }) =>
      denials.push(`${protocolNames[context.protocol]} ${action} ${object}: ${reason}`),
  };
  const presence: Presence = {
    connected: () => () => {},
    seen: (thing, _org, protocol) => seen.push(`${thing} ${protocolNames[protocol]}`),
  };
  const shared = { log: log as unknown as Log, gate, metrics, logger };
  const delivery = createDelivery({ ...shared, verify: false, limits: { patrolMs: 20 } });
  const started = await coapServer({
    ...shared,
    host: '127.0.0.1',
    config: readConfig(CoapIngestConfig, { MILLRACE_COAP_PORT: '0', ...settings }),
    delivery,
    store: store as unknown as ReadingsStore,
    processorsGroup: 'processors',
    audit,
    presence,
  }).start();
  const service = started.value;
  service.mount(resources);
  const url = (await service.listen()) ?? '';
  const clients: RawCoap[] = [];
  return {
    url,
    service,
    log,
    gate,
    store,
    metrics,
    denials,
    seen,
    async client() {
      const client = await RawCoap.open(url);
      clients.push(client);
      return client;
    },
    messages() {
      const reader = new EnvelopeReader();
      return (log.records ?? []).map((record) => {
        if (!reader.open(record)) throw new Error('a malformed envelope');
        const { channel, subtopic, contentType } = reader;
        const protocol = protocolNames[reader.protocol] ?? '';
        return { channel, subtopic, contentType, payload: reader.payload.toString(), protocol };
      });
    },
    async metric(line) {
      const text = await metrics.registry.metrics();
      const found = text.split('\n').find((each) => each.startsWith(`${line} `));
      return found === undefined ? 0 : Number(found.slice(line.length + 1));
    },
    drain: () => started.drain(5_000),
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.close();
      await started.stop();
      await delivery.stop();
    },
  };
}
