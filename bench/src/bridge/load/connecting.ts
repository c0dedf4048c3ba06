import { setTimeout as sleep } from 'node:timers/promises';
import { Histogram } from '../../load/histogram.ts';
import { MqttClient, type PacketListener, sourceAddress } from './client.ts';
import { CpuMeter, quantiles } from './meter.ts';
import type { ConnectFigures, ConnectPlan, Identity } from './plan.ts';

const FAILED_PAUSE_MS = 20;
const SILENT: PacketListener = { packet() {}, readEnd() {}, lost() {} };

/** Connects, waits for CONNACK, disconnects, again: so many at once. */
export async function connects(plan: ConnectPlan): Promise<ConnectFigures> {
  const latency = new Histogram();
  let count = 0;
  let inAll = 0;
  let failed = 0;
  let number = 0;
  let counting = false;
  let going = true;
  const worker = async (): Promise<void> => {
    while (going) {
      const own = number++;
      const identity = plan.identities[own % plan.identities.length] as Identity;
      const client = new MqttClient(own, SILENT);
      const start = performance.now();
      try {
        // Ports of closed connections rest for a minute: the source addresses are taken in turn.
        await client.open(plan.endpoint, identity, { clientId: `c-${own}`, localAddress: sourceAddress(own) });
        inAll++;
        if (counting) {
          count++;
          latency.add((performance.now() - start) * 1_000);
        }
        client.close();
        await client.left();
      } catch {
        client.destroy();
        if (counting) failed++;
        await sleep(FAILED_PAUSE_MS);
      }
    }
  };
  const workers = Array.from({ length: plan.concurrent }, worker);
  await sleep(plan.warmUpSeconds * 1_000);
  counting = true;
  const cpu = new CpuMeter();
  const start = performance.now();
  await sleep(plan.seconds * 1_000);
  counting = false;
  const seconds = (performance.now() - start) / 1_000;
  const generatorCores = cpu.cores();
  const connected = count;
  going = false;
  await Promise.race([Promise.all(workers), sleep(5_000)]);
  return {
    connects: connected,
    connectsInAll: inAll,
    connectsPerSecond: connected / seconds,
    latency: quantiles(latency),
    failed,
    generatorCores,
  };
}
