import { sleep } from '../postgres/process.ts';

/** Waits for something to come to pass, half a minute at most. */
export async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1_500; tries++) {
    if (await what()) return;
    await sleep(20);
  }
  throw new Error('it did not come to pass');
}
