import { PolicyError } from './errors.ts';

interface Waiter {
  readonly since: number;
  readonly admit: () => void;
  readonly refuse: (error: PolicyError) => void;
}

/** Lets so many run at once and so many wait so long; others are refused with POLICY_BUSY. */
export class Limiter {
  readonly #name: string;
  readonly #runningMax: number;
  readonly #waitingMax: number;
  readonly #waitMsMax: number;
  /** In order of arrival; a Set gives up its first and any other alike. */
  readonly #waiting = new Set<Waiter>();
  #running = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(name: string, runningMax: number, waitingMax: number, waitMsMax: number) {
    this.#name = name;
    this.#runningMax = runningMax;
    this.#waitingMax = waitingMax;
    this.#waitMsMax = waitMsMax;
  }

  /** @throws PolicyError POLICY_BUSY, and what the work throws */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#runningMax) this.#running++;
    else await this.#wait();
    try {
      return await work();
    } finally {
      // The one that ends hands its place on, so `#running` stays.
      const [next] = this.#waiting;
      if (next === undefined) {
        this.#running--;
      } else {
        this.#waiting.delete(next);
        next.admit();
      }
    }
  }

  #wait(): Promise<void> {
    if (this.#waiting.size >= this.#waitingMax) throw this.#busy();
    return new Promise((admit, refuse) => {
      this.#waiting.add({ since: performance.now(), admit, refuse });
      this.#watch();
    });
  }

  /** One timer for the one that waits longest. */
  #watch(): void {
    const [first] = this.#waiting;
    if (this.#timer !== null || first === undefined) return;
    const left = Math.max(1, first.since + this.#waitMsMax - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = null;
      const late = performance.now() - this.#waitMsMax;
      for (const waiter of this.#waiting) {
        if (waiter.since > late) break;
        this.#waiting.delete(waiter);
        waiter.refuse(this.#busy());
      }
      this.#watch();
    }, left);
    this.#timer.unref();
  }

  #busy(): PolicyError {
    return new PolicyError('POLICY_BUSY', 'later', { queue: this.#name, waiting: this.#waiting.size });
  }
}

/** One piece of work a key at a time; who asks meanwhile gets the same promise. */
export class Flights<T> {
  #flights: Map<string, Promise<T>> | null = null;

  join(key: string, work: () => Promise<T>): Promise<T> {
    const flights = this.#flights ?? new Map<string, Promise<T>>();
    this.#flights = flights;
    const flying = flights.get(key);
    if (flying !== undefined) return flying;
    const flight = work().finally(() => {
      flights.delete(key);
      if (flights.size === 0 && this.#flights === flights) this.#flights = null;
    });
    flights.set(key, flight);
    return flight;
  }
}
