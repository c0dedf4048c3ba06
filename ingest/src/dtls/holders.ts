import { networkOf } from '@millrace/core';
import type { Session } from './session.ts';

/** Who has which sessions, so that nobody can push the others out with ever new ones. */
export class Holders {
  readonly #sessions = new Map<string, Session[]>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  /** @returns the oldest of the same holder, which is too many now */
  add(session: Session): Session | null {
    const holder = holderOf(session);
    const held = this.#sessions.get(holder);
    if (held === undefined) {
      this.#sessions.set(holder, [session]);
      return null;
    }
    held.push(session);
    return held.length > this.#max ? (held[0] as Session) : null;
  }

  remove(session: Session): void {
    const holder = holderOf(session);
    const held = this.#sessions.get(holder);
    const index = held?.indexOf(session) ?? -1;
    if (held === undefined || index < 0) return;
    if (held.length === 1) this.#sessions.delete(holder);
    else held.splice(index, 1);
  }
}

/** @holds the same as long as the session lasts: also who has no identity does not move between holders */
export function holderOf({ identity, first }: Session): string {
  if (identity === null) return `address ${networkOf(first)}`;
  switch (identity.kind) {
    case 'key':
      return identity.identity;
    case 'bootstrap':
      return `bootstrap ${identity.thing}`;
    case 'certificate':
      return identity.fingerprint;
  }
}
