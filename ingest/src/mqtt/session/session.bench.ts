// What a session adds to the delivery of a message: `node ingest/dist/mqtt/session/session.bench.js` after a build
// (with --expose-gc also the memory of idle sessions).

import {
  type Attachment,
  createLogger,
  createMetrics,
  type DeliveredMessage,
  type Delivery,
  Protocol,
  type Subscriber,
  type Subscription,
} from '@millrace/core';
import { TestGate } from '../../testing/gate.ts';
import type { MqttQos, Outlet, Session } from '../contract.ts';
import { createSessions } from './sessions.ts';
import { MemorySessionStore } from './testing/memory-stores.ts';
import { CONFIG, thing } from './testing/stage.ts';

const ROUNDS = 5;
/** All get one topic, so nothing is ever kept with a message. */
const EMPTY = new Map<string, Buffer>();
const MESSAGES = 200_000;

interface Seat {
  readonly subscriber: Subscriber;
  readonly subscriptions: Subscription[];
}

/** A delivery that only remembers who subscribed to what. */
class Seats implements Delivery {
  readonly all: Seat[] = [];
  attach<Tag>(subscriber: Subscriber<Tag>): Attachment<Tag> {
    const seat: Seat = { subscriber: subscriber as Subscriber, subscriptions: [] };
    this.all.push(seat);
    return {
      subscribe: async (filter, tag) => {
        const subscription = { filter, channel: filter.channel, tag };
        seat.subscriptions.push(subscription);
        return { kind: 'subscribed', subscription, from: [] };
      },
      unsubscribe() {},
      resume() {},
      moveBack() {},
      positions: () => [],
      detach() {},
    };
  }
  async at(): Promise<null> {
    return null;
  }
}

class Sink implements Outlet {
  readonly principal;
  readonly context = { protocol: Protocol.mqtt, remoteAddress: '', tls: false, mutualTls: false, nowMs: 0 };
  readonly unsentBytes = 0;
  bytes = 0;
  lastId = 0;
  constructor(gate: TestGate, name: string) {
    this.principal = thing(gate, name);
  }
  write(head: Buffer, payload?: Buffer): void {
    this.bytes += head.length + (payload?.length ?? 0);
    const topicAt = (head[1] as number) < 128 ? 2 : 3;
    this.lastId = head.readUInt16BE(topicAt + 2 + head.readUInt16BE(topicAt));
  }
  close(): void {}
}

class Message implements DeliveredMessage {
  readonly partition = 0;
  readonly id = 'i';
  readonly org = 'o';
  readonly channel = 'chan-a';
  readonly subtopic = 's/t';
  readonly publisher = 'p';
  readonly protocol = Protocol.mqtt;
  readonly contentType = 'application/json';
  readonly receivedUs = 0;
  readonly qos = 2;
  readonly retain = false;
  readonly encoded = EMPTY;
  readonly payload: Buffer;
  readonly offset: number;
  constructor(payload: Buffer, offset: number) {
    this.payload = payload;
    this.offset = offset;
  }
}

async function open(subscribers: number, qos: MqttQos) {
  const gate = new TestGate();
  const delivery = new Seats();
  const sessions = createSessions({
    delivery,
    store: new MemorySessionStore(),
    retained: null,
    gate,
    config: CONFIG,
    metrics: createMetrics(),
    logger: createLogger({ level: 'silent' }),
  });
  const clients: { session: Session; sink: Sink }[] = [];
  for (let index = 0; index < subscribers; index++) {
    const sink = new Sink(gate, 'bench');
    const key = { owner: 'bench', clientId: `c${index}` };
    const { session } = await sessions.open({ key, clean: true, outlet: sink });
    session.begin();
    const filters = [{ topic: 'channels/chan-a/messages/#', qos }];
    session.granted(filters, await session.subscribe(filters));
    clients.push({ session, sink });
  }
  return { sessions, clients, seats: delivery.all };
}

async function measure(name: string, subscribers: number, qos: MqttQos, size: number): Promise<void> {
  const { sessions, clients, seats } = await open(subscribers, qos);
  const count = Math.ceil(MESSAGES / subscribers);
  const payload = Buffer.alloc(size, 65);
  const nanoseconds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const started = performance.now();
    for (let index = 0; index < count; index++) {
      const one = new Message(payload, index);
      for (let at = 0; at < subscribers; at++) {
        const { subscriber, subscriptions } = seats[at] as Seat;
        const { session, sink } = clients[at] as (typeof clients)[0];
        if (!subscriber.offer(one, subscriptions)) throw new Error('refused');
        if (qos === 1) session.onPuback(sink.lastId);
      }
    }
    nanoseconds.push(((performance.now() - started) * 1_000_000) / (count * subscribers));
  }
  nanoseconds.sort((one, other) => one - other);
  console.log(`${name.padEnd(44)} ${(nanoseconds[ROUNDS >> 1] as number).toFixed(0)} ns a delivery`);
  sessions.stop();
}

for (const size of [50, 250, 2_000]) {
  for (const qos of [0, 1] as const) {
    await measure(`QoS ${qos}, 1 subscriber, ${size} B`, 1, qos, size);
    await measure(`QoS ${qos}, 1,000 subscribers, ${size} B`, 1_000, qos, size);
  }
}
if (typeof globalThis.gc === 'function') {
  globalThis.gc();
  const before = process.memoryUsage().heapUsed;
  const { clients } = await open(10_000, 1);
  globalThis.gc();
  const bytes = (process.memoryUsage().heapUsed - before) / clients.length;
  console.log(`memory of a session with one filter (and its share of the bench)  ${bytes.toFixed(0)} B`);
}
