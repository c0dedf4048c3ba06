import { setTimeout as sleep } from 'node:timers/promises';
import { Histogram } from '../../load/histogram.ts';
import { eachAtOnce, MqttClient, type PacketListener } from './client.ts';
import { CpuMeter, quantiles } from './meter.ts';
import { PacketType, PINGREQ, publishPacket, pubrelPacket } from './packets.ts';
import { textPayload } from './payload.ts';
import type { PublishFigures, PublishPlan } from './plan.ts';

// hot

const ACKNOWLEDGED_MS_MAX = 10_000;

/** What one connection sends, made once: the publishes of its whole window in a row, so that a run of packet ids is
 *  one slice and one write. */
interface Window {
  readonly publishes: Buffer;
  readonly publishSize: number;
  readonly releases: Buffer;
  readonly releaseSize: number;
  readonly sentAt: Float64Array;
  /** Publishes still to be sent, where a count was asked for. */
  left: number;
}

/** Publishes in a closed loop.  @holds acknowledgements come in the order of the publishes, as 3.1.1 asks; if not, the
 *  run is merely cut in more writes */
class Publishing implements PacketListener {
  readonly #plan: PublishPlan;
  readonly #windows: Window[] = [];
  readonly #latency = new Histogram();
  #now = 0;
  #counting = false;
  #sending = true;
  #count = 0;
  #inFlight = 0;
  #lost = 0;
  // The run of ids of the current read, [from, to): publishes to be sent again, or releases.
  #publishFrom = 0;
  #publishTo = 0;
  #releaseFrom = 0;
  #releaseTo = 0;

  constructor(plan: PublishPlan) {
    this.#plan = plan;
  }

  async run(): Promise<PublishFigures> {
    const { endpoint, publishers, warmUpSeconds, seconds, messagesEach } = this.#plan;
    const clients = publishers.map((_, index) => new MqttClient(index, this));
    for (const { topic } of publishers) this.#windows.push(this.#windowOf(topic));
    await eachAtOnce(clients, 32, async (client) => {
      const publisher = publishers[client.index] as (typeof publishers)[number];
      await client.open(endpoint, publisher, { clientId: `pub-${client.index}` });
    });
    this.#now = performance.now();
    for (const client of clients) this.#first(client);
    this.#now = 0;
    if (messagesEach === undefined) await sleep(warmUpSeconds * 1_000);
    const cpu = new CpuMeter();
    const start = performance.now();
    const before = messagesEach === undefined ? this.#count : 0;
    this.#counting = true;
    if (messagesEach === undefined) await sleep(seconds * 1_000);
    else await this.#settled();
    this.#counting = false;
    const took = (performance.now() - start) / 1_000;
    const publishes = this.#count - before;
    const generatorCores = cpu.cores();
    this.#sending = false;
    await this.#settled();
    for (const client of clients) client.close();
    return {
      publishes,
      publishesInAll: this.#count,
      publishesPerSecond: publishes / took,
      latency: quantiles(this.#latency),
      lost: this.#lost,
      generatorCores,
    };
  }

  packet(client: MqttClient, header: number, bytes: Buffer, start: number): void {
    const type = header >> 4;
    if (this.#now === 0) this.#now = performance.now();
    if (type === PacketType.pingresp) {
      this.#acknowledged(client, 0, this.#plan.inFlight);
      if (this.#mayGoOn(client, this.#plan.inFlight)) this.#windowAgain(client);
      return;
    }
    const slot = (((bytes[start] as number) << 8) | (bytes[start + 1] as number)) - 1;
    if (type === PacketType.pubrec) {
      if (slot !== this.#releaseTo) {
        this.#writeReleases(client);
        this.#releaseFrom = slot;
      }
      this.#releaseTo = slot + 1;
      return;
    }
    if (type !== PacketType.puback && type !== PacketType.pubcomp) return;
    this.#acknowledged(client, slot, 1);
    if (!this.#mayGoOn(client, 1)) return;
    if (slot !== this.#publishTo) {
      this.#writePublishes(client);
      this.#publishFrom = slot;
    }
    this.#publishTo = slot + 1;
  }

  readEnd(client: MqttClient): void {
    this.#writePublishes(client);
    this.#writeReleases(client);
    this.#publishFrom = 0;
    this.#publishTo = 0;
    this.#releaseFrom = 0;
    this.#releaseTo = 0;
    this.#now = 0;
  }

  lost(): void {
    this.#lost++;
  }

  #windowOf(topic: string): Window {
    const { qos, inFlight, payloadSize, messagesEach } = this.#plan;
    const payload = textPayload(payloadSize);
    const ids = Array.from({ length: inFlight }, (_, index) => index + 1);
    const publishes = ids.map((id) => publishPacket(topic, qos, id, payload));
    const releases = ids.map(pubrelPacket);
    return {
      publishes: Buffer.concat(qos === 0 ? [...publishes, PINGREQ] : publishes),
      publishSize: (publishes[0] as Buffer).length,
      releases: Buffer.concat(releases),
      releaseSize: (releases[0] as Buffer).length,
      sentAt: new Float64Array(inFlight),
      left: messagesEach ?? Number.POSITIVE_INFINITY,
    };
  }

  #first(client: MqttClient): void {
    const { qos, inFlight } = this.#plan;
    const window = this.#windows[client.index] as Window;
    if (qos === 0) {
      this.#windowAgain(client);
      return;
    }
    const count = Math.min(inFlight, window.left);
    window.left -= count;
    this.#inFlight += count;
    window.sentAt.fill(this.#now);
    client.write(window.publishes.subarray(0, count * window.publishSize));
  }

  #windowAgain(client: MqttClient): void {
    const window = this.#windows[client.index] as Window;
    window.sentAt[0] = this.#now;
    this.#inFlight += this.#plan.inFlight;
    client.write(window.publishes);
  }

  #acknowledged(client: MqttClient, slot: number, count: number): void {
    this.#inFlight -= count;
    this.#count += count;
    if (!this.#counting) return;
    this.#latency.add((this.#now - ((this.#windows[client.index] as Window).sentAt[slot] as number)) * 1_000);
  }

  #mayGoOn(client: MqttClient, count: number): boolean {
    const window = this.#windows[client.index] as Window;
    if (!this.#sending || window.left < count) return false;
    window.left -= count;
    return true;
  }

  #writePublishes(client: MqttClient): void {
    const from = this.#publishFrom;
    const to = this.#publishTo;
    if (from === to) return;
    const window = this.#windows[client.index] as Window;
    window.sentAt.fill(this.#now, from, to);
    this.#inFlight += to - from;
    client.write(window.publishes.subarray(from * window.publishSize, to * window.publishSize));
    this.#publishFrom = to;
  }

  #writeReleases(client: MqttClient): void {
    const from = this.#releaseFrom;
    const to = this.#releaseTo;
    if (from === to) return;
    const { releases, releaseSize } = this.#windows[client.index] as Window;
    client.write(releases.subarray(from * releaseSize, to * releaseSize));
    this.#releaseFrom = to;
  }

  /** All was acknowledged, or nothing has been for too long. */
  async #settled(): Promise<void> {
    let count = this.#count;
    let movedAt = performance.now();
    while (this.#inFlight > 0 && performance.now() - movedAt < ACKNOWLEDGED_MS_MAX) {
      await sleep(2);
      if (this.#count === count) continue;
      count = this.#count;
      movedAt = performance.now();
    }
  }
}

export const publish = (plan: PublishPlan): Promise<PublishFigures> => new Publishing(plan).run();
