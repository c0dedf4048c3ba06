import { type ControlAction, type Credential, isUuid, type Principal, type UserRecord } from '@millrace/core';
import type { Call, Plane } from './plane.ts';
import { notFound, Refusal } from './refusal.ts';

export const CHALLENGE = { 'www-authenticate': 'Bearer realm="millrace", Thing realm="millrace"' };
const CREDENTIAL_CHARACTERS_MAX = 8_192;

/** What an Authorization header shows: `Bearer <token>`, `Thing <key>`, `Client <key>`, `Basic <thing id>:<key>`, or a
 *  bare token or key, as the classic dialect's clients send it. */
export function credentialOf(authorization: string | null): Credential | null {
  if (authorization === null || authorization.length > CREDENTIAL_CHARACTERS_MAX) return null;
  const [, scheme = '', value = ''] = /^(?:([A-Za-z]+) +)?(\S+)$/.exec(authorization.trim()) ?? [];
  if (value === '') return null;
  switch (scheme.toLowerCase()) {
    case 'bearer':
      return { kind: 'bearer', token: value };
    case 'thing':
    case 'client':
      return { kind: 'key', key: value };
    case 'basic': {
      const [, thing, key] = /^([^:]*):(.+)$/s.exec(Buffer.from(value, 'base64').toString('utf8')) ?? [];
      if (key === undefined) return null;
      return thing === '' || thing === undefined ? { kind: 'key', key } : { kind: 'key', key, thing };
    }
    case '':
      // A JWT has three parts; nothing else of ours has a dot.
      return value.split('.').length === 3 ? { kind: 'bearer', token: value } : { kind: 'key', key: value };
    default:
      return null;
  }
}

/** @throws Refusal 401 */
export async function identify(request: Request, plane: Plane): Promise<Principal> {
  const credential = credentialOf(request.headers.get('authorization'));
  if (credential === null)
    throw new Refusal(401, 'Say who you are: Authorization: Bearer <token>, or Thing <key>.', CHALLENGE);
  const identified = await plane.gate.identify(credential);
  if (identified.kind === 'known') return identified.principal;
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

/** The org that a request is about: `?org=` if given, else the user's first, else the thing's own.
 *  @throws Refusal 404 if the user has none */
export async function orgOf(call: Call<unknown, unknown>, plane: Plane): Promise<string> {
  const { subject } = await call.principal();
  const asked = new URL(call.request.url).searchParams.get('org');
  if (asked !== null) {
    if (!isUuid(asked)) throw new Refusal(400, 'The parameter "org" is wrong: it must be a UUID.');
    return asked.toLowerCase();
  }
  if (subject.kind === 'thing') return subject.org;
  const [first] = await plane.registry.users.memberships(subject.id);
  if (first === undefined) throw new Refusal(404, 'You are a member of no organisation.');
  return first.org;
}

/** Lets pass who may; hides from strangers that there is anything.
 *  @param hidden what strangers are told does not exist
 *  @throws Refusal 403 to members of the org, 404 to all others */
export async function permit(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  object: string,
  action: ControlAction,
  hidden: string = object.includes('/') ? object.slice(0, object.indexOf('/')).replace(/s$/, '') : 'organisation',
): Promise<void> {
  const principal = await call.principal();
  if (await plane.gate.allows(principal, org, object, action, call.context)) return;
  if (await isMember(principal, plane, org)) throw new Refusal(403, `You may not do this (${action} on ${object}).`);
  throw notFound(hidden);
}

export async function isMember({ subject }: Principal, plane: Plane, org: string): Promise<boolean> {
  if (subject.kind === 'thing') return subject.org === org;
  if (subject.admin) return true;
  return (await plane.registry.users.memberships(subject.id)).some((membership) => membership.org === org);
}
