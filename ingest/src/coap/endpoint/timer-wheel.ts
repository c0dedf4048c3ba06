const SLOTS = 512;
/** Idle turns after which the clock stops: starting it for each request would cost more than the turns. */
const IDLE_TICKS_MAX = 40;

/** Something that wants to be called later. In one wheel at a time.  @units delays in ms */
export abstract class Timer {
  /** Owned by the wheel. */
  dueTick = -1;
  previous: Timer | null = null;
  next: Timer | null = null;
  abstract onDue(nowMs: number): void;
}

class Slot extends Timer {
  onDue(): void {}
}

/** All timers of an endpoint on one clock: adding and cancelling are a few pointer writes. Late by up to a tick.
 *  @units nowMs of a monotonic clock */
export class TimerWheel {
  readonly #slots: Timer[] = [];
  readonly #now: () => number;
  readonly #tickMs: number;
  readonly #originMs: number;
  #tick = 0;
  #size = 0;
  #idleTicks = 0;
  #interval: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(now: () => number, tickMs = 50) {
    this.#now = now;
    this.#tickMs = tickMs;
    this.#originMs = now();
    for (let index = 0; index < SLOTS; index++) {
      const slot = new Slot();
      slot.previous = slot;
      slot.next = slot;
      this.#slots.push(slot);
    }
  }

  get size(): number {
    return this.#size;
  }

  /** Adds it, or moves it. */
  add(timer: Timer, delayMs: number): void {
    if (this.#closed) return;
    this.cancel(timer);
    if (this.#interval === null) this.#startClock();
    const tick = Math.ceil((this.#now() - this.#originMs + delayMs) / this.#tickMs);
    timer.dueTick = Math.max(tick, this.#tick + 1);
    const slot = this.#slots[timer.dueTick % SLOTS] as Timer;
    const last = slot.previous as Timer;
    timer.previous = last;
    timer.next = slot;
    last.next = timer;
    slot.previous = timer;
    this.#size++;
  }

  cancel(timer: Timer): void {
    if (timer.dueTick < 0) return;
    timer.dueTick = -1;
    (timer.previous as Timer).next = timer.next;
    (timer.next as Timer).previous = timer.previous;
    timer.previous = null;
    timer.next = null;
    this.#size--;
  }

  /** Calls what is due. */
  advance(): void {
    const nowMs = this.#now();
    const target = Math.floor((nowMs - this.#originMs) / this.#tickMs);
    const turns = Math.min(target - this.#tick, SLOTS);
    const from = target - turns;
    this.#tick = Math.max(this.#tick, target);
    for (let tick = from + 1; tick <= target; tick++) {
      const slot = this.#slots[tick % SLOTS] as Timer;
      // What is due leaves the slot first: callbacks may add to and cancel from the same slot.
      const due: Timer[] = [];
      for (let timer = slot.next as Timer; timer !== slot; timer = timer.next as Timer)
        if (timer.dueTick <= target) due.push(timer);
      for (const timer of due) {
        // One that was cancelled or moved by another of them.
        if (timer.dueTick < 0 || timer.dueTick > target) continue;
        this.cancel(timer);
        timer.onDue(nowMs);
      }
    }
    this.#idleTicks = this.#size === 0 ? this.#idleTicks + 1 : 0;
    if (this.#idleTicks > IDLE_TICKS_MAX) this.#stopClock();
  }

  close(): void {
    this.#closed = true;
    this.#stopClock();
  }

  #startClock(): void {
    // It stood still: what passed meanwhile had no timers.
    this.#tick = Math.max(this.#tick, Math.floor((this.#now() - this.#originMs) / this.#tickMs));
    this.#idleTicks = 0;
    this.#interval = setInterval(() => this.advance(), this.#tickMs).unref();
  }

  #stopClock(): void {
    if (this.#interval !== null) clearInterval(this.#interval);
    this.#interval = null;
  }
}
