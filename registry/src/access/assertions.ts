import { createHash, X509Certificate } from 'node:crypto';
import type { ThingRecord } from '@millrace/core';
import { decodeProtectedHeader, errors, jwtVerify } from 'jose';
import type { Parts } from '../parts.ts';

export type AssertionRefusal =
  /** Is no JWT that is signed by the key of a certificate in its x5c. */
  | 'malformed'
  /** Not for this platform, over, not yet valid, or good for too long. */
  | 'expired'
  /** Was shown before. */
  | 'spent'
  /** The certificate stands for no thing. */
  | 'unknown';
export type Asserted =
  | { readonly kind: 'ok'; readonly thing: ThingRecord }
  | { readonly kind: 'refused'; readonly reason: AssertionRefusal };
export interface Assertions {
  /** Whom an assertion proves: a JWT with the certificate in `x5c`, signed by its key, good once.
   *  @param find whom a certificate stands for  @source RFC 7523 §3, RFC 7515 §4.1.6 */
  redeem(
    assertion: string,
    find: (fingerprint: string, certificate: Uint8Array) => Promise<ThingRecord | null>,
  ): Promise<Asserted>;
}

const ALGORITHMS = ['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA'];
const ASSERTION_CHARACTERS_MAX = 16_384;
const LIFE_SECONDS_MAX = 300;
const CLOCK_SECONDS = 30;
const ID_CHARACTERS_MAX = 256;
const SWEPT_MAX = 100;

const SPEND = `INSERT INTO registry.spent_assertions (digest, expires_at) VALUES ($1, to_timestamp($2::float8 / 1000))
  ON CONFLICT DO NOTHING RETURNING 1`;
const SWEEP = `DELETE FROM registry.spent_assertions WHERE digest IN (
  SELECT digest FROM registry.spent_assertions WHERE expires_at < to_timestamp($1::float8 / 1000)
  LIMIT ${SWEPT_MAX} FOR UPDATE SKIP LOCKED)`;

const refused = (reason: AssertionRefusal): Asserted => ({ kind: 'refused', reason });

export function createAssertions({ database, publicUrl, now }: Parts): Assertions {
  return {
    async redeem(assertion, find) {
      const certificate = certificateOf(assertion);
      if (certificate === null) return refused('malformed');
      const nowMs = now();
      const claims = await verify(assertion, certificate, publicUrl(), nowMs);
      if (typeof claims === 'string') return refused(claims);
      const fingerprint = createHash('sha256').update(certificate.raw).digest('hex');
      const thing = await find(fingerprint, certificate.raw);
      if (thing === null || (claims.sub !== undefined && claims.sub.toLowerCase() !== thing.id))
        return refused('unknown');
      // Spent last: nobody can fill the table with what would be refused anyway.
      const digest = createHash('sha256').update(`${fingerprint}\n${claims.jti}`).digest('hex');
      const rows = await database.query(SPEND, [digest, claims.expiresMs + CLOCK_SECONDS * 1_000]);
      await database.query(SWEEP, [nowMs]);
      return rows.length === 0 ? refused('spent') : { kind: 'ok', thing };
    },
  };
}

/** The leaf of `x5c`; null if there is none. */
function certificateOf(assertion: string): X509Certificate | null {
  if (assertion.length > ASSERTION_CHARACTERS_MAX) return null;
  try {
    const { x5c } = decodeProtectedHeader(assertion);
    const leaf: unknown = Array.isArray(x5c) ? x5c[0] : undefined;
    if (typeof leaf !== 'string' || !/^[A-Za-z0-9+/]+={0,2}$/.test(leaf)) return null;
    return new X509Certificate(Buffer.from(leaf, 'base64'));
  } catch {
    return null;
  }
}

async function verify(
  assertion: string,
  certificate: X509Certificate,
  publicUrl: string,
  nowMs: number,
): Promise<{ sub: string | undefined; jti: string; expiresMs: number } | AssertionRefusal> {
  try {
    const { payload } = await jwtVerify(assertion, certificate.publicKey, {
      algorithms: ALGORITHMS,
      audience: [publicUrl, `${publicUrl}/things/token`],
      currentDate: new Date(nowMs),
      clockTolerance: CLOCK_SECONDS,
      requiredClaims: ['exp', 'jti'],
    });
    const { exp = 0, jti, sub } = payload;
    if (typeof jti !== 'string' || jti.length === 0 || jti.length > ID_CHARACTERS_MAX) return 'malformed';
    if (sub !== undefined && typeof sub !== 'string') return 'malformed';
    if (exp * 1_000 > nowMs + (LIFE_SECONDS_MAX + CLOCK_SECONDS) * 1_000) return 'expired';
    return { sub, jti, expiresMs: exp * 1_000 };
  } catch (error) {
    if (error instanceof errors.JWTExpired || error instanceof errors.JWTClaimValidationFailed) return 'expired';
    // A key that does not fit the algorithm is a TypeError; node's own refusals are errors with a code.
    if (error instanceof errors.JOSEError || error instanceof TypeError || isCryptoError(error)) return 'malformed';
    throw error;
  }
}

const isCryptoError = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_');
