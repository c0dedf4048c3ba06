import {
  type Attachment,
  createLogger,
  createMetrics,
  type DeliveredMessage,
  EnvelopeEncoder,
  type Log,
  type Position,
  type Principal,
  Protocol,
  parseUuid,
  partitionOf,
  type Subscriber,
  type Subscription,
  uuidV7,
} from '@millrace/core';
import { ORG, TestGate } from '../../testing/gate.ts';
import { MemoryLog } from '../../testing/memory-log.ts';
import type { DeliveryLimits } from '../config.ts';
import { createDelivery, type StoppableDelivery } from '../delivery.ts';

/** A subscriber that keeps what it gets, and takes or refuses as told. */
export class TestSubscriber implements Subscriber<string> {
  principal: Principal;
  readonly context = {
    protocol: Protocol.mqtt,
    remoteAddress: '127.0.0.1',
    tls: false,
    mutualTls: false,
    nowMs: Date.now(),
  };
  /** Texts of payloads. */
  readonly got: string[] = [];
  readonly messages: DeliveredMessage[] = [];
  /** The tags that each matched. */
  readonly tags: string[][] = [];
  readonly gaps: [from: Position, to: Position][] = [];
  readonly over: [tag: string, reason: string][] = [];
  /** So many more are taken before it refuses. */
  room = Number.POSITIVE_INFINITY;
  refusals = 0;
  /** Called in the middle of an offer. */
  onOffer: ((message: DeliveredMessage) => void) | null = null;

  constructor(principal: Principal) {
    this.principal = principal;
  }

  offer(message: DeliveredMessage, matched: readonly Subscription<string>[]): boolean {
    this.onOffer?.(message);
    if (this.room <= 0) {
      this.refusals++;
      return false;
    }
    this.room--;
    this.got.push(message.payload.toString());
    this.messages.push(message);
    this.tags.push(matched.map(({ tag }) => tag));
    return true;
  }

  gap(from: Position, to: Position): void {
    this.gaps.push([from, to]);
  }

  ended({ tag }: Subscription<string>, reason: string): void {
    this.over.push([tag, reason]);
  }
}

export interface Stage {
  readonly log: MemoryLog;
  readonly gate: TestGate;
  readonly delivery: StoppableDelivery;
  readonly metrics: ReturnType<typeof createMetrics>;
  principal(name: string): Principal;
  /** A new subscriber, attached. */
  join(name: string): { subscriber: TestSubscriber; attachment: Attachment<string> };
  /** Appends a message; durable when the event loop turns. */
  publish(channel: string, subtopic: string, text: string, of?: RecordOf): void;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Delivery over a log in memory and a gate that knows every thing called `many-…`. */
export function openStage(
  options: {
    readonly partitionCount?: number;
    readonly limits?: Partial<DeliveryLimits>;
    readonly verify?: boolean;
    readonly followTogether?: boolean;
    readonly log?: MemoryLog;
  } = {},
): Stage {
  const log = options.log ?? new MemoryLog(options.partitionCount);
  const gate = new TestGate();
  const metrics = createMetrics();
  const delivery = createDelivery({
    log: log as unknown as Log,
    gate,
    metrics,
    logger: createLogger({ level: 'silent' }),
    verify: options.verify ?? false,
    followTogether: options.followTogether ?? false,
    limits: { patrolMs: 20, retryMsMin: 5, retryMsMax: 40, ...options.limits },
  });
  const encode = recordMaker();
  const principal = (name: string): Principal => {
    const known = gate.identify({ kind: 'key', key: `many-${name}` });
    if (known instanceof Promise || known.kind !== 'known') throw new Error('the gate does not know it');
    return known.principal;
  };
  return {
    log,
    gate,
    delivery,
    metrics,
    principal,
    join(name) {
      const subscriber = new TestSubscriber(principal(name));
      return { subscriber, attachment: delivery.attach(subscriber) };
    },
    publish(channel, subtopic, text, of) {
      const partition = partitionOf(Buffer.from(channel), log.partitionCount);
      log.append(partition, channel, encode(channel, subtopic, text, of), { appended() {}, refused() {} });
    },
    [Symbol.asyncDispose]: () => delivery.stop(),
  };
}

/** Whose a record says that it is. */
export interface RecordOf {
  readonly org?: string;
  readonly publisher?: string;
}

/** Makes records; each is valid until the next. */
export function recordMaker(): (channel: string, subtopic: string, text: string, of?: RecordOf) => Uint8Array {
  const encoder = new EnvelopeEncoder();
  const mac = new Uint8Array(16).fill(7);
  return (channel, subtopic, text, { org = ORG, publisher = 'many-publisher' } = {}) =>
    encoder.encode({
      id: parseUuid(uuidV7()) as Uint8Array,
      org,
      channel,
      subtopic,
      publisher,
      protocol: Protocol.http,
      contentType: 'text/plain',
      receivedUs: Date.now() * 1_000,
      payload: Buffer.from(text),
      admission: { version: 1, mac },
    });
}

/** Waits until it is so. */
export async function until(what: string, holds: () => boolean, withinMs = 20_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
