import { setTimeout as sleep } from 'node:timers/promises';
import { Histogram } from '../../load/histogram.ts';
import { eachAtOnce, MqttClient, type PacketListener, sourceAddress } from './client.ts';
import { CpuMeter, quantiles } from './meter.ts';
import { PacketType, publishPacket, pubrelPacket } from './packets.ts';
import { dueOf, stampDue, textPayload } from './payload.ts';
import type { DeliverFigures, DeliverPlan } from './plan.ts';

// hot

const SILENCE_MS_MAX = 5_000;
const PUBACK = 0x40;
const PUBREC = 0x50;
const PUBCOMP = 0x70;

/** Takes what a subscriber is sent and answers it. Answers of one read leave in one write. */
export class Taking implements PacketListener {
  /** Called with the due time of each message.  @units µs since the generator began */
  readonly #took: (dueUs: number) => void;
  #answers = Buffer.allocUnsafe(64 * 1_024);
  #answersEnd = 0;
  lostCount = 0;

  constructor(took: (dueUs: number) => void) {
    this.#took = took;
  }

  packet(_client: MqttClient, header: number, bytes: Buffer, start: number, end: number): void {
    const type = header >> 4;
    if (type === PacketType.pubrel) {
      this.#answer(PUBCOMP, bytes, start);
      return;
    }
    if (type !== PacketType.publish) return;
    const qos = (header >> 1) & 3;
    const topicEnd = start + 2 + (((bytes[start] as number) << 8) | (bytes[start + 1] as number));
    const payloadStart = qos === 0 ? topicEnd : topicEnd + 2;
    if (payloadStart >= end) return;
    this.#took(dueOf(bytes, payloadStart));
    if (qos > 0) this.#answer(qos === 1 ? PUBACK : PUBREC, bytes, topicEnd);
  }

  readEnd(client: MqttClient): void {
    if (this.#answersEnd === 0) return;
    client.write(Buffer.from(this.#answers.subarray(0, this.#answersEnd)));
    this.#answersEnd = 0;
  }

  lost(): void {
    this.lostCount++;
  }

  #answer(header: number, bytes: Buffer, idAt: number): void {
    if (this.#answersEnd + 4 > this.#answers.length) {
      const larger = Buffer.allocUnsafe(this.#answers.length * 2);
      this.#answers.copy(larger);
      this.#answers = larger;
    }
    const answers = this.#answers;
    const at = this.#answersEnd;
    answers[at] = header;
    answers[at + 1] = 2;
    answers[at + 2] = bytes[idAt] as number;
    answers[at + 3] = bytes[idAt + 1] as number;
    this.#answersEnd = at + 4;
  }
}

/** Of publishers only the releases of QoS 2 matter here: their acknowledgements are not waited for. */
class Releasing implements PacketListener {
  lostCount = 0;
  packet(client: MqttClient, header: number, bytes: Buffer, start: number): void {
    if (header >> 4 === PacketType.pubrec) client.write(pubrelPacket(bytes.readUInt16BE(start)));
  }
  readEnd(): void {}
  lost(): void {
    this.lostCount++;
  }
}

/** Publishes at a rate, and measures when each message reaches each subscriber. */
export async function deliver(plan: DeliverPlan): Promise<DeliverFigures> {
  const latency = new Histogram();
  const late = new Histogram();
  let received = 0;
  let countFromUs = Number.POSITIVE_INFINITY;
  const taking = new Taking((dueUs) => {
    if (dueUs < countFromUs) return;
    received++;
    latency.add(performance.now() * 1_000 - dueUs);
  });
  const subscribers = Array.from({ length: plan.subscribers }, (_, index) => new MqttClient(index, taking));
  await eachAtOnce(subscribers, 32, async (client) => {
    const options = { clientId: `sub-${client.index}`, localAddress: sourceAddress(client.index) };
    await client.open(plan.endpoint, plan.subscriber, options);
    await client.subscribe(plan.filter, plan.qos);
  });
  const releasing = new Releasing();
  const publishers = plan.publishers.map((_, index) => new MqttClient(index, releasing));
  await eachAtOnce(publishers, 32, (client) =>
    client.open(plan.endpoint, plan.publishers[client.index] as DeliverPlan['publishers'][number], {
      clientId: `pub-${client.index}`,
    }),
  );

  const payload = textPayload(plan.payloadSize);
  const packets = plan.publishers.map(({ topic }) => publishPacket(topic, plan.qos, 1, payload));
  const idOffset = plan.payloadSize + 2;
  let sent = 0;
  let next = 0;
  let id = 1;
  const send = (dueMs: number): void => {
    const packet = Buffer.from(packets[next] as Buffer);
    if (plan.qos > 0) packet.writeUInt16BE(id, packet.length - idOffset);
    stampDue(packet, plan.payloadSize, dueMs * 1_000);
    (publishers[next] as MqttClient).write(packet);
    sent++;
    next++;
    if (next === publishers.length) {
      next = 0;
      id = id === 65_535 ? 1 : id + 1;
    }
  };
  await offer(plan, plan.warmUpSeconds, send, null);
  const cpu = new CpuMeter();
  const start = performance.now();
  countFromUs = Math.round(start * 1_000);
  sent = 0;
  await offer(plan, plan.seconds, send, late);
  const seconds = (performance.now() - start) / 1_000;
  const generatorCores = cpu.cores();
  const receivedInTime = received;
  const expected = sent * plan.subscribers;
  let last = received;
  let movedAt = performance.now();
  while (received < expected && performance.now() - movedAt < SILENCE_MS_MAX) {
    await sleep(5);
    if (received === last) continue;
    last = received;
    movedAt = performance.now();
  }
  for (const client of [...publishers, ...subscribers]) client.close();
  return {
    offered: sent,
    deliveriesPerSecond: receivedInTime / seconds,
    latency: quantiles(latency),
    missing: Math.max(0, expected - received),
    surplus: Math.max(0, received - expected),
    generatorLate: quantiles(late),
    generatorCores,
  };
}

/** Messages fall due in steps of a millisecond, at exact times: what the generator comes late for is still counted from
 *  when it was due. */
async function offer(
  plan: DeliverPlan,
  seconds: number,
  send: (dueMs: number) => void,
  late: Histogram | null,
): Promise<void> {
  const start = performance.now();
  let offered = 0;
  for (let step = 1; step <= seconds * 1_000; step++) {
    const dueAt = start + step;
    let now = performance.now();
    while (now < dueAt) {
      await sleep(Math.max(1, Math.floor(dueAt - now)));
      now = performance.now();
    }
    late?.add((now - dueAt) * 1_000);
    const until = Math.floor((plan.messagesPerSecond * step) / 1_000);
    for (; offered < until; offered++) send(dueAt);
  }
}
