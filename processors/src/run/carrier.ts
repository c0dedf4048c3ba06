import type { Burial, CarrierEvent, Effect, Strand } from './effects.ts';
import { type Commit, Ledger, type OffsetRange, type OpenRange } from './ledger.ts';

/** Rows in the making. */
interface Work {
  readonly range: OffsetRange;
  readonly attempts: number;
  readonly failure: { readonly before: number | null; readonly hung: boolean } | null;
}

const ATTEMPTS_MAX = 2;
const NOTHING: readonly Effect[] = [];

/** Decides how one partition is carried from the log to the store, exactly once: events in, effects out, and nothing
 *  else: no clock, no I/O, no rows. The model test drives this very class.
 *
 *  ```
 *  ahead: idle → reading → working → ready ─┐ (or ended, when drained)
 *  hand:  idle ◀── committing ◀── writing ◀─┴─ committing its intent
 *                      ▲  │          └ refused → weighing → committing a split, or burying
 *                      └──┴ working: an open range is made again
 *  ```
 *  @holds at most one effect a strand is under way; commits and writes belong to the hand, so they never overlap
 *  @source docs/adr/0023-exactly-once-machine.md */
export class Carrier {
  readonly #ledger: Ledger;
  #hand: 'idle' | 'working' | 'writing' | 'weighing' | 'settling' | 'committing' | 'over' = 'idle';
  #ahead: 'idle' | 'reading' | 'working' | 'ready' | 'ended' = 'idle';
  readonly #work: Record<Strand, Work | null> = { hand: null, ahead: null };
  /** What is ready. */
  #ready: OffsetRange | null = null;
  /** The rows of the head are there already: it was ready before it was opened. */
  #prepared = false;
  /** The rows in hand are a dead letter. */
  #burying = false;
  #tries = 0;
  /** What is done once no insert of another owner can come any more. */
  #settled: (() => readonly Effect[]) | null = null;

  private constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** @throws ProcessorsError INTENT_UNREADABLE */
  static resume(committed: Commit): Carrier {
    return new Carrier(Ledger.resume(committed));
  }

  /** What stands committed while the hand writes: committing it again proves that the lease holds, and changes nothing. */
  get standing(): Commit {
    return this.#ledger.standing;
  }

  /** Something that was begun before is open: it is made and written again. */
  get redoing(): boolean {
    return this.#ledger.head?.verify === true;
  }

  begin(): readonly Effect[] {
    return this.#proceed();
  }

