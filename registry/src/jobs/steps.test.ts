import { type Started, uuidV7 } from '@millrace/core';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Registry } from '../registry.ts';
import { startRegistry, temporaryPostgres } from '../testing/fixture.ts';
import { until } from '../testing/until.ts';
import type { Job } from './jobs.ts';
import type { JobWork } from './work.ts';

const SLOW = { timeout: 90_000 };
let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
let one: Started<Registry>;
let two: Started<Registry>;
let org: string;

beforeAll(async () => {
  postgres = await temporaryPostgres();
  one = await startRegistry(postgres.url);
  two = await startRegistry(postgres.url);
  const { thingId = '' } = (await one.value.gettingStarted()) ?? {};
  org = (await one.value.things.get(thingId))?.org ?? '';
}, 90_000);
afterAll(async () => {
  await one?.stop();
  await two?.stop();
  await postgres?.dispose();
}, 60_000);

const jobs = () => one.value.jobs;
const finished = async (id: string): Promise<Job> => {
  let job: Job | null = null;
  await until(async () => {
    job = await jobs().get(id);
    return job !== null && job.finishedAt !== null;
  });
  return job as unknown as Job;
};
/** Until it is told to end. */
const told = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('told to end')), { once: true }));

describe('a job step by step', () => {
  test('goes from step to step, tells how far it is, and what it came to', SLOW, async () => {
    const states: unknown[] = [];
    const ended: string[] = [];
    const work: JobWork = {
      async step(job) {
        states.push(job.state);
        const at = ((job.state as { at: number } | null)?.at ?? 0) + 1;
        const progress = { done: at * 1e10, total: 3e10, state: { at }, result: { at, input: job.input } };
        if (at === 1) return { kind: 'more', ...progress };
        return at === 2 ? { kind: 'wait', afterMs: 50, ...progress } : { kind: 'done', ...progress };
      },
      ended: async ({ id }) => void ended.push(id),
    };
    jobs().undertake('exports.create', work);
    const { id } = await jobs().submit(org, 'exports.create', { what: 'a' }, { unit: 'bytes', total: 5 });
    expect(await finished(id)).toMatchObject({
      status: 'done',
      unit: 'bytes',
      done: 3e10,
      total: 3e10,
      failed: 0,
      result: { at: 3, input: { what: 'a' } },
    });
    expect(states).toEqual([null, { at: 1 }, { at: 2 }]);
    await until(() => ended.length > 0);
    expect(ended).toEqual([id]);
    const [listed] = (await jobs().list({ org, offset: 0, limit: 1, status: 'done' })).items;
    expect(listed).toMatchObject({ id, input: null, state: null, result: { at: 3 } });
  });

  test('waits for a node that knows how to carry it out', SLOW, async () => {
    const { id } = await jobs().submit(org, 'imports.create', {}, { unit: 'rows' });
    expect((await jobs().get(id))?.status).toBe('waiting');
    two.value.jobs.undertake('imports.create', { step: async () => ({ kind: 'done' }) });
    expect((await finished(id)).status).toBe('done');
  });

  test('is stopped on whichever node when it is cancelled, and then cleared away', SLOW, async () => {
    const events: string[] = [];
    let id = '';
    two.value.jobs.undertake('imports.create', {
      async step(_, signal, tell) {
        tell({ done: 7, total: 9 });
        events.push('step');
        return told(signal).finally(() => events.push('over'));
      },
      ended: async (job) => void (job.id === id && events.push(`ended ${job.status}`)),
    });
    ({ id } = await jobs().submit(org, 'imports.create', {}, { unit: 'rows' }));
    await until(async () => (await jobs().get(id))?.done === 7);
    expect(await jobs().get(id)).toMatchObject({ status: 'running', done: 7, total: 9 });
    expect((await jobs().cancel(id))?.status).toBe('cancelled');
    await until(() => events.length === 3);
    expect(events).toEqual(['step', 'over', 'ended cancelled']);
    expect(await finished(id)).toMatchObject({ status: 'cancelled', reason: null });
  });

  test('is tried again after a fault, from where it stood', SLOW, async () => {
    const seen: unknown[] = [];
    jobs().undertake('deletions.create', {
      async step({ state }) {
        seen.push(state);
        if (seen.length === 1) return { kind: 'more', state: 'half' };
        if (seen.length === 2) throw new Error('the engine is away');
        return { kind: 'failed', reason: 'It can not be done.' };
      },
    });
    const { id } = await jobs().submit(org, 'deletions.create', {}, { unit: 'rows' });
    expect(await finished(id)).toMatchObject({ status: 'failed', reason: 'It can not be done.' });
    expect(seen).toEqual([null, 'half', 'half']);
  });

  test('is never worked on by two nodes at the same time', SLOW, async () => {
    let atOnce = 0;
    let most = 0;
    let steps = 0;
    const work: JobWork = {
      async step({ state }) {
        steps++;
        most = Math.max(most, ++atOnce);
        await new Promise((resolve) => setTimeout(resolve, 5));
        atOnce--;
        const at = ((state as number | null) ?? 0) + 1;
        return at === 40 ? { kind: 'done', state: at } : { kind: 'wait', afterMs: 0, state: at };
      },
    };
    for (const node of [one, two]) node.value.jobs.undertake('deadletters.replay', work);
    const { id } = await jobs().submit(org, 'deadletters.replay', {}, { unit: 'messages' });
    expect((await finished(id)).state).toBe(40);
    expect([most, steps]).toEqual([1, 40]);
  });

  test('what a step comes to is not kept once its lease is another', SLOW, async () => {
    let steps = 0;
    let letGo = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const aborted: boolean[] = [];
    jobs().undertake('deletions.create', {
      async step(_, signal) {
        if (++steps === 1) {
          await told(signal).catch(() => aborted.push(true));
          await held;
          return { kind: 'done', result: 'of who was too late' };
        }
        return { kind: 'done', result: 'right' };
      },
    });
    const { id } = await jobs().submit(org, 'deletions.create', {}, { unit: 'rows' });
    await until(() => steps === 1);
    const client = new pg.Client(postgres.url);
    await client.connect();
    try {
      await client.query('UPDATE registry.jobs SET lease = $1 WHERE id = $2', [uuidV7(), id]);
      await until(() => aborted.length === 1);
      letGo();
      await until(async () => steps === 2 || (await jobs().get(id))?.finishedAt !== null);
    } finally {
      await client.end();
    }
    expect((await finished(id)).result).toBe('right');
    expect(steps).toBe(2);
  });

  test('of one kind are ten at most that are not finished, in one organisation', SLOW, async () => {
    jobs().undertake('exports.create', { step: (_, signal) => told(signal) });
    const ids: string[] = [];
    for (let count = 0; count < 10; count++)
      ids.push((await jobs().submit(org, 'exports.create', {}, { unit: 'rows' })).id);
    await expect(jobs().submit(org, 'exports.create', {}, { unit: 'rows' })).rejects.toMatchObject({
      code: 'REGISTRY_FULL',
    });
    for (const id of ids) await jobs().cancel(id);
  });
});
