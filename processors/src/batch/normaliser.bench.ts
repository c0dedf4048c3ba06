// Packs and readings a second of what a worker does with a batch, against JSON.parse of the same packs alone.
// Run built: node processors/dist/batch/normaliser.bench.js
import type { Enforcer, Sealer } from '@millrace/core';
import { envelopeOf, taskOf } from '../testing/envelopes.ts';
import { BatchNormaliser } from './normaliser.ts';

const trusting: Sealer = { seal: () => undefined, verify: () => true };
const unasked: Enforcer = { mayPublish: () => false };
const normaliser = new BatchNormaliser(trusting, unasked);

const packOf = (records: number, device: number): string =>
  JSON.stringify(
    Array.from({ length: records }, (_, n) => ({
      ...(n === 0 ? { bn: `urn:dev:ow:${device}:`, bt: 1_795_200_000 } : {}),
      n: `sensor${n % 10}`,
      u: 'Cel',
      t: n - records,
      v: 20 + n / 10,
    })),
  );

function perSecond(count: number, run: () => void): number {
  for (let warm = 0; warm < 5; warm++) run();
  const rates = Array.from({ length: 7 }, () => {
    const start = performance.now();
    run();
    return (count * 1_000) / (performance.now() - start);
  });
  return rates.toSorted((a, b) => a - b)[3] ?? 0;
}

for (const records of [1, 10, 100]) {
  const count = Math.ceil(20_000 / records);
  const payloads = Array.from({ length: count }, (_, device) => packOf(records, device % 1_000));
  const task = taskOf(payloads.map((payload) => envelopeOf({ payload })));
  const parsed = payloads.map((payload) => Buffer.from(payload));
  const packs = perSecond(count, () => void normaliser.run(task));
  const floor = perSecond(count, () => {
    for (const payload of parsed) JSON.parse(payload.toString('utf8'));
  });
  console.log(
    `packs of ${records}: ${Math.round(packs)} packs/s, ${Math.round(packs * records)} readings/s; ` +
      `JSON.parse alone ${Math.round(floor)} packs/s; ratio ${(packs / floor).toFixed(2)}`,
  );
}

const keyed = taskOf(
  Array.from({ length: 20_000 }, (_, n) => envelopeOf({ payload: packOf(1, n), dedupKey: `key-${n}` })),
);
const rate = perSecond(20_000, () => void normaliser.run(keyed));
console.log(`packs of 1, each with a key: ${Math.round(rate)} packs/s`);
for (const [which, dedupKey] of [
  ['none', undefined],
  ['each', 'key'],
] as const) {
  const records = Array.from({ length: 20_000 }, (_, n) =>
    envelopeOf({ payload: packOf(1, n), dedupKey: dedupKey && `${dedupKey}-${n}` }),
  );
  const part = taskOf(records, { learns: true });
  const learned = perSecond(20_000, () => void normaliser.learn(part));
  console.log(`reading back, ${which} with a key: ${Math.round(learned)} messages/s`);
}