  /** @throws RangeError when the event answers nothing that was asked for */
  on(event: CarrierEvent): readonly Effect[] {
    if (this.#hand === 'over') return NOTHING;
    switch (event.kind) {
      case 'read':
        this.#expect(this.#ahead === 'reading', event);
        this.#ahead = 'working';
        return this.#normalise('ahead', event.range, 0);
      case 'drained':
        this.#expect(this.#ahead === 'reading', event);
        this.#ahead = 'ended';
        return this.#hand === 'idle' ? this.#proceed() : NOTHING;
      case 'normalised':
        return this.#made(event.strand, event.range);
      case 'failed':
        return this.#failed(event.strand, event);
      case 'probed':
        return this.#probed(event.strand, event.works);
      case 'buried':
        return this.#made(event.strand, this.#worked(event.strand).range);
      case 'weighed':
        this.#expect(this.#hand === 'weighing', event);
        return this.#weighed(event.before);
      case 'written':
        this.#expect(this.#hand === 'writing', event);
        return this.#close();
      case 'refused':
        this.#expect(this.#hand === 'writing', event);
        return this.#refused(event.messages);
      case 'unreachable':
        this.#expect(this.#hand === 'writing', event);
        this.#tries++;
        return [{ kind: 'wait', strand: 'hand', why: 'store', tries: this.#tries }];
      case 'committed':
        this.#expect(this.#hand === 'committing', event);
        return this.#proceed();
      case 'waited':
        return this.#waited(event.strand);
      case 'lost':
        return this.#end();
    }
  }

  /** What stands committed is what the ledger says: the head is written, or what is ready is opened, or more is read. */
  #proceed(): readonly Effect[] {
    const { head } = this.#ledger;
    if (head !== null) {
      if (this.#prepared) return [this.#write(), ...this.#readOn()];
      this.#hand = 'working';
      return this.#normalise('hand', head, 0);
    }
    this.#hand = 'idle';
    if (this.#ready !== null) return this.#commit(this.#ledger.intend(this.#ready));
    return this.#ahead === 'ended' ? this.#end() : this.#readOn();
  }

  #readOn(): readonly Effect[] {
    if (this.#ahead !== 'idle') return NOTHING;
    this.#ahead = 'reading';
    return [{ kind: 'read', from: this.#ledger.next }];
  }

  #normalise(strand: Strand, { first, last }: OffsetRange, attempts: number): readonly Effect[] {
    const range = { first, last };
    this.#work[strand] = { range, attempts, failure: null };
    return [{ kind: 'normalise', strand, range }];
  }

  #made(strand: Strand, range: OffsetRange): readonly Effect[] {
    this.#worked(strand);
    this.#work[strand] = null;
    if (strand === 'hand') return [this.#write()];
    this.#ahead = 'ready';
    this.#ready = range;
    return this.#hand === 'idle' ? this.#proceed() : NOTHING;
  }

  #failed(strand: Strand, failure: NonNullable<Work['failure']>): readonly Effect[] {
    const { range, attempts } = this.#worked(strand);
    this.#work[strand] = { range, attempts: attempts + 1, failure };
    return attempts + 1 < ATTEMPTS_MAX ? this.#again(strand) : [{ kind: 'probe', strand }];
  }

  #again(strand: Strand): readonly Effect[] {
    const { range, attempts } = this.#worked(strand);
    return this.#normalise(strand, range, attempts);
  }

  /** A message that is alone is a dead letter; of more the suspect is told from the others. What is not yet opened just
   *  ends earlier. */
  #probed(strand: Strand, works: boolean): readonly Effect[] {
    const { range, attempts, failure } = this.#worked(strand);
    if (!works) return [{ kind: 'wait', strand, why: 'workers', tries: attempts }];
    if (failure === null) throw new RangeError('nothing has failed');
    const { before } = failure;
    const reason = failure.hung ? 'worker_hung' : 'worker_failed';
    if (strand === 'ahead') {
      if (before === null) return [{ kind: 'bury', strand, range, reason }];
      return this.#normalise('ahead', { first: range.first, last: before - 1 }, 0);
    }
    const bury = (): readonly Effect[] => {
      this.#hand = 'working';
      return [{ kind: 'bury', strand, range, reason }];
    };
    return this.#settle(before === null ? bury : () => this.#split(before));
  }

  #waited(strand: Strand): readonly Effect[] {
    if (strand === 'ahead' || this.#hand === 'working') return this.#again(strand);
    if (this.#hand === 'writing') return [this.#write()];
    if (this.#hand !== 'settling') throw new RangeError(`the hand is ${this.#hand} and waits for nothing`);
    if (this.#settled === null) throw new RangeError('nothing waits to be settled');
    return this.#settled();
  }

  /** From the second try on the first may be there without a word, and its token may be forgotten by now. */
  #write(): Effect {
    const { first, last, part, verify: doubtful } = this.#head();
    this.#hand = 'writing';
    const verify = doubtful || this.#burying || this.#tries > 0;
    return { kind: 'write', range: { first, last }, verify, part, tries: this.#tries };
  }

  /** The store will never take the head as it is: halves, until the culprit is alone and becomes a dead letter. */
  #refused(messages: number): readonly Effect[] {
    this.#tries++;
    // What refuses even a dead letter is the store's own fault: nothing may be lost to it.
    if (this.#burying) return [{ kind: 'wait', strand: 'hand', why: 'dead_letters', tries: this.#tries }];
    if (messages === 1) return this.#bury('store_refused');
    const { first, last } = this.#head();
    this.#hand = 'weighing';
    return [{ kind: 'weigh', range: { first, last } }];
  }

  /** Where the log has lost all but one meanwhile, that one need not be the culprit. */
  #weighed(before: number | null): readonly Effect[] {
    if (before !== null) return this.#settle(() => this.#split(before));
    this.#prepared = false;
    this.#hand = 'working';
    return this.#normalise('hand', this.#head(), 0);
  }

  #bury(reason: Burial): readonly Effect[] {
    const { first, last } = this.#head();
    const range = { first, last };
    this.#hand = 'working';
    this.#burying = true;
    this.#work.hand = { range, attempts: 0, failure: null };
    return [{ kind: 'bury', strand: 'hand', range, reason }];
  }

  /** A part has another token than its whole, and a dead letter takes the place of rows: what the owner before has sent
   *  must have come by then. */
  #settle(then: () => readonly Effect[]): readonly Effect[] {
    if (!this.#head().inherited) return then();
    this.#hand = 'settling';
    this.#settled = then;
    return [{ kind: 'wait', strand: 'hand', why: 'late_inserts', tries: 0 }];
  }

  #split(before: number): readonly Effect[] {
    this.#prepared = false;
    return this.#commit(this.#ledger.split(before));
  }

  /** One commit closes the head and opens what is ready, unless more of the plan is to be written first. */
  #close(): readonly Effect[] {
    this.#prepared = false;
    return this.#commit(this.#ledger.written(this.#ready));
  }

  #commit({ offset, metadata }: Commit): readonly Effect[] {
    this.#hand = 'committing';
    this.#work.hand = null;
    this.#burying = false;
    this.#tries = 0;
    if (this.#ready !== null && this.#ledger.head?.first === this.#ready.first) {
      this.#prepared = true;
      this.#ready = null;
      this.#ahead = 'idle';
    }
    return [{ kind: 'commit', offset, metadata }];
  }

  #end(): readonly Effect[] {
    this.#hand = 'over';
    return [{ kind: 'over' }];
  }

  #head(): OpenRange {
    const { head } = this.#ledger;
    if (head === null) throw new RangeError('nothing is open');
    return head;
  }

  #worked(strand: Strand): Work {
    const work = this.#work[strand];
    if (work === null) throw new RangeError(`nothing is made for the ${strand}`);
    return work;
  }

  #expect(met: boolean, event: CarrierEvent): void {
    if (!met) throw new RangeError(`${event.kind} while the hand is ${this.#hand} and ahead is ${this.#ahead}`);
  }
}
