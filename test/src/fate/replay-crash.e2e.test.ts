import { afterAll, expect, test } from 'vitest';
import { LONG } from '../crash.ts';
import { eventually, Millrace, newPublisher, Rest } from '../millrace.ts';

const LETTERS = LONG ? 5_000 : 200;
const KILLS = LONG ? 5 : 1;
const LINES_A_REQUEST = 200;
const WAIT_MS = 120_000;

interface Letter {
  readonly id: string;
  readonly message: string;
  readonly state: string;
  readonly replays: readonly string[];
}

const millrace = new Millrace();
afterAll(() => millrace.dispose(), 90_000);

test('a job that replays dead letters replays each once, though its node is killed in the midst', async () => {
  await millrace.start();
  let admin = await Rest.asAdmin(millrace);
  const publisher = await newPublisher(admin, 'crash');
  for (let at = 0; at < LETTERS; at += LINES_A_REQUEST) {
    const lines = Array.from({ length: LINES_A_REQUEST }, () => '[]').join('\n');
    const path = `/channels/${publisher.channel}/messages/batch`;
    const answer = await publisher.rest.raw('POST', path, lines, { 'content-type': 'application/x-ndjson' });
    expect(answer.status).toBe(202);
    await answer.arrayBuffer();
  }
  const list = async (state: string): Promise<Letter[]> => {
    const letters: Letter[] = [];
    for (let cursor = ''; ; ) {
      const more = cursor === '' ? '' : `&cursor=${cursor}`;
      const page = await admin.json<{ dead_letters: Letter[]; cursor?: string }>(
        'GET',
        `/dead-letters?channel=${publisher.channel}&state=${state}&limit=1000${more}`,
      );
      letters.push(...page.dead_letters);
      if (page.cursor === undefined) return letters;
      cursor = page.cursor;
    }
  };
  await eventually('all letters', WAIT_MS, async () => (await list('open')).length === LETTERS);

  const { id } = await admin.json<{ id: string }>('POST', '/dead-letters/replay', {
    filter: { channel: publisher.channel },
  });
  interface Told {
    readonly status: string;
    readonly done: number;
  }
  const job = () => admin.json<Told>('GET', `/jobs/${id}`);
  for (let kill = 1; kill <= KILLS; kill++) {
    const share = (kill / (KILLS + 2)) * LETTERS;
    await eventually('a part of the job', WAIT_MS, async () => {
      const { status, done } = await job();
      return status === 'done' || done >= share;
    });
    expect(await millrace.end('SIGKILL')).toBe('SIGKILL');
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
  }
  await eventually('the end of the job', WAIT_MS, async () => {
    const told = await job();
    if (told.status !== 'done') throw new Error(JSON.stringify(told));
    return true;
  });
  // Each replay dies as its letter did: one new letter for each, and not one more.
  const all = await eventually('the letters of the replays', WAIT_MS, async () => {
    const letters = await list('all');
    return letters.length >= 2 * LETTERS ? letters : undefined;
  });
  expect(all).toHaveLength(2 * LETTERS);
  const replayed = all.filter(({ state }) => state === 'replayed');
  expect(replayed).toHaveLength(LETTERS);
  expect(replayed.every(({ replays }) => replays.length === 1)).toBe(true);
  const open = all.filter(({ state }) => state === 'open').map(({ message }) => message);
  expect(new Set(replayed.map(({ replays }) => replays[0]))).toEqual(new Set(open));
}, 400_000);
