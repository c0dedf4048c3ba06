import { expect, test } from 'vitest';
import { Turns } from './turns.ts';

test('who asks much waits for itself: others are let in after one of its questions each', async () => {
  const turns = new Turns(1, 8_192);
  const order: string[] = [];
  let go: () => void = () => {};
  const opened = new Promise<void>((resolve) => (go = resolve));
  const asked = [turns.take('first', () => opened)];
  const ask = (who: string): void => {
    asked.push(turns.take(who, async () => void order.push(who)));
  };
  for (let count = 0; count < 100; count++) ask('much');
  for (const who of ['a', 'b', 'a']) ask(who);
  go();
  await Promise.all(asked);
  expect(order.slice(0, 6)).toEqual(['much', 'a', 'b', 'much', 'a', 'much']);
  expect(order.length).toBe(103);
});

test('nobody holds all places, and what fails gives its own back', async () => {
  const turns = new Turns(1, 2_048);
  let go: () => void = () => {};
  const opened = new Promise<void>((resolve) => (go = resolve));
  const first = turns.take('first', () => opened);
  const refusals: unknown[] = [];
  const asked = Array.from({ length: 1_000 }, () =>
    turns
      .take('much', async () => {
        throw new Error('store');
      })
      .catch((error: { code?: string }) => refusals.push(error.code)),
  );
  const other = turns.take('other', async () => 'in');
  go();
  await Promise.all([first, ...asked]);
  expect(refusals.filter((code) => code === 'COAP_READERS_FULL').length).toBe(1_000 - 128);
  expect(await other).toBe('in');
  expect(await turns.take('much', async () => 'again')).toBe('again');
});
