import { expect, test } from 'vitest';
import { type Leave, Turnstile } from './turnstile.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('who asks much delays itself: lines take turns', async () => {
  const turnstile = new Turnstile('queries', 1, 100);
  const order: string[] = [];
  const leave = await turnstile.enter('busy');
  const waiting = ['busy', 'busy', 'busy', 'calm', 'other', 'calm'].map(async (line) => {
    const left = await turnstile.enter(line);
    order.push(line);
    left();
  });
  leave();
  await Promise.all(waiting);
  expect(order).toEqual(['busy', 'calm', 'other', 'busy', 'calm', 'busy']);
});

test('one line never has every place, the platform may', async () => {
  const turnstile = new Turnstile('queries', 3, 100);
  const places: Leave[] = [];
  for (let count = 0; count < 2; count++) places.push(await turnstile.enter('busy'));
  let third = false;
  const waits = turnstile.enter('busy').then((leave) => {
    third = true;
    return leave;
  });
  await turn();
  expect([third, turnstile.running]).toEqual([false, 2]);
  places.push(await turnstile.enter());
  places[0]?.();
  places.push(await waits);
  for (const leave of places) leave();
  expect(turnstile.running).toBe(0);
});

test('who gives up waiting is not let in, and a place is given back once', async () => {
  const turnstile = new Turnstile('queries', 1, 100);
  const leave = await turnstile.enter('a');
  const abort = new AbortController();
  const waits = turnstile.enter('b', abort.signal);
  abort.abort(new Error('gone'));
  await expect(waits).rejects.toThrow('gone');
  leave();
  leave();
  expect(turnstile.running).toBe(0);
  await (await turnstile.enter('c'))();
  await turnstile.idle();
});
