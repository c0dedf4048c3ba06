import type { Credential } from './ports/gate.ts';

/** How API keys begin: it tells people, and programs that look for leaked secrets, what it is. */
export const API_KEY_PREFIX = 'mrk_';
/** The same of applications' access tokens. */
export const APPLICATION_TOKEN_PREFIX = 'mrt_';
const BEARERS: readonly string[] = [API_KEY_PREFIX, APPLICATION_TOKEN_PREFIX];
const JWT = /^eyJ[\w-]*\.[\w-]+\.[\w-]+$/;
const SCHEME = /^([A-Za-z]+) +(\S+)$/;
const CREDENTIAL_CHARACTERS_MAX = 8_192;
/** What is shorter is no key of ours. */
const BARE = /^\S{8,}$/;

/** What a secret is that comes without a word of its kind: an access token, an API key or an application's token, else a thing's key. */
export function bareCredential(secret: string, thing?: string): Credential {
  if (BEARERS.some((prefix) => secret.startsWith(prefix)) || JWT.test(secret)) return { kind: 'bearer', token: secret };
  return thing === undefined || thing === '' ? { kind: 'key', key: secret } : { kind: 'key', key: secret, thing };
}

/** What an Authorization header shows; null if there is none or it is not understood.
 *  `Bearer <token>`, `Thing <key>`, `Client <key>`, `Basic base64(<thing id>:<key>)`, and, as the oldest clients send
 *  it, the bare key or token. */
export function credentialOf(authorization: string | null | undefined): Credential | null {
  if (authorization === null || authorization === undefined) return null;
  if (authorization.length > CREDENTIAL_CHARACTERS_MAX) return null;
  const text = authorization.trim();
  const [, scheme, value] = SCHEME.exec(text) ?? [];
  if (scheme === undefined || value === undefined) return BARE.test(text) ? bareCredential(text) : null;
  switch (scheme.toLowerCase()) {
    case 'thing':
    case 'client':
      return { kind: 'key', key: value };
    case 'bearer':
      return { kind: 'bearer', token: value };
    case 'basic':
      return basic(value);
    default:
      return null;
  }
}

/** @source RFC 7617: the password may hold colons, the user name may not */
function basic(value: string): Credential | null {
  const text = Buffer.from(value, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 0 || colon === text.length - 1) return null;
  return bareCredential(text.slice(colon + 1), text.slice(0, colon));
}
