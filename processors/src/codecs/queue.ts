import { ProcessorsError } from '../errors.ts';

/** An organisation that had to be stopped by force may have one place at a time for so long. */
const PROBATION_MS = 60_000;
const PROBATIONS_MAX = 1_000;
/** Who has had less time than others is ahead of them by this much at most. */
const CREDIT_MS_MAX = 1_000;

interface Waiting {
  readonly codec: string;
  readonly enter: () => void;
}
/** An organisation that has something running or waiting. */
interface Owner {
  readonly waiting: Waiting[];
  running: number;
  /** Time of threads that it has had, as far as it counts: who comes anew has no credit for having been away, and who
   *  needs little no more than a second. */
  hadMs: number;
}
/** Gives the place back.  @param byForce whether the run had to be ended so */
export type Leave = (byForce?: boolean) => void;

/** Lets so many in at a time; the others wait. Whoever has had the least time of the threads is next, so that an
 *  organisation whose codecs are slow waits for itself and not the others for it.
 *  Full means: refuse. Of one organisation only half of the room may be taken, of one codec a quarter.
 *  @holds whose run had to be ended by force has one place at a time for a minute: such a run lasts for seconds, and with
 *         all places taken by them nobody could go on */
export class RunQueue {
  readonly #waitingMax: number;
  readonly #ownerWaitingMax: number;
  readonly #codecWaitingMax: number;
  readonly #now: () => number;
  readonly #owners = new Map<string, Owner>();
  readonly #perCodec = new Map<string, number>();
  /** Until when.  @units ms of `now` */
  readonly #probations = new Map<string, number>();
  #free: number;
  #waiting = 0;
  /** The most that anybody who was let in had had. */
  #reachedMs = 0;

  constructor(places: number, waitingMax: number, now: () => number = () => performance.now()) {
    this.#free = places;
    this.#waitingMax = waitingMax;
    this.#ownerWaitingMax = Math.max(1, Math.ceil(waitingMax / 2));
    this.#codecWaitingMax = Math.max(1, Math.ceil(waitingMax / 4));
    this.#now = now;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** @throws ProcessorsError CODECS_BUSY */
  async enter(org: string, codec: string): Promise<Leave> {
    const owner = this.#owners.get(org) ?? { waiting: [], running: 0, hadMs: this.#reachedMs };
    owner.hadMs = Math.max(owner.hadMs, this.#reachedMs - CREDIT_MS_MAX);
    if (this.#free === 0 || !this.#mayRun(org, owner)) {
      const ofCodec = this.#perCodec.get(codec) ?? 0;
      const full =
        this.#waiting >= this.#waitingMax ||
        owner.waiting.length >= this.#ownerWaitingMax ||
        ofCodec >= this.#codecWaitingMax;
      if (full) throw new ProcessorsError('CODECS_BUSY', 'later', { waiting: this.#waiting, ofCodec });
      this.#owners.set(org, owner);
      this.#perCodec.set(codec, ofCodec + 1);
      this.#waiting++;
      // Whoever lets it in has taken its place for it.
      await new Promise<void>((enter) => owner.waiting.push({ codec, enter }));
    } else {
      this.#owners.set(org, owner);
      this.#take(owner);
    }
    const startMs = this.#now();
    return (byForce = false) => {
      owner.hadMs += this.#now() - startMs;
      owner.running--;
      this.#free++;
      if (byForce) this.#putOnProbation(org);
      if (owner.running === 0 && owner.waiting.length === 0) this.#owners.delete(org);
      this.#letIn();
    };
  }

  #take(owner: Owner): void {
    this.#reachedMs = Math.max(this.#reachedMs, owner.hadMs);
    owner.running++;
    this.#free--;
  }

  #letIn(): void {
    while (this.#free > 0) {
      let next: Owner | null = null;
      for (const [org, owner] of this.#owners)
        if (owner.waiting.length > 0 && this.#mayRun(org, owner) && (next === null || owner.hadMs < next.hadMs))
          next = owner;
      const first = next?.waiting.shift();
      if (next === null || first === undefined) return;
      const left = (this.#perCodec.get(first.codec) ?? 1) - 1;
      if (left === 0) this.#perCodec.delete(first.codec);
      else this.#perCodec.set(first.codec, left);
      this.#waiting--;
      this.#take(next);
      first.enter();
    }
  }

  #mayRun(org: string, owner: Owner): boolean {
    return owner.running === 0 || !this.#isOnProbation(org);
  }

  #isOnProbation(org: string): boolean {
    const until = this.#probations.get(org);
    if (until === undefined) return false;
    if (this.#now() < until) return true;
    this.#probations.delete(org);
    return false;
  }

  #putOnProbation(org: string): void {
    if (this.#probations.size >= PROBATIONS_MAX) this.#probations.clear();
    this.#probations.set(org, this.#now() + PROBATION_MS);
  }
}
