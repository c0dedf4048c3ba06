import {
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  hash,
  type JsonWebKey,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { promisify } from 'node:util';
import type { Credentials } from '@millrace/core';
import { errors, jwtVerify, SignJWT } from 'jose';
import { PolicyError } from './errors.ts';

export const ACCESS_TOKEN_SECONDS = 900;
export const ACCESS_TOKEN_SECONDS_MAX = 3_600;
const ISSUER = 'millrace';
const AUDIENCE = 'millrace';
const TYPE = 'at+jwt';
/** Claim of the subject's epoch at that moment. */
const EPOCH = 'ep';
const TOKEN_SIZE_MAX = 4_096;

/** A private P-256 key as the registry keeps it (sealed). */
export type SigningKey = JsonWebKey & { readonly kid: string };

interface KeyPair {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly publicJwk: Readonly<Record<string, unknown>>;
}

export interface Tokens {
  /** Replaces all keys: the first signs, all verify. @throws PolicyError SIGNING_KEY_INVALID; then nothing changed */
  importSigningKeys(keys: readonly JsonWebKey[]): void;
  issueAccessToken: Credentials['issueAccessToken'];
  verifyAccessToken: Credentials['verifyAccessToken'];
  jwks(): { readonly keys: readonly Record<string, unknown>[] };
}

/** A new ES256 key with its `kid`: the RFC 7638 thumbprint. */
export async function generateSigningKey(): Promise<SigningKey> {
  const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
  const jwk = privateKey.export({ format: 'jwk' });
  return { ...jwk, kid: thumbprint(jwk) };
}

/** Access tokens of users and things: ES256 and nothing else, typed `at+jwt`, for this issuer and audience.  @source RFC 7519, RFC 9068 */
export function createTokens(signingKeys: readonly JsonWebKey[], now: () => number): Tokens {
  let pairs: readonly KeyPair[] = signingKeys.map(importPair);
  return {
    importSigningKeys(keys) {
      pairs = keys.map(importPair);
    },
    async issueAccessToken(subject, epoch, seconds = ACCESS_TOKEN_SECONDS) {
      const signer = pairs[0];
      if (signer === undefined) throw new PolicyError('SIGNING_KEY_MISSING', 'never');
      // Whoever asks for longer than is good gets what is good.
      const lives = Math.min(Math.max(1, Math.floor(seconds)), ACCESS_TOKEN_SECONDS_MAX);
      const issued = Math.floor(now() / 1_000);
      return new SignJWT({ [EPOCH]: epoch })
        .setProtectedHeader({ alg: 'ES256', typ: TYPE, kid: signer.kid })
        .setIssuer(ISSUER)
        .setAudience(AUDIENCE)
        .setSubject(subject)
        .setIssuedAt(issued)
        .setExpirationTime(issued + lives)
        .sign(signer.privateKey);
    },
    async verifyAccessToken(token) {
      if (token.length > TOKEN_SIZE_MAX) return null;
      try {
        const { payload } = await jwtVerify(
          token,
          (header) => {
            const pair = pairs.find((one) => one.kid === header.kid);
            if (pair === undefined) throw new errors.JWKSNoMatchingKey();
            return pair.publicKey;
          },
          {
            algorithms: ['ES256'],
            issuer: ISSUER,
            audience: AUDIENCE,
            typ: TYPE,
            currentDate: new Date(now()),
            requiredClaims: ['sub', 'exp', EPOCH],
          },
        );
        const { sub, exp, [EPOCH]: epoch } = payload;
        if (sub === undefined || exp === undefined || typeof epoch !== 'number') return null;
        return { subject: sub, epoch, expiresMs: exp * 1_000 };
      } catch (error) {
        if (error instanceof errors.JOSEError || error instanceof TypeError) return null;
        throw error;
      }
    },
    jwks: () => ({ keys: pairs.map((pair) => ({ ...pair.publicJwk })) }),
  };
}

/** @throws PolicyError SIGNING_KEY_INVALID, which says nothing about the key: it is a secret */
function importPair(jwk: JsonWebKey): KeyPair {
  try {
    if (jwk.kty !== 'EC' || jwk.crv !== 'P-256' || jwk.d === undefined) throw new TypeError('no private P-256 key');
    const privateKey = createPrivateKey({ key: jwk, format: 'jwk' });
    const publicKey = createPublicKey(privateKey);
    // A private part that does not belong to the public one is taken without complaint: try it.
    const probe = Buffer.from('probe');
    if (!verify('sha256', probe, publicKey, sign('sha256', probe, privateKey))) throw new TypeError('no key pair');
    const publicJwk = publicKey.export({ format: 'jwk' });
    const kid = thumbprint(publicJwk);
    return { kid, privateKey, publicKey, publicJwk: { ...publicJwk, kid, alg: 'ES256', use: 'sig' } };
  } catch {
    throw new PolicyError('SIGNING_KEY_INVALID', 'never');
  }
}

/** @source RFC 7638 §3 */
function thumbprint({ crv, kty, x, y }: JsonWebKey): string {
  return hash('sha256', JSON.stringify({ crv, kty, x, y }), 'base64url');
}
