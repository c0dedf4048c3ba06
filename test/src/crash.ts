import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { type Millrace, newPublisher, type Publisher, Rest } from './millrace.ts';
import { expectStoredOnce } from './stored.ts';

/** Publishes from several clients while `crash` happens again and again, then checks that every acknowledged message
 *  is stored exactly once, counted by the name that only it carries.
 *  @param crash makes the fault and resolves when the node answers again */
export async function publishThroughCrashes(
  millrace: Millrace,
  options: {
    readonly clients: number;
    readonly crashes: number;
    readonly crash: () => Promise<void>;
    readonly seed: number;
  },
): Promise<{ acknowledged: number; unanswered: number }> {
  const admin = await Rest.asAdmin(millrace);
  const publishers: Publisher[] = [];
  for (let client = 0; client < options.clients; client++)
    publishers.push(await newPublisher(admin, `crash-${client}`));
  const acknowledged: string[][] = publishers.map(() => []);
  const unexpected = new Set<number>();
  let unanswered = 0;
  let stopped = false;

  const clients = publishers.map(async (publisher, client) => {
    for (let sequence = 0; !stopped; sequence++) {
      const name = `c${client}-${sequence}`;
      try {
        const response = await fetch(`${millrace.url}/channels/${publisher.channel}/messages`, {
          method: 'POST',
          headers: { authorization: `Thing ${publisher.key}`, 'content-type': 'application/senml+json' },
          body: JSON.stringify([{ n: name, v: sequence }]),
          signal: AbortSignal.timeout(15_000),
        });
        await response.arrayBuffer();
        if (response.status === 202) (acknowledged[client] as string[]).push(name);
        else {
          if (response.status !== 503) unexpected.add(response.status);
          await sleep(50);
        }
      } catch {
        unanswered++;
        await sleep(50);
      }
    }
  });

  const random = seeded(options.seed);
  for (let crash = 0; crash < options.crashes; crash++) {
    await sleep(200 + random() * 1_500);
    await options.crash();
  }
  await sleep(300);
  stopped = true;
  await Promise.all(clients);
  expect([...unexpected], 'answers other than 202 and 503').toEqual([]);

  const rest = await Rest.asAdmin(millrace);
  for (const [client, publisher] of publishers.entries()) {
    const wanted = acknowledged[client] as string[];
    expect(wanted.length).toBeGreaterThan(0);
    await expectStoredOnce(
      rest.as(`Thing ${publisher.key}`),
      publisher.channel,
      wanted,
      `seed ${options.seed}`,
      180_000,
    );
  }
  return { acknowledged: acknowledged.reduce((sum, names) => sum + names.length, 0), unanswered };
}

/** mulberry32: a failing run is repeated with its seed. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export const LONG = process.env.MILLRACE_TEST_LONG === '1';
export const SEED = Number(process.env.MILLRACE_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
