// Decodes a second of one thread, each in a runtime of its own, by the size of the script.
// Run built: node processors/dist/codecs/sandbox.bench.js
import { DECODERS, Sandbox } from './sandbox.ts';

const DECODER =
  'function decodeUplink(input) { var b = input.bytes, d = {}; for (var i = 0; i < b.length; i += 2) d["v" + i] = ((b[i] << 8) | b[i + 1]) / 100; return { data: d }; }';
const FILLER =
  'function f(x, y) { if (x > y) { return x * 2 + y; } else { var z = [1, 2, 3]; return z[x % 3] + y; } }\n';
const INPUT = JSON.stringify({ bytes: Array.from({ length: 24 }, (_, index) => index), fPort: 2, variables: {} });
const COUNT = 1_000;

const sandbox = new Sandbox({ msMax: 1_000, memoryBytesMax: 8_388_608, outputBytesMax: 65_536 });
for (const kib of [0, 4, 16]) {
  const script = DECODER + FILLER.repeat(Math.ceil((kib * 1_024) / FILLER.length));
  for (let warm = 0; warm < 50; warm++) await sandbox.run(script, DECODERS, INPUT);
  const start = performance.now();
  for (let run = 0; run < COUNT; run++) {
    const told = await sandbox.run(script, DECODERS, INPUT);
    if (told.kind === 'failed') throw new Error(told.detail);
  }
  const perSecond = (COUNT * 1_000) / (performance.now() - start);
  console.log(`script of ${script.length} characters: ${Math.round(perSecond)} decodes/s`);
}
