import { generate } from 'coap-packet';
import { Histogram } from '../../load/histogram.ts';
import type { ObserveFigures, ObservePlan } from './plan.ts';
import { openSocket, pause, type Wire } from './publish.ts';

// hot

/** A publisher's messages wait in one request at most so long. */
const ROUND_MS = 20;
const SETTLE_MS = 1_500;

/** Observers on sockets of their own, each counting what it is given. */
export async function observes(plan: ObservePlan): Promise<ObserveFigures> {
  const delay = new Histogram();
  const expected = Math.floor(plan.messagesPerSecond * plan.seconds);
  const publishedAt = new Float64Array(expected);
  const seen: Uint8Array[] = [];
  let delivered = 0;
  let duplicates = 0;

  const wires: Wire[] = [];
  for (let index = 0; index < plan.observers; index++) {
    const wire = await openSocket(plan.port);
    wires.push(wire);
    const counts = new Uint8Array(expected);
    seen.push(counts);
    await registered(wire, plan, index);
    wire.onMessage = (datagram) => {
      // A confirmable notification is acknowledged.
      if ((((datagram[0] as number) >> 4) & 3) === 0) {
        wire.send(Buffer.of(0x60, 0, datagram[2] as number, datagram[3] as number));
      }
      const number = numberOf(datagram);
      if (number < 0 || number >= expected) return;
      const count = counts[number] as number;
      counts[number] = count + 1;
      if (count > 0) duplicates++;
      else {
        delivered++;
        delay.add((performance.now() - (publishedAt[number] as number)) * 1_000);
      }
    };
  }

  const cpu = process.cpuUsage();
  const start = performance.now();
  let published = 0;
  let failed = 0;
  while (published < expected) {
    const due = Math.min(expected, Math.floor(((performance.now() - start) / 1_000) * plan.messagesPerSecond));
    const lines: string[] = [];
    for (; published < due; published++) {
      publishedAt[published] = performance.now();
      lines.push(`[{"n":"m","v":${published}}]`);
    }
    if (lines.length > 0) failed += (await publish(plan, lines)) ? 0 : lines.length;
    await pause(ROUND_MS);
  }
  const seconds = (performance.now() - start) / 1_000;
  const used = process.cpuUsage(cpu);
  await pause(SETTLE_MS);
  for (const wire of wires) wire.close();
  return {
    published: published - failed,
    delivered,
    duplicates,
    missing: (published - failed) * plan.observers - delivered,
    deliveredPerSecond: delivered / seconds,
    delay: { p50: delay.quantile(0.5) / 1_000, p99: delay.quantile(0.99) / 1_000, max: delay.max / 1_000 },
    generatorCores: (used.user + used.system) / 1e6 / seconds,
  };
}

async function publish({ http, target }: ObservePlan, lines: readonly string[]): Promise<boolean> {
  const response = await fetch(`${http}/channels/${target.channel}/messages/batch`, {
    method: 'POST',
    headers: { authorization: `Thing ${target.key}`, 'content-type': 'application/x-ndjson' },
    body: lines.join('\n'),
  });
  await response.arrayBuffer();
  return response.ok;
}

/** Observes, and tries again while it is not answered. */
async function registered(wire: Wire, { target }: ObservePlan, index: number): Promise<void> {
  const token = Buffer.allocUnsafe(4);
  token.writeUInt32BE(index);
  const options = (echo: Buffer | null) => [
    { name: 'Observe' as const, value: Buffer.alloc(0) },
    ...['channels', target.channel, 'messages'].map((segment) => ({
      name: 'Uri-Path' as const,
      value: Buffer.from(segment),
    })),
    { name: 'Uri-Query' as const, value: Buffer.from(`auth=${target.key}`) },
    ...(echo === null ? [] : [{ name: '252' as const, value: echo }]),
  ];
  let echo: Buffer | null = null;
  for (let messageId = 1; messageId < 20; messageId++) {
    const answer = await new Promise<Buffer | null>((resolve) => {
      const timer = setTimeout(() => resolve(null), 2_000);
      wire.onMessage = (datagram) => {
        if ((((datagram[0] as number) >> 4) & 3) === 0) {
          wire.send(Buffer.of(0x60, 0, datagram[2] as number, datagram[3] as number));
        }
        if (datagram[1] === 0) return;
        clearTimeout(timer);
        resolve(Buffer.from(datagram));
      };
      wire.send(generate({ confirmable: true, code: '0.01', messageId, token, options: options(echo) }));
    });
    if (answer === null) continue;
    if ((answer[1] as number) >> 5 === 2) return;
    const { parse } = await import('coap-packet');
    echo = parse(answer).options.find(({ name }) => String(name) === '252')?.value ?? null;
    if (echo === null)
      throw new Error(`observing was answered with code ${(answer[1] as number) >> 5}.${(answer[1] as number) & 31}`);
  }
  throw new Error('observing was not answered');
}

/** The value of the only record: `…"v":<number>}]`. −1 if there is none. */
function numberOf(datagram: Buffer): number {
  const at = datagram.lastIndexOf('"v":');
  if (at < 0) return -1;
  let number = 0;
  for (let index = at + 4; index < datagram.length; index++) {
    const digit = (datagram[index] as number) - 48;
    if (digit < 0 || digit > 9) break;
    number = number * 10 + digit;
  }
  return number;
}
