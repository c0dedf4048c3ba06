import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runAsking, runFill } from './asking.ts';
import { ASKING_QUICK, type AskingOptions } from './options.ts';
import { formatAskingReport } from './table.ts';

let directory = '';
let options: AskingOptions;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-asking-'));
  options = { ...ASKING_QUICK, readings: 500_000, directory, repeatsMax: 2 };
});
afterAll(() => rm(directory, { recursive: true, force: true }));

test('what is filled takes few bytes, and twelve questions are answered as the engine itself answers them', {
  timeout: 240_000,
}, async () => {
  const { filled } = await runFill(options, () => {});
  expect(filled.bytesPerReading).toBeLessThan(6);
  const report = await runAsking(options, () => {});
  expect(report.filled).toEqual(filled);
  expect(report.questions).toHaveLength(12);
  for (const { name, values, product } of report.questions) {
    expect(values, name).toBeGreaterThan(0);
    expect(product.count, name).toBeGreaterThan(0);
  }
  console.log(formatAskingReport(report));
});
