import { setTimeout as sleep } from 'node:timers/promises';
import { eachAtOnce, MqttClient, sourceAddress } from './client.ts';
import { Taking } from './delivering.ts';
import { CpuMeter } from './meter.ts';
import type { ParkFigures, ParkPlan, ReturnFigures, ReturnPlan } from './plan.ts';

const AT_ONCE = 32;
const SILENCE_MS_MAX = 30_000;

/** Persistent sessions subscribe with QoS 1, and their clients leave. */
export async function park(plan: ParkPlan): Promise<ParkFigures> {
  const start = performance.now();
  const taking = new Taking(() => undefined);
  const clients = Array.from({ length: plan.sessions }, (_, index) => new MqttClient(index, taking));
  await eachAtOnce(clients, AT_ONCE, async (client) => {
    await client.open(plan.endpoint, plan.identity, sessionOf(client.index));
    await client.subscribe(plan.filters[client.index % plan.filters.length] as string, 1);
    client.close();
    await client.left();
  });
  return { seconds: (performance.now() - start) / 1_000 };
}

/** They come back, and take what was published meanwhile. */
export async function comeBack(plan: ReturnPlan): Promise<ReturnFigures> {
  const expected = plan.sessions * plan.messagesEach;
  let received = 0;
  const taking = new Taking(() => {
    received++;
  });
  const clients = Array.from({ length: plan.sessions }, (_, index) => new MqttClient(index, taking));
  const cpu = new CpuMeter();
  const start = performance.now();
  await eachAtOnce(clients, AT_ONCE, (client) => client.open(plan.endpoint, plan.identity, sessionOf(client.index)));
  let last = received;
  let movedAt = performance.now();
  while (received < expected && performance.now() - movedAt < SILENCE_MS_MAX) {
    await sleep(5);
    if (received === last) continue;
    last = received;
    movedAt = performance.now();
  }
  const seconds = (movedAt - start) / 1_000;
  const generatorCores = cpu.cores();
  for (const client of clients) client.close();
  return { seconds, received, missing: Math.max(0, expected - received), generatorCores };
}

const sessionOf = (index: number) => ({
  clientId: `session-${index}`,
  clean: false,
  localAddress: sourceAddress(index),
});
