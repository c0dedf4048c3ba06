import { senmlPack } from '../pack.ts';
import { childOptions, tell } from './options.ts';

/** Floor: `JSON.parse` of the same packs, on one core. */
const { seconds, recordCount } = childOptions<{ seconds: number; recordCount: number }>();
const packs = Array.from({ length: 64 }, (_, index) => Buffer.from(senmlPack(index % 32, recordCount, index)));

let parsed = 0;
let records = 0;
const run = (ms: number): number => {
  parsed = 0;
  const start = performance.now();
  let elapsed = 0;
  while (elapsed < ms) {
    for (const pack of packs) records += (JSON.parse(pack.toString('latin1')) as unknown[]).length;
    parsed += packs.length;
    elapsed = performance.now() - start;
  }
  return elapsed;
};
run(200);
const elapsed = run(seconds * 1_000);
// `records` is used, so that the engine can't leave the parsing out.
tell({ packsPerSecond: (parsed * 1_000) / elapsed, bytes: packs[0]?.length ?? 0, records });
process.disconnect?.();
