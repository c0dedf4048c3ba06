import { expect, test } from 'vitest';
import { OneByOne } from './one-by-one.ts';
import { Refusal } from './refusal.ts';

test('work runs one piece at a time, in order, also after one that fails', async () => {
  const line = new OneByOne(10);
  const seen: string[] = [];
  const work = (name: string, fails = false) =>
    line.run(async () => {
      seen.push(`${name} begins`);
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(`${name} ends`);
      if (fails) throw new Error(name);
    });
  const results = await Promise.allSettled([work('first', true), work('second')]);
  expect(results.map((result) => result.status)).toEqual(['rejected', 'fulfilled']);
  expect(seen).toEqual(['first begins', 'first ends', 'second begins', 'second ends']);
});

test('what would wait beyond the bound is refused with 503, and taken again when the line is shorter', async () => {
  const line = new OneByOne(1);
  let release = (): void => {};
  const held = line.run(() => new Promise<void>((resolve) => (release = resolve)));
  const refused = await line.run(async () => {}).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(Refusal);
  expect((refused as Refusal).status).toBe(503);
  await new Promise((resolve) => setImmediate(resolve));
  release();
  await held;
  await expect(line.run(async () => 'again')).resolves.toBe('again');
});
