import { setTimeout as sleep } from 'node:timers/promises';
import type { Flags } from '../flags.ts';
import { Client, invalid, type Thing, target, wholeNumber } from './client.ts';

const CHANNEL_NAME = 'Demo';

/** Simulates devices against a running node until the process is told to stop. */
export async function demo(flags: Flags): Promise<void> {
  if (flags.lora !== undefined) return (await import('./lora.ts')).loraDemo(flags);
  const count = wholeNumber('--devices', flags.devices ?? '20', 1, 10_000);
  const intervalMs = Math.max(50, Number(flags.interval ?? '1') * 1_000);
  if (!Number.isFinite(intervalMs)) throw invalid('--interval must be a number of seconds');
  const { url, email, password } = target(flags);
  const client = new Client(url);
  await client.login(email, password);
  const channel = await client.channel(CHANNEL_NAME);
  const things = await client.things(count);
  await client.call('POST', '/connect', { channel_ids: [channel], thing_ids: things.map((thing) => thing.id) });
  process.stdout.write(
    `${count} devices publish to channel ${channel} (“${CHANNEL_NAME}”) every ${intervalMs / 1_000} s; Ctrl-C stops.\n`,
  );

  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  const told = { sent: 0, refused: 0, ackMs: 0, lastRefusal: '' };
  const devices = things.map((thing, index) =>
    simulate(client, channel, thing, index, count, intervalMs, told, stop.signal),
  );
  const progress = setInterval(() => report(told), process.stdout.isTTY ? 1_000 : 10_000);
  await Promise.all(devices);
  clearInterval(progress);
  report(told);
  process.stdout.write('\n');
}

function report(told: { sent: number; refused: number; ackMs: number; lastRefusal: string }): void {
  const line = `${told.sent} messages acknowledged, last in ${told.ackMs.toFixed(1)} ms${told.refused === 0 ? '' : `; ${told.refused} refused (${told.lastRefusal})`}`;
  process.stdout.write(process.stdout.isTTY ? `\r\u001b[K${line}` : `${line}\n`);
}

/** One device: a room with a heater, a meter and a door. */
async function simulate(
  client: Client,
  channel: string,
  thing: Thing,
  index: number,
  count: number,
  intervalMs: number,
  told: { sent: number; refused: number; ackMs: number; lastRefusal: string },
  signal: AbortSignal,
): Promise<void> {
  let temperature = 18 + Math.random() * 4;
  let energyWh = Math.random() * 10_000;
  let open = false;
  let heating = true;
  // Devices of a fleet do not speak in step.
  await sleep((index / count) * intervalMs, undefined, { signal }).catch(() => {});
  while (!signal.aborted) {
    const outside = 8 + 6 * Math.sin(((Date.now() / 3_600_000) * Math.PI) / 12 + index);
    if (Math.random() < 0.02) open = !open;
    if (temperature < 20.5) heating = true;
    else if (temperature > 22) heating = false;
    const powerW = heating ? 900 + Math.random() * 60 : 4 + Math.random();
    temperature += ((outside - temperature) * (open ? 0.01 : 0.001) + (heating ? 0.05 : 0)) * (intervalMs / 1_000);
    energyWh += (powerW * intervalMs) / 3_600_000;
    const pack = [
      {
        bn: `demo:${index}:`,
        bt: Date.now() / 1_000,
        n: 'temperature',
        u: 'Cel',
        v: round(temperature + (Math.random() - 0.5) * 0.1),
      },
      { n: 'humidity', u: '%RH', v: round(45 - (temperature - 21) * 2 + Math.random()) },
      { n: 'power', u: 'W', v: round(powerW) },
      { n: 'energy', u: 'J', v: Math.round(energyWh * 3_600), s: Math.round(energyWh * 3_600) },
      { n: 'door', vb: open },
    ];
    const start = performance.now();
    try {
      await client.publish(channel, thing.key, pack);
      told.sent++;
      told.ackMs = performance.now() - start;
    } catch (error) {
      told.refused++;
      told.lastRefusal = (error as Error).message;
    }
    await sleep(intervalMs, undefined, { signal }).catch(() => {});
  }
}

const round = (value: number): number => Math.round(value * 100) / 100;
