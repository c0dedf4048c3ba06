import { type HttpPeer, networkOf } from '@millrace/core';
import { type Actor, setActor } from '../audit/actor.ts';
import { CHALLENGE } from '../http/identity.ts';
import type { Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { Throttle } from './throttle.ts';
import { normaliseEmail, type User } from './users.ts';

export { networkOf };

/** Wrong passwords of one account, whatever address they come from: gentle, since anybody can make an account wait. */
const ACCOUNT_FREE = 50;
const ACCOUNT_WAIT_MS_MAX = 10_000;
/** Of one network, whatever the account. */
const NETWORK_FREE = 100;
const NETWORK_WAIT_MS_MAX = 60_000;
const NETWORK_FORGIVEN_MS = 10_000;
/** Requests for mails of one address, and by one network, that cost no wait. */
const MAILS_FREE = 5;
const MAIL_REQUESTS_FREE = 50;
/** Unknown keys that one network shows POST /identify: an adapter asks for many devices, and one whose key is wrong must
 *  not keep out the others. */
const IDENTIFY_FREE = 500;
const IDENTIFY_WAIT_MS_MAX = 1_000;
const IDENTIFY_FORGIVEN_MS = 100;

/** Slows who guesses: beside the throttle by account and address together (Plane.throttle). */
export interface Slowness {
  readonly accounts: Throttle;
  readonly networks: Throttle;
  readonly mails: Throttle;
  readonly mailRequests: Throttle;
  readonly identify: Throttle;
}
export const createSlowness = (): Slowness => ({
  accounts: new Throttle({ free: ACCOUNT_FREE, waitMsMax: ACCOUNT_WAIT_MS_MAX }),
  networks: new Throttle({ free: NETWORK_FREE, waitMsMax: NETWORK_WAIT_MS_MAX, forgivenMs: NETWORK_FORGIVEN_MS }),
  mails: new Throttle({ free: MAILS_FREE }),
  mailRequests: new Throttle({ free: MAIL_REQUESTS_FREE }),
  identify: new Throttle({
    free: IDENTIFY_FREE,
    waitMsMax: IDENTIFY_WAIT_MS_MAX,
    forgivenMs: IDENTIFY_FORGIVEN_MS,
  }),
});

/** Who logs in by password; used by every way in, so that all are slowed and written down alike.
 *  @throws Refusal 401 wrong, 429 too many tries */
export async function logIn(plane: Plane, peer: HttpPeer, email: string, password: string): Promise<User> {
  const account = normaliseEmail(email);
  const user = await slowly(plane, peer, account, () => plane.registry.users.authenticate(email, password));
  if (user === null) {
    const known = await plane.registry.users.byEmail(email);
    if (known !== null)
      plane.registry.audit.note({ ...login(known.id), outcome: 'denied', detail: { reason: 'password' } });
    throw new Refusal(401, 'E-mail or password is wrong.', CHALLENGE);
  }
  return loggedIn(plane, peer, user);
}

/** Writes a login down, in the name of who it is; what goes on in the request is theirs. */
export function loggedIn(plane: Plane, peer: HttpPeer, user: User): User {
  setActor(actorOf(user, peer));
  plane.registry.audit.note({ ...login(user.id), outcome: 'done' });
  return user;
}

/** Runs a check of an account's password, slowed after wrong ones. @param check null: wrong
 *  @throws Refusal 429 with the time to wait */
export async function slowly<T>(
  plane: Plane,
  { remoteAddress }: HttpPeer,
  account: string,
  check: () => Promise<T | null>,
): Promise<T | null> {
  const { slowness } = plane.registry;
  const network = networkOf(remoteAddress);
  const both = `${account} ${remoteAddress}`;
  const throttles = [
    [plane.throttle, both],
    [slowness.accounts, account],
    [slowness.networks, network],
  ] as const;
  for (const [throttle, who] of throttles) slowDown(throttle, who);
  const tried = await plane.throttle.attempt(both, async () => ({ found: await check() }));
  if (tried === null) throw tooMany(1);
  if (tried.found === null) {
    for (const [throttle, who] of throttles) throttle.failed(who, performance.now());
    return null;
  }
  // The network stays suspect: one account of one's own must not pay for guesses at others.
  plane.throttle.succeeded(both);
  slowness.accounts.succeeded(account);
  return tried.found;
}

/** @throws Refusal 429 with the time to wait */
export function slowDown(throttle: Throttle, who: string): void {
  const waitMs = throttle.waitMs(who, performance.now());
  if (waitMs > 0) throw tooMany(Math.ceil(waitMs / 1_000));
}

/** Counts a request that costs others something.  @throws Refusal 429 with the time to wait */
export function countDown(throttle: Throttle, who: string): void {
  slowDown(throttle, who);
  throttle.failed(who, performance.now());
}

const tooMany = (seconds: number): Refusal =>
  new Refusal(429, `Too many tries: wait ${seconds} s.`, { 'retry-after': String(seconds) });

const login = (id: string) => ({ action: 'users.login', entity: 'users', id, org: null });

const actorOf = ({ id, email }: User, { remoteAddress }: HttpPeer): Actor => ({
  kind: 'user',
  id,
  name: email,
  via: null,
  address: remoteAddress,
  protocol: 'http',
});
