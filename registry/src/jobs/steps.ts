import type { Logger } from '@millrace/core';
import { actingAs } from '../audit/actor.ts';
import { type Job, type StepKind, stepKinds } from './jobs.ts';
import { BEAT_MS, LEASE_MS, type Leased, type StepStore } from './step-store.ts';
import type { JobWork } from './work.ts';

export interface StepsOptions {
  readonly store: StepStore;
  /** @returns null while nobody here can tell */
  rights(job: Job): Promise<'held' | 'lost' | null>;
  stopUnlawful(job: string): Promise<void>;
  readonly logger: Logger;
}
/** Carries out jobs step by step, those that this node knows how to. */
export interface Steps {
  undertake(kind: StepKind, work: JobWork): void;
  /** Looks for work now. */
  look(): void;
  start(): void;
  /** Steps are told to end; those that do not are left behind, with their lease. */
  stop(): Promise<void>;
}

/** How far the step that runs has told to be since the last beat. */
interface Told {
  latest: { readonly done?: number; readonly total?: number };
}

/** How often is looked for jobs that were not told of, are due now, or whose node died. */
const POLL_MS = 2_000;
/** Jobs of one kind that a node works on at once. */
const AT_ONCE_MAX = 2;
/** After so long a job lets others have its place, if there are any. */
const TURN_MS = 30_000;
const STOP_MS_MAX = 10_000;

/** @holds of one job no two steps run at the same time, unless a node hangs for longer than its lease: then what the
 *  older step comes to is not kept, and its signal is aborted as soon as the node breathes again */
export function createSteps({ store, rights, stopUnlawful, logger }: StepsOptions): Steps {
  const works = new Map<StepKind, JobWork>();
  const running = new Map<string, { readonly kind: StepKind; readonly over: Promise<void> }>();
  const stopping = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let looking: Promise<void> | null = null;
  let again = false;

  const freeKinds = (): StepKind[] =>
    stepKinds.filter(
      (kind) => works.has(kind) && [...running.values()].filter((other) => other.kind === kind).length < AT_ONCE_MAX,
    );

  async function fill(): Promise<void> {
    do {
      again = false;
      for (;;) {
        const kinds = freeKinds();
        if (kinds.length === 0 || stopping.signal.aborted) break;
        const leased = await store.claim(kinds, [...running.keys()]);
        if (leased === null) break;
        const { id } = leased.job;
        const kind = leased.job.kind as StepKind;
        const over = hold(leased, works.get(kind) as JobWork).then((isJudged) => {
          running.delete(id);
          if (isJudged) look();
        });
        running.set(id, { kind, over });
      }
    } while (again);
  }

  function look(): void {
    if (stopping.signal.aborted || works.size === 0) return;
    again = true;
    looking ??= fill()
      .catch((error) => logger.warn({ err: error }, 'can not look for jobs; tries again'))
      .finally(() => {
        looking = null;
      });
  }

  /** Works on a job as long as the lease is held.
   *  @returns false if nobody here can judge it yet  @throws never */
  async function hold(leased: Leased, work: JobWork): Promise<boolean> {
    const ending = new AbortController();
    const end = (): void => ending.abort();
    stopping.signal.addEventListener('abort', end);
    const progress: Told = { latest: {} };
    let heldMs = performance.now();
    let beating: Promise<void> | null = null;
    const beat = async (): Promise<void> => {
      const atMs = performance.now();
      const { latest } = progress;
      progress.latest = {};
      try {
        const answer = await store.beat(leased, latest);
        if (answer !== 'lost') heldMs = atMs;
        if (answer !== 'held') ending.abort();
      } catch {
        if (performance.now() - heldMs > LEASE_MS - BEAT_MS) ending.abort();
      }
    };
    const beats = setInterval(() => {
      beating ??= beat().finally(() => {
        beating = null;
      });
    }, BEAT_MS);
    try {
      return await carryOut(leased, work, ending.signal, progress);
    } catch (error) {
      // Who was told to end may end in any way.
      if (!ending.signal.aborted) {
        logger.warn({ err: error, job: leased.job.id }, 'a job broke down; tries again');
        await store.breakDown(leased).catch(() => undefined);
      }
      return true;
    } finally {
      clearInterval(beats);
      stopping.signal.removeEventListener('abort', end);
      await beating;
      // Where this fails, the lease runs out.
      await store.release(leased).catch(() => undefined);
    }
  }

  async function carryOut(leased: Leased, work: JobWork, signal: AbortSignal, progress: Told): Promise<boolean> {
    const { job } = leased;
    if (leased.over) {
      await actingAs(job.actor, () => work.ended?.(job));
      await store.settle(leased);
      return true;
    }
    if (leased.isSpent) {
      await store.breakDown(leased);
      return true;
    }
    const untilMs = performance.now() + TURN_MS;
    let current = job;
    while (!signal.aborted) {
      const held = await rights(current);
      if (held === null) return false;
      if (held === 'lost') {
        await stopUnlawful(job.id);
        return true;
      }
      const step = current;
      const outcome = await actingAs(job.actor, () =>
        work.step(step, signal, (told) => {
          progress.latest = { ...progress.latest, ...told };
        }),
      );
      progress.latest = {};
      if (!(await store.keep(leased, outcome)) || outcome.kind !== 'more' || performance.now() > untilMs) break;
      current = {
        ...current,
        done: outcome.done ?? current.done,
        failed: outcome.failed ?? current.failed,
        total: outcome.total ?? current.total,
        state: outcome.state === undefined ? current.state : outcome.state,
        result: outcome.result === undefined ? current.result : outcome.result,
      };
    }
    return true;
  }

  return {
    undertake(kind, work) {
      works.set(kind, work);
      look();
    },
    look,
    start() {
      timer = setInterval(look, POLL_MS);
      timer.unref();
      look();
    },
    async stop() {
      clearInterval(timer);
      stopping.abort();
      await looking;
      const over = Promise.all([...running.values()].map(({ over: each }) => each));
      let late: NodeJS.Timeout | undefined;
      await Promise.race([
        over,
        new Promise((resolve) => {
          late = setTimeout(resolve, STOP_MS_MAX);
        }),
      ]);
      clearTimeout(late);
    },
  };
}
