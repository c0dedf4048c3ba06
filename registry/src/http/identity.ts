import {
  type ControlAction,
  type Credential,
  credentialOf,
  type HttpPeer,
  isUuid,
  type Principal,
  type UserRecord,
} from '@millrace/core';
import { refuseFrozen } from '../people/frozen.ts';
import type { Call, Plane } from './plane.ts';
import { notFound, Refusal } from './refusal.ts';

/** Who asks, and from where: what rights are judged by. */
export type Asking = Pick<Call<unknown, unknown>, 'principal' | 'context'>;

export const CHALLENGE = { 'www-authenticate': 'Bearer realm="millrace", Thing realm="millrace"' };

/** Whether nothing but its certificate says who sends a request. */
export const isKnownByCertificate = (request: Request, { certificate }: HttpPeer): boolean =>
  certificate !== undefined && certificate !== null && credentialOf(request.headers.get('authorization')) === null;

/** By what the request shows, else by the certificate that its sender has shown.
 *  @throws Refusal 401; PolicyError POLICY_GUESSED (429) */
export async function identify(request: Request, plane: Plane, peer: HttpPeer, byTicket = false): Promise<Principal> {
  const shown = credentialOf(request.headers.get('authorization'));
  const ticket = byTicket ? new URL(request.url).searchParams.get('ticket') : null;
  const credential: Credential | null =
    shown ?? (ticket === null || ticket === '' ? (peer.certificate ?? null) : { kind: 'ticket', ticket });
  if (credential === null)
    throw new Refusal(401, 'Say who you are: Authorization: Bearer <token>, or Thing <key>.', CHALLENGE);
  const identified = await plane.gate.identify(credential, peer.remoteAddress);
  if (identified.kind === 'known') {
    const { scope } = identified.principal;
    if (scope !== null) plane.registry.access.keys.used(scope.id, Date.now());
    return identified.principal;
  }
  const detail =
    identified.reason === 'disabled'
      ? 'This account or thing is disabled.'
      : 'The token or key is unknown or has expired.';
  throw new Refusal(401, detail, CHALLENGE);
}

export async function userOf(principal: Principal): Promise<UserRecord> {
  if (principal.subject.kind === 'user') return principal.subject;
  throw new Refusal(403, 'This is for users; a thing can not ask for it.');
}

/** Lets pass who came by themselves: what concerns the account itself is not for API keys and applications.
 *  @throws Refusal 403 */
export async function unscoped(call: Call<unknown, unknown>): Promise<Principal> {
  const principal = await call.principal();
  if (principal.scope === null) return principal;
  throw new Refusal(403, 'An API key or application may not do this: log in and use the token of POST /tokens.');
}

/** The org that a request is about: `?org=` if given, else that of the key or token, else the user's first, else the
 *  thing's own.
 *  @throws Refusal 404 if the user has none */
export async function orgOf(call: Call<unknown, unknown>, plane: Plane): Promise<string> {
  const { subject, scope } = await call.principal();
  const asked = new URL(call.request.url).searchParams.get('org');
  if (asked !== null) {
    if (!isUuid(asked)) throw new Refusal(400, 'The parameter "org" is wrong: it must be a UUID.');
    return asked.toLowerCase();
  }
  if (scope !== null && scope.org !== null) return scope.org;
  if (subject.kind === 'thing') return subject.org;
  const [first] = await plane.registry.users.memberships(subject.id);
  if (first === undefined) throw new Refusal(404, 'You are a member of no organisation.');
  return first.org;
}

export interface PermitOptions {
  /** What strangers are told does not exist. */
  readonly hidden?: string;
  /** The group that the object is in and those above it. */
  readonly groups?: readonly string[];
}

/** Lets pass who may; hides from strangers that there is anything. A refusal is written down in the audit.
 *  @throws Refusal 403 to members of the org, 404 to all others; 403 or 409 while the org is frozen */
export async function permit(
  call: Asking,
  plane: Plane,
  org: string,
  object: string,
  action: ControlAction,
  { hidden = entityOf(object), groups = [] }: PermitOptions = {},
): Promise<void> {
  const principal = await call.principal();
  const { context } = call;
  if (await plane.gate.allows(principal, org, object, action, context, groups))
    return refuseFrozen(plane.registry.orgs, org, action);
  const member = await isMember(principal, plane, org);
  // Of a stranger's guess the organisation learns nothing either: it could be made to drown in them.
  plane.registry.audit.denied({ principal, org: member ? org : null, object, action, reason: 'not_allowed', context });
  if (member) throw new Refusal(403, `You may not do this (${action} on ${object}).`);
  throw notFound(hidden);
}

const entityOf = (object: string): string =>
  object.includes('/') ? object.slice(0, object.indexOf('/')).replace(/s$/, '') : 'organisation';

export async function isMember({ subject, scope }: Principal, plane: Plane, org: string): Promise<boolean> {
  if (scope !== null && scope.org !== null && scope.org !== org) return false;
  if (subject.kind === 'thing') return subject.org === org;
  if (subject.admin) return true;
  return (await plane.registry.users.memberships(subject.id)).some((membership) => membership.org === org);
}
