import type { Admission, Gate, Logger } from '@millrace/core';
import type { Route } from './cursor.ts';
import type { Seat } from './seat.ts';
import type { Turns } from './turns.ts';

/** Subscriptions looked at in one turn of the event loop. */
const LOOKS_PER_TURN = 8_192;
/** What one that is judged again counts for: a change of the policy may void all of them at once. */
const LOOKS_PER_JUDGEMENT = 64;

/** Goes round all subscriptions and has judged again what an event or the time has voided: who may no longer read a
 *  channel hears that its subscription is over, within two rounds. A look costs next to nothing while nothing changed. */
export class Patrol {
  readonly #routes: Route[] = [];
  readonly #gate: Gate;
  readonly #logger: Logger;
  readonly #turns: Turns;
  readonly #nowMs: () => number;
  readonly #watched = new Set<Seat>();
  readonly #timer: NodeJS.Timeout;
  #walking = false;
  #stopped = false;

  constructor(gate: Gate, logger: Logger, turns: Turns, nowMs: () => number, everyMs: number) {
    this.#nowMs = nowMs;
    this.#gate = gate;
    this.#logger = logger;
    this.#turns = turns;
    this.#timer = setInterval(() => void this.#walk(), everyMs);
    this.#timer.unref();
  }

  add(route: Route): void {
    route.beat = this.#routes.push(route) - 1;
  }

  remove(route: Route): void {
    if (route.beat < 0) return;
    const last = this.#routes.pop() as Route;
    if (last !== route) {
      this.#routes[route.beat] = last;
      last.beat = route.beat;
    }
    route.beat = -1;
  }

  /** Looks when the seat's principal is known again. */
  watch(seat: Seat): void {
    this.#watched.add(seat);
  }

  forget(seat: Seat): void {
    this.#watched.delete(seat);
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }

  async #walk(): Promise<void> {
    if (this.#walking) return;
    this.#walking = true;
    for (const seat of this.#watched) {
      if (isRevoked(seat)) continue;
      this.#watched.delete(seat);
      seat.recognise();
    }
    let looks = 0;
    // Downward: what is removed meanwhile puts only what has been looked at in its place.
    for (let beat = this.#routes.length - 1; beat >= 0; beat--) {
      const route = this.#routes[beat];
      const admission = route?.admission;
      if (route !== undefined && !(admission?.kind === 'allow' && admission.valid) && !route.judging) {
        looks += LOOKS_PER_JUDGEMENT;
        try {
          this.#judge(route.seat, route);
        } catch (error) {
          route.seat.fault(error);
        }
      }
      if (++looks < LOOKS_PER_TURN) continue;
      looks = 0;
      await this.#turns.next();
      if (this.#stopped) return;
    }
    this.#walking = false;
  }

  #judge(seat: Seat, route: Route): void {
    const { subscriber } = seat;
    // Its owner finds out who it is now, or detaches it.
    if (subscriber.principal.revoked) return;
    const { principal } = subscriber;
    // Who is silent may not have looked at the clock for long, and the time itself may end a right.
    const { protocol, remoteAddress, tls, mutualTls } = subscriber.context;
    const context = { protocol, remoteAddress, tls, mutualTls, nowMs: this.#nowMs() };
    const answer = this.#gate.may(principal, 'subscribe', route.channel as string, route.filter.subtopic, context);
    if (!(answer instanceof Promise)) {
      this.#settle(seat, route, answer);
      return;
    }
    route.judging = true;
    answer.then(
      (admission) => {
        route.judging = false;
        if (principal === subscriber.principal && !principal.revoked) this.#settle(seat, route, admission);
      },
      (error: unknown) => {
        route.judging = false;
        this.#logger.debug({ err: error }, 'a subscription could not be judged again yet');
      },
    );
  }

  #settle(seat: Seat, route: Route, admission: Admission): void {
    if (admission.kind === 'allow') route.admission = admission;
    else seat.end(route, admission.reason);
  }
}

/** Whether who it is must still be found out. */
function isRevoked(seat: Seat): boolean {
  try {
    return seat.subscriber.principal.revoked;
  } catch (error) {
    seat.fault(error);
    return true;
  }
}
