import { createSocket, type Socket } from 'node:dgram';
import { generate } from 'coap-packet';
import { Histogram } from '../../load/histogram.ts';
import type { ProvisionedTarget } from '../../product.ts';
import type { PublishFigures, PublishPlan } from './plan.ts';

// hot

/** A hundred bytes, as a sensor sends them. */
const PAYLOAD = Buffer.from(
  '[{"bn":"urn:dev:ow:10e2073a01080063:","n":"temperature","u":"Cel","v":23.1},{"n":"humidity","v":5}]',
);
const REPEAT_MS = 2_000;
const CHANGED = 0x44;

/** The datagram of a publish; message id and token are changed in place for each. */
export function publishDatagram({ channel, key }: ProvisionedTarget, token: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(token);
  const options = [
    ...['channels', channel, 'messages'].map((segment) => ({ name: 'Uri-Path' as const, value: Buffer.from(segment) })),
    { name: 'Content-Format' as const, value: Buffer.of(110) },
    { name: 'Uri-Query' as const, value: Buffer.from(`auth=${key}`) },
  ];
  return Buffer.from(
    generate({ confirmable: true, code: '0.02', messageId: 0, token: bytes, options, payload: PAYLOAD }),
  );
}

/** What a client sends through: a bare socket, or a DTLS session over one. */
export interface Wire {
  send(datagram: Buffer): void;
  onMessage: ((datagram: Buffer) => void) | null;
  close(): void;
}

export async function openSocket(port: number): Promise<Wire & { readonly socket: Socket }> {
  const socket = createSocket({ type: 'udp4' });
  socket.on('error', () => {});
  await new Promise<void>((resolve) => socket.connect(port, '127.0.0.1', () => resolve()));
  const wire = {
    socket,
    onMessage: null as Wire['onMessage'],
    send: (datagram: Buffer) => socket.send(datagram),
    close: () => socket.close(),
  };
  socket.on('message', (datagram) => wire.onMessage?.(datagram));
  return wire;
}

/** @param open  a wire for the client of a target */
export async function publishes(
  plan: PublishPlan,
  open: (target: ProvisionedTarget) => Promise<Wire>,
): Promise<PublishFigures> {
  const latency = new Histogram();
  const refused: Record<string, number> = {};
  let answered = 0;
  let repeated = 0;
  let counting = false;
  let going = true;

  class Client {
    readonly #wire: Wire;
    readonly #datagram: Buffer;
    #messageId = Math.floor(Math.random() * 65_536);
    #token: number;
    sentAt = 0;

    constructor(wire: Wire, target: ProvisionedTarget, index: number) {
      this.#wire = wire;
      this.#token = index << 16;
      this.#datagram = publishDatagram(target, this.#token);
      wire.onMessage = (answer) => this.#answer(answer);
    }

    next(): void {
      const datagram = this.#datagram;
      this.#messageId = (this.#messageId + 1) & 0xffff;
      this.#token++;
      datagram.writeUInt16BE(this.#messageId, 2);
      datagram.writeUInt32BE(this.#token >>> 0, 4);
      this.sentAt = performance.now();
      this.#wire.send(datagram);
    }

    again(now: number): void {
      if (now - this.sentAt < REPEAT_MS) return;
      repeated++;
      this.sentAt = now;
      this.#wire.send(this.#datagram);
    }

    #answer(answer: Buffer): void {
      if (answer.length < 8 || answer.readUInt32BE(4) !== this.#token >>> 0) return;
      const type = ((answer[0] as number) >> 4) & 3;
      // A separate answer is confirmable: acknowledged like a device does.
      if (type === 0) this.#wire.send(Buffer.of(0x60, 0, answer[2] as number, answer[3] as number));
      const code = answer[1] as number;
      if (counting) {
        if (code === CHANGED) answered++;
        else refused[codeText(code)] = (refused[codeText(code)] ?? 0) + 1;
        latency.add((performance.now() - this.sentAt) * 1_000);
      }
      if (going) this.next();
    }
  }

  const clients: Client[] = [];
  const wires: Wire[] = [];
  for (let index = 0; index < plan.clients; index++) {
    const target = plan.targets[index % plan.targets.length] as ProvisionedTarget;
    const wire = await open(target);
    wires.push(wire);
    clients.push(new Client(wire, target, index));
  }
  const repeats = setInterval(() => {
    const now = performance.now();
    for (const client of clients) client.again(now);
  }, 250);
  for (const client of clients) client.next();
  await pause(Math.min(2_000, plan.seconds * 250));
  counting = true;
  const cpu = process.cpuUsage();
  const start = performance.now();
  await pause(plan.seconds * 1_000);
  counting = false;
  const seconds = (performance.now() - start) / 1_000;
  const used = process.cpuUsage(cpu);
  going = false;
  clearInterval(repeats);
  await pause(200);
  for (const wire of wires) wire.close();
  return {
    answered,
    perSecond: answered / seconds,
    refused,
    repeated,
    latency: {
      p50: latency.quantile(0.5) / 1_000,
      p99: latency.quantile(0.99) / 1_000,
      max: latency.max / 1_000,
    },
    generatorCores: (used.user + used.system) / 1e6 / seconds,
  };
}

const codeText = (code: number): string => `${code >> 5}.${String(code & 31).padStart(2, '0')}`;
export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
