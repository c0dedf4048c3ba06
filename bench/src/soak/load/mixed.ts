import { Histogram } from '../../load/histogram.ts';
import { senmlPack } from '../../pack.ts';
import type { ProductNode, ProvisionedTarget } from '../../product.ts';
import { CoapWire } from './coap.ts';
import { HttpWire } from './http.ts';
import { MqttWire } from './mqtt.ts';
import type { Told, Wire } from './wire.ts';

const STEP_MS = 10;
const ANSWERS_MS_MAX = 30_000;
const RECORDS = 10;
/** Of every twenty messages. */
const SHARES = { http: 11, mqtt: 5, ws: 2, coap: 2 } as const;

export interface MixedFigures {
  readonly offered: number;
  readonly taken: number;
  /** Answered otherwise. */
  readonly refused: number;
  /** Due, and no client was free to send them. */
  readonly unsent: number;
  /** @units ms */
  readonly p50: number;
  readonly p99: number;
}

/** Messages of all protocols at a rate that can be changed. */
export class MixedLoad implements Told {
  readonly #wires = new Map<Wire['protocol'], Wire>();
  readonly #turns: readonly Wire['protocol'][];
  readonly #timer: NodeJS.Timeout;
  #perSecond = 0;
  #at = performance.now();
  #due = 0;
  #turn = 0;
  #waiting = 0;
  #takenEver = 0;
  #figures = new Figures();

  private constructor() {
    // Spread out: no protocol gets its messages in a row.
    this.#turns = Object.entries(SHARES)
      .flatMap(([protocol, share]) =>
        Array.from({ length: share }, (_, index) => ({
          protocol: protocol as Wire['protocol'],
          place: (index + 0.5) / share,
        })),
      )
      .sort((a, b) => a.place - b.place)
      .map(({ protocol }) => protocol);
    this.#timer = setInterval(() => this.#offer(), STEP_MS);
  }

  static async open(node: ProductNode, targets: readonly ProvisionedTarget[]): Promise<MixedLoad> {
    const load = new MixedLoad();
    const url = new URL(node.url);
    const body = senmlPack(0, RECORDS, 0);
    try {
      load.#add(await HttpWire.open(url, targets, body, load));
      load.#add(await MqttWire.open('mqtt', String(node.addresses.mqtt), targets, body, load));
      load.#add(await MqttWire.open('ws', `ws://${url.host}/mqtt`, targets.slice(0, 4), body, load));
      load.#add(await CoapWire.open(Number(new URL(String(node.addresses.coap)).port), targets, load));
      return load;
    } catch (error) {
      await load.close();
      throw error;
    }
  }

  /** Acknowledged since the load was opened. */
  get taken(): number {
    return this.#takenEver;
  }

  /** Messages a second from now on.  @returns what came of the rate before */
  rate(perSecond: number): MixedFigures {
    const figures = this.#figures.told();
    this.#figures = new Figures();
    this.#perSecond = perSecond;
    this.#at = performance.now();
    this.#due = 0;
    return figures;
  }

  /** Sends nothing more, and resolves once what was sent is answered, or isn't for long. */
  async settle(): Promise<number> {
    this.#perSecond = 0;
    this.#due = 0;
    const end = performance.now() + ANSWERS_MS_MAX;
    while (this.#waiting > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, STEP_MS));
    return this.#waiting;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all([...this.#wires.values()].map((wire) => wire.close()));
  }

  answered(taken: boolean, ms: number): void {
    this.#waiting--;
    if (taken) this.#takenEver++;
    this.#figures.answered(taken, ms);
  }

  #add(wire: Wire): void {
    this.#wires.set(wire.protocol, wire);
  }

  #offer(): void {
    const now = performance.now();
    this.#due += ((now - this.#at) / 1_000) * this.#perSecond;
    this.#at = now;
    for (; this.#due >= 1; this.#due--) {
      const protocol = this.#turns[this.#turn++ % this.#turns.length] as Wire['protocol'];
      const isSent = this.#wires.get(protocol)?.send() === true;
      this.#figures.offered++;
      if (isSent) this.#waiting++;
      else this.#figures.unsent++;
    }
  }
}

class Figures {
  offered = 0;
  unsent = 0;
  #taken = 0;
  #refused = 0;
  readonly #latency = new Histogram();

  answered(taken: boolean, ms: number): void {
    if (!taken) {
      this.#refused++;
      return;
    }
    this.#taken++;
    this.#latency.add(ms * 1_000);
  }

  told(): MixedFigures {
    const ms = (share: number): number => this.#latency.quantile(share) / 1_000;
    const { offered, unsent } = this;
    return { offered, unsent, taken: this.#taken, refused: this.#refused, p50: ms(0.5), p99: ms(0.99) };
  }
}
