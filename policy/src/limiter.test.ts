import { expect, test } from 'vitest';
import { Flights, Limiter } from './limiter.ts';

const never = (): Promise<never> => new Promise(() => {});

test('refuses who waits too long, while what runs hangs', async () => {
  const limiter = new Limiter('test', 1, 10, 30);
  void limiter.run(never);
  const waiting = await Promise.allSettled([limiter.run(never), limiter.run(never)]);
  for (const result of waiting) expect(result).toMatchObject({ reason: { code: 'POLICY_BUSY', retry: 'later' } });
});

test('hands a place on in order of arrival, also after a failure', async () => {
  const limiter = new Limiter('test', 1, 10, 60_000);
  const order: number[] = [];
  const results = await Promise.allSettled(
    [0, 1, 2, 3].map((index) =>
      limiter.run(async () => {
        order.push(index);
        if (index % 2 === 0) throw new Error('failed');
      }),
    ),
  );
  expect(order).toEqual([0, 1, 2, 3]);
  expect(results.map((result) => result.status)).toEqual(['rejected', 'fulfilled', 'rejected', 'fulfilled']);
  await limiter.run(async () => order.push(4));
  expect(order).toHaveLength(5);
});

test('joins who asks for the same, and starts anew afterwards', async () => {
  const flights = new Flights<number>();
  let count = 0;
  const work = async (): Promise<number> => ++count;
  const [first, second] = [flights.join('a', work), flights.join('a', work)];
  expect(first).toBe(second);
  expect(await flights.join('b', work)).toBe(2);
  await first;
  expect(await flights.join('a', work)).toBe(3);
});
