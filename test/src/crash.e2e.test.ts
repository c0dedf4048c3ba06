import { afterAll, describe, expect, test } from 'vitest';
import { LONG, publishThroughCrashes, SEED } from './crash.ts';
import { Millrace } from './millrace.ts';

const CRASHES = LONG ? 20 : 3;

describe('kill -9 with the embedded log', () => {
  const millrace = new Millrace();
  afterAll(() => millrace.dispose());

  test(`every acknowledged message is stored exactly once after ${CRASHES} kills (seed ${SEED})`, {
    timeout: 600_000,
  }, async () => {
    await millrace.start();
    const { acknowledged, unanswered } = await publishThroughCrashes(millrace, {
      clients: 4,
      crashes: CRASHES,
      seed: SEED,
      async crash() {
        expect(await millrace.end('SIGKILL')).toBe('SIGKILL');
        await millrace.start();
      },
    });
    console.log(`${acknowledged} acknowledged messages stored once each; ${unanswered} requests found no answer`);
  });
});
