import { openSocket, publishDatagram } from '../../coap/load/publish.ts';
import type { ProvisionedTarget } from '../../product.ts';
import type { Told, Wire } from './wire.ts';

const CLIENTS = 16;
const REPEAT_MS = 2_000;
const CHANGED = 0x44;

/** One device: one confirmable request in flight, repeated until it is answered. */
class Device {
  readonly #wire: Awaited<ReturnType<typeof openSocket>>;
  readonly #datagram: Buffer;
  readonly #told: Told;
  #messageId = Math.floor(Math.random() * 65_536);
  #token: number;
  #begun = 0;
  #repeat: NodeJS.Timeout | null = null;

  constructor(wire: Awaited<ReturnType<typeof openSocket>>, target: ProvisionedTarget, index: number, told: Told) {
    this.#wire = wire;
    this.#told = told;
    this.#token = index << 16;
    this.#datagram = publishDatagram(target, this.#token);
    wire.onMessage = (answer) => this.#heard(answer);
  }

  get isFree(): boolean {
    return this.#repeat === null;
  }

  send(): void {
    this.#messageId = (this.#messageId + 1) & 0xffff;
    this.#token = (this.#token + 1) >>> 0;
    this.#datagram.writeUInt16BE(this.#messageId, 2);
    this.#datagram.writeUInt32BE(this.#token, 4);
    this.#begun = performance.now();
    this.#wire.send(this.#datagram);
    this.#repeat = setInterval(() => this.#wire.send(this.#datagram), REPEAT_MS);
  }

  close(): void {
    if (this.#repeat !== null) clearInterval(this.#repeat);
    this.#wire.close();
  }

  #heard(answer: Buffer): void {
    if (answer.length < 8 || answer.readUInt32BE(4) !== this.#token || this.#repeat === null) return;
    const type = ((answer[0] as number) >> 4) & 3;
    if (type === 0) this.#wire.send(Buffer.of(0x60, 0, answer[2] as number, answer[3] as number));
    clearInterval(this.#repeat);
    this.#repeat = null;
    this.#told.answered(answer[1] === CHANGED, performance.now() - this.#begun);
  }
}

export class CoapWire implements Wire {
  readonly protocol = 'coap';
  readonly #devices: readonly Device[];

  private constructor(devices: readonly Device[]) {
    this.#devices = devices;
  }

  static async open(port: number, targets: readonly ProvisionedTarget[], told: Told): Promise<CoapWire> {
    const devices = Array.from({ length: CLIENTS }, async (_, index) => {
      const target = targets[index % targets.length] as ProvisionedTarget;
      return new Device(await openSocket(port), target, index, told);
    });
    return new CoapWire(await Promise.all(devices));
  }

  send(): boolean {
    const free = this.#devices.find(({ isFree }) => isFree);
    free?.send();
    return free !== undefined;
  }

  async close(): Promise<void> {
    for (const device of this.#devices) device.close();
  }
}
