import { createSocket } from 'node:dgram';
import { DtlsClient } from '@millrace/ingest/dtls-client';
import type { ProvisionedTarget } from '../../product.ts';
import type { HandshakeFigures, HandshakePlan } from './plan.ts';
import { pause, type Wire } from './publish.ts';

const RESEND_MS = 1_000;
const HANDSHAKE_MS_MAX = 15_000;

/** A DTLS session of a target's thing, with a socket of its own.
 *  @throws Error when the handshake fails */
export async function openSecure(port: number, { thing, key }: ProvisionedTarget): Promise<Wire> {
  const socket = createSocket({ type: 'udp4' });
  socket.on('error', () => {});
  await new Promise<void>((resolve) => socket.connect(port, '127.0.0.1', () => resolve()));
  const wire: Wire = {
    onMessage: null,
    send: (datagram) => client.send(datagram),
    close() {
      client.close();
      socket.close();
    },
  };
  let opened: () => void = () => {};
  let failed: (error: Error) => void = () => {};
  const done = new Promise<void>((resolve, reject) => {
    opened = resolve;
    failed = reject;
  });
  const client = new DtlsClient({
    send: (datagram) => socket.send(datagram),
    psk: { identity: thing, key: Buffer.from(key) },
    onOpen: () => opened(),
    onMessage: (datagram) => wire.onMessage?.(datagram),
    onClose: (why) => failed(new Error(`the handshake failed: ${why}`)),
  });
  socket.on('message', (datagram) => client.receive(datagram));
  client.start();
  const resend = setInterval(() => client.resend(), RESEND_MS);
  const timer = setTimeout(() => failed(new Error('no handshake in time')), HANDSHAKE_MS_MAX);
  try {
    await done;
    return wire;
  } catch (error) {
    socket.close();
    throw error;
  } finally {
    clearInterval(resend);
    clearTimeout(timer);
  }
}

/** Opens sessions and closes them, so many at once. */
export async function handshakes({ port, targets, clients, seconds }: HandshakePlan): Promise<HandshakeFigures> {
  let done = 0;
  let failed = 0;
  let counting = false;
  let going = true;
  let number = 0;
  const worker = async (): Promise<void> => {
    while (going) {
      try {
        const wire = await openSecure(port, targets[number++ % targets.length] as ProvisionedTarget);
        if (counting) done++;
        wire.close();
      } catch {
        failed++;
        await pause(50);
      }
    }
  };
  const workers = Array.from({ length: clients }, worker);
  await pause(Math.min(1_000, seconds * 250));
  counting = true;
  const cpu = process.cpuUsage();
  const start = performance.now();
  await pause(seconds * 1_000);
  counting = false;
  const took = (performance.now() - start) / 1_000;
  const used = process.cpuUsage(cpu);
  going = false;
  await Promise.all(workers);
  return { done, perSecond: done / took, failed, generatorCores: (used.user + used.system) / 1e6 / took };
}
