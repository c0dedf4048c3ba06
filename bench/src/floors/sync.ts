import { fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Histogram } from '../load/histogram.ts';
import { childOptions, tell } from './options.ts';

/** Floor: what "on disk" costs. One writer appends 4 KiB and waits until it is there. */
const { seconds, directory } = childOptions<{ seconds: number; directory: string }>();
const file = openSync(join(directory, 'sync'), 'w');
const page = Buffer.alloc(4_096, 1);
const latency = new Histogram();
const start = performance.now();
let now = start;
while (now - start < seconds * 1_000) {
  const before = now;
  writeSync(file, page);
  fdatasyncSync(file);
  now = performance.now();
  latency.add((now - before) * 1_000);
}
tell({
  syncsPerSecond: (latency.count * 1_000) / (now - start),
  p50: latency.quantile(0.5) / 1_000,
  p99: latency.quantile(0.99) / 1_000,
});
process.disconnect?.();
