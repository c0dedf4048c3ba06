import type { Job } from './jobs.ts';

/** What a step came to. `state` and `result` replace what was kept; absent, it stays.
 *  @shape more: there is more to do, at once; wait: more, but not before `afterMs`; done, failed: it is over */
export type StepOutcome =
  | (Progress & { readonly kind: 'more' })
  | (Progress & { readonly kind: 'wait'; readonly afterMs: number })
  | (Progress & { readonly kind: 'done' })
  | (Progress & { readonly kind: 'failed'; readonly reason: string });
interface Progress {
  /** What has been worked off, what of it failed, and all there is, as far as it is known. In the job's own unit. */
  readonly done?: number;
  readonly failed?: number;
  readonly total?: number;
  /** Where it stands: the next step is given this, on whichever node. At most 64 KiB of JSON. */
  readonly state?: unknown;
  /** What it came to, for who asked (GET /jobs/{id}). At most 64 KiB of JSON; no secret. */
  readonly result?: unknown;
}

/** How jobs of one kind are carried out, step by step: a step may be repeated, when the node dies before what it came to
 *  is kept, so each must be able to find its own traces. */
export interface JobWork {
  /** @param job with `input` as submitted and `state` as the last step left it
   *  @param signal aborted when the job is cancelled, its org frozen, the node stops or the lease is lost: end soon, and throw or return
   *  @throws a fault: the step is tried again, later and later, and the job fails after many */
  step(job: Job, signal: AbortSignal, told: StepProgress): Promise<StepOutcome>;
  /** After it ended in whatever way, and no step of it runs any more: clears away what nobody needs. Once, or again if
   *  the node dies in it.  @throws a fault: it is tried again */
  ended?(job: Job): Promise<void>;
}
/** Tells how far a long step is; kept at most each second. */
export type StepProgress = (progress: { readonly done?: number; readonly total?: number }) => void;
