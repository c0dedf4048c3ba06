import { describe, expect, test } from 'vitest';
import { type Leave, RunQueue } from './queue.ts';

/** Who came in, in order, with what gives the place back. */
function entering(queue: RunQueue) {
  const inside: string[] = [];
  const leaves = new Map<string, Leave>();
  let count = 0;
  return {
    inside,
    come: (org: string, codec = `${org} ${count++}`): Promise<void> =>
      queue.enter(org, codec).then((leave) => {
        inside.push(org);
        leaves.set(org, leave);
      }),
    go: async (org: string, byForce = false): Promise<void> => {
      leaves.get(org)?.(byForce);
      await new Promise(setImmediate);
    },
  };
}

describe('the queue of codecs', () => {
  test('lets in who has had the least time, so that nobody waits for an organisation that is slow', async () => {
    let nowMs = 0;
    const queue = new RunQueue(1, 100, () => nowMs);
    const { inside, come, go } = entering(queue);
    const coming = Array.from({ length: 5 }, () => come('slow'));
    coming.push(come('quick'), come('quick'), come('quick'));
    await new Promise(setImmediate);
    for (const [org, tookMs] of [
      ['slow', 50],
      ['quick', 1],
      ['quick', 1],
      ['quick', 1],
    ] as const) {
      expect(inside.at(-1)).toBe(org);
      nowMs += tookMs;
      await go(org);
    }
    for (let left = 4; left > 0; left--) await go('slow');
    await Promise.all(coming);
    expect(inside).toEqual(['slow', 'quick', 'quick', 'quick', 'slow', 'slow', 'slow', 'slow']);
    expect(queue.waiting).toBe(0);
  });

  test('gives no credit for having been away', async () => {
    let nowMs = 0;
    const { inside, come, go } = entering(new RunQueue(1, 100, () => nowMs));
    const coming = [come('first'), come('first'), come('second')];
    await new Promise(setImmediate);
    nowMs += 1_000;
    await go('first');
    // It has had 1,000 ms, the second none; a third that comes now is not ahead of both for a thousand runs.
    nowMs += 10;
    coming.push(come('third'), come('third'));
    await go('second');
    nowMs += 10;
    await go('third');
    nowMs += 10;
    await go('third');
    await go('first');
    await Promise.all(coming);
    expect(inside).toEqual(['first', 'second', 'third', 'third', 'first']);
  });

  test('holds it against nobody for long that the threads were theirs alone', async () => {
    let nowMs = 0;
    const queue = new RunQueue(2, 100, () => nowMs);
    const inside: string[] = [];
    const leaves: Leave[] = [];
    const come = (org: string): Promise<void> =>
      queue.enter(org, org).then((leave) => {
        inside.push(org);
        leaves.push(leave);
      });
    const go = async (): Promise<void> => {
      nowMs += 50;
      leaves.shift()?.();
      await new Promise(setImmediate);
    };
    // For an hour it has no need to wait, and is never away.
    await come('lonely');
    for (let minute = 0; minute < 60; minute++) {
      nowMs += 60_000;
      await come('lonely');
      await go();
    }
    await come('lonely');
    inside.length = 0;
    const coming = [come('lonely'), ...Array.from({ length: 25 }, () => come('newcomer'))];
    await new Promise(setImmediate);
    while (!inside.includes('lonely') && leaves.length > 0) await go();
    expect(inside.length, 'a second of time, of 50 ms each, and those two that run').toBeLessThan(25);
    while (leaves.length > 0) await go();
    await Promise.all(coming);
  });

  test('refuses more than half of the room to one organisation, and a quarter to one codec', async () => {
    const queue = new RunQueue(1, 8);
    const { come } = entering(queue);
    await come('greedy');
    const refusals: Promise<string>[] = [];
    const tried = (org: string, codec?: string): void => {
      refusals.push(
        Promise.race([
          come(org, codec).then(
            () => 'in',
            (error: { code: string }) => error.code,
          ),
          new Promise<string>((resolve) => setTimeout(resolve, 50, 'waits')),
        ]),
      );
    };
    for (let run = 0; run < 3; run++) tried('greedy', 'one codec');
    for (let run = 0; run < 3; run++) tried('greedy');
    tried('other');
    expect(await Promise.all(refusals)).toEqual([
      ...['waits', 'waits', 'CODECS_BUSY'],
      ...['waits', 'waits', 'CODECS_BUSY'],
      'waits',
    ]);
    expect(queue.waiting).toBe(5);
  });

  test('leaves a place free of an organisation that had to be stopped by force, for a minute', async () => {
    let nowMs = 0;
    const { inside, come, go } = entering(new RunQueue(2, 100, () => nowMs));
    const coming = [come('stuck'), come('stuck'), come('stuck')];
    await new Promise(setImmediate);
    expect(inside).toEqual(['stuck', 'stuck']);
    nowMs += 4_000;
    await go('stuck', true);
    expect(inside, 'one of its runs goes on: that is its place').toHaveLength(2);
    coming.push(come('other'));
    await new Promise(setImmediate);
    expect(inside.at(-1)).toBe('other');
    nowMs += 60_000;
    await go('other');
    await Promise.all(coming);
    expect(inside.at(-1), 'a minute later it may have both again').toBe('stuck');
  });
});
