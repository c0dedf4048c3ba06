/** Appends as fast as one process can, then reads it all back: `node log/dist/embedded/engine.bench.js [seconds] [size]
 *  [rounds in flight] [overlap after ms]`. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AppendReceipt, createLogger, createMetrics, type Log } from '@millrace/core';
import { embeddedLog } from './engine.ts';
import type { Durability } from './files.ts';

const seconds = Number(process.argv[2] ?? 3);
const size = Number(process.argv[3] ?? 300);
const roundsInFlightMax = Number(process.argv[4] ?? 2);
const overlapAfterMs = Number(process.argv[5] ?? 0.5);

class Counted implements AppendReceipt {
  acknowledged = 0;
  refusals = 0;
  appended(): void {
    this.acknowledged++;
  }
  refused(): void {
    this.refusals++;
  }
}

async function appends(log: Log, windowBytes: number): Promise<number> {
  const record = new Uint8Array(size).fill(7);
  const receipt = new Counted();
  const begin = performance.now();
  const end = begin + seconds * 1_000;
  while (performance.now() < end) {
    for (let at = 0; at < 256 && log.pendingBytes < windowBytes; at++) log.append(at & 1, '', record, receipt);
    await new Promise((resolve) => setImmediate(resolve));
  }
  while (log.pendingBytes > 0) await new Promise((resolve) => setImmediate(resolve));
  if (receipt.refusals > 0) console.log(`refused ${receipt.refusals}`);
  return receipt.acknowledged / ((performance.now() - begin) / 1_000);
}

async function latencies(log: Log, ratePerSecond: number): Promise<string> {
  const record = new Uint8Array(size);
  const found: number[] = [];
  const begin = performance.now();
  for (let sent = 0; performance.now() - begin < 2_000; ) {
    const due = ((performance.now() - begin) * ratePerSecond) / 1_000;
    for (; sent < due; sent++) {
      const at = performance.now();
      log.append(sent & 1, '', record, { appended: () => found.push(performance.now() - at), refused: () => {} });
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  while (log.pendingBytes > 0) await new Promise((resolve) => setImmediate(resolve));
  found.sort((a, b) => a - b);
  const at = (share: number) => (found[Math.floor(found.length * share)] ?? 0).toFixed(2);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`;
}

for (const durability of ['fsync', 'commit'] satisfies Durability[]) {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
  const component = embeddedLog({
    directory,
    durability,
    bytesMax: 64 * 2 ** 30,
    pendingBytesMax: 64 * 2 ** 20,
    recordBytesMax: 4 * 2 ** 20,
    roundsInFlightMax,
    overlapAfterMs,
    metrics: createMetrics(),
    logger: createLogger(),
  });
  const started = await component.start();
  const limits = { partitionCount: 2, retentionMs: 3_600_000, retentionBytes: 64 * 2 ** 30 };
  const log = await started.value.topic({ topic: 'bench', ...limits });
  console.log(`${durability}: at 10,000/s acknowledged after ${await latencies(log, 10_000)}`);
  const cpu = process.cpuUsage();
  const rate = await appends(log, 16 * 2 ** 20);
  const { user, system } = process.cpuUsage(cpu);
  const cores = (user + system) / 1e6 / seconds;
  console.log(`${durability}: ${Math.round(rate).toLocaleString()} appends/s of ${size} B, ${cores.toFixed(2)} cores`);
  const begin = performance.now();
  let read = 0;
  for (const partition of [0, 1]) {
    let from = 0;
    for (;;) {
      const batch = await log.peek(partition, from, { bytesMax: 2 * 2 ** 20 });
      if (batch === null) break;
      read += batch.count;
      from = batch.last + 1;
    }
  }
  const took = (performance.now() - begin) / 1_000;
  console.log(
    `${durability}: ${Math.round(read / took).toLocaleString()} reads/s, RSS ${Math.round(process.memoryUsage.rss() / 2 ** 20)} MiB`,
  );
  await started.stop();
  rmSync(directory, { recursive: true, force: true });
}
