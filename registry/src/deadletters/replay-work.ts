import type { DeadLetter, Principal } from '@millrace/core';
import type { Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import type { Job } from '../jobs/jobs.ts';
import { askingOf } from '../jobs/rights.ts';
import type { JobWork, StepOutcome } from '../jobs/work.ts';
import { keyOf, letterOf, listLetters, UNREADABLE } from './letters.ts';
import { replayOf } from './payload.ts';
import { channelOf, refuseForbidden, replay } from './replay.ts';
import { letterRights } from './rights.ts';
import { letterId } from './states.ts';

/** What was asked for.  @units from and to in µs since 1970, decimal text */
export interface ReplayInput {
  readonly filter: {
    readonly channel?: string | undefined;
    readonly publisher?: string | undefined;
    readonly message?: string | undefined;
    readonly reason?: string | undefined;
    readonly from?: string;
    /** Those that die while they are replayed are not replayed again. */
    readonly to: string;
  };
}
interface State {
  readonly cursor?: string | undefined;
  readonly done: number;
  readonly failed: number;
  /** Why some could not be replayed; counted by what was said. */
  readonly problems: Readonly<Record<string, number>>;
}

const LETTERS_A_STEP = 100;
/** What is larger is read by itself. */
const PAYLOAD_BYTES = 65_536;
const PROBLEMS_MAX = 20;
const KEPT_AWAY = 'A policy keeps its channel from who asked.';

/** Replays open letters, a hundred a step. A step that is repeated finds its letters closed, or their replays begun. */
export function replayWork(plane: Plane): JobWork {
  return {
    async step(job, signal, told): Promise<StepOutcome> {
      const { filter } = job.input as ReplayInput;
      const before = (job.state as State | null) ?? { done: 0, failed: 0, problems: {} };
      const asking = await askingOf(job, plane);
      if (asking === null) return { kind: 'failed', reason: 'Who asked for it is not there any more.' };
      const { from, to, ...rest } = filter;
      const page = await listLetters(
        plane,
        {
          ...given(rest),
          org: job.org,
          state: 'open',
          toUs: BigInt(to),
          ...(from === undefined ? {} : { fromUs: BigInt(from) }),
        },
        { offset: 0, limit: LETTERS_A_STEP, cursor: before.cursor, payloadBytesMax: PAYLOAD_BYTES },
      );
      const may = letterRights(plane, asking, 'deadletters.replay');
      let { done, failed } = before;
      const problems: Record<string, number> = { ...before.problems };
      for (const { letter: head } of page.letters) {
        if (signal.aborted) throw signal.reason;
        const problem = (await may(head)) ? await replayed(plane, job, head, asking) : KEPT_AWAY;
        done++;
        if (problem !== null) {
          failed++;
          if (Object.hasOwn(problems, problem) || Object.keys(problems).length < PROBLEMS_MAX)
            problems[problem] = (problems[problem] ?? 0) + 1;
        }
        told({ done });
      }
      const progress = {
        done,
        failed,
        state: { cursor: page.cursor, done, failed, problems } satisfies State,
        result: { replayed: done - failed, failed, problems },
      };
      return page.cursor === undefined ? { kind: 'done', ...progress } : { kind: 'more', ...progress };
    },
  };
}

/** @returns why it could not be replayed  @throws what a later step may get over */
async function replayed(
  plane: Plane,
  job: Job,
  head: DeadLetter,
  asking: NonNullable<Awaited<ReturnType<typeof askingOf>>>,
): Promise<string | null> {
  if (head.message === UNREADABLE) return 'It is no message.';
  try {
    const letter = head.payload.length === head.size ? head : await letterOf(plane, letterId(keyOf(head)));
    if (letter === null || letter.org !== job.org) return 'It is gone.';
    const channel = await channelOf(plane, letter);
    await refuseForbidden(plane, letter, channel, asking);
    await replay(plane, letter, replayOf(letter));
    return null;
  } catch (error) {
    if (error instanceof Refusal && error.status < 500) return error.message;
    throw error;
  }
}

type Given<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> };
const given = <T extends object>(filter: T): Given<T> =>
  Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined)) as Given<T>;

/** A job goes on in somebody's name.  @throws Refusal 403 */
export function refuseAnonymous({ subject }: Principal): void {
  if (subject.kind !== 'user') throw new Refusal(403, 'This is for users; a thing can not ask for it.');
}
