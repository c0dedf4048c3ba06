import type { Credential } from '@millrace/core';

const SCHEME = /^([A-Za-z]+) +(\S+)$/;
const CREDENTIAL_CHARACTERS_MAX = 8_192;

/** What an Authorization header shows; null if there is none or it is not understood.
 *  `Thing <key>`, `Client <key>`, `Bearer <token>`, `Basic base64(<thing id>:<key>)`, and, as the oldest firmware
 *  sends it, the bare key. */
export function credentialOf(authorization: string | undefined): Credential | null {
  if (authorization === undefined || authorization.length > CREDENTIAL_CHARACTERS_MAX) return null;
  const [, scheme, value] = SCHEME.exec(authorization) ?? [];
  if (scheme === undefined || value === undefined) {
    return /^\S{8,}$/.test(authorization) ? { kind: 'key', key: authorization } : null;
  }
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

function basic(value: string): Credential | null {
  const text = Buffer.from(value, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 0 || colon === text.length - 1) return null;
  const key = text.slice(colon + 1);
  return colon === 0 ? { kind: 'key', key } : { kind: 'key', key, thing: text.slice(0, colon) };
}
