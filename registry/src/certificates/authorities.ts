import { type KeyObject, X509Certificate } from 'node:crypto';

/** Extended key usages. @source RFC 5280 §4.2.1.12 */
const CLIENT_AUTHENTICATION = '1.3.6.1.5.5.7.3.2';
const ANY_USAGE = '2.5.29.37.0';
const PEM_CHARACTERS_MAX = 16_384;
/** What checking one signature may cost is the square of it. */
const RSA_BITS_MAX = 8_192;
const KEY_TYPES: ReadonlySet<string | undefined> = new Set(['rsa', 'rsa-pss', 'ec', 'ed25519', 'ed448']);

export type ParsedAuthority =
  | { readonly kind: 'ok'; readonly pem: string }
  | { readonly kind: 'refused'; readonly problem: string };

/** An authority as it is kept: one certificate that may issue others, in its plain form. */
export function parseAuthority(pem: string): ParsedAuthority {
  const refused = (problem: string): ParsedAuthority => ({ kind: 'refused', problem });
  if (pem.length > PEM_CHARACTERS_MAX) return refused(`is longer than ${PEM_CHARACTERS_MAX} characters`);
  if (pem.includes('PRIVATE KEY'))
    return refused('holds a private key: keep it to yourself, give the certificate only');
  if (pem.split('-----BEGIN ').length !== 2) return refused('must hold exactly one certificate in PEM');
  let certificate: X509Certificate;
  let key: KeyObject;
  try {
    certificate = new X509Certificate(pem);
    key = certificate.publicKey;
  } catch {
    return refused('is no X.509 certificate in PEM');
  }
  if (!certificate.ca) return refused('is no certificate authority (its basic constraints do not say CA)');
  if (!KEY_TYPES.has(key.asymmetricKeyType)) return refused('has a key that is neither RSA nor of an elliptic curve');
  if ((key.asymmetricKeyDetails?.modulusLength ?? 0) > RSA_BITS_MAX)
    return refused(`has an RSA key of more than ${RSA_BITS_MAX} bits`);
  return { kind: 'ok', pem: certificate.toString().trim() };
}

/** SHA-256 in hex, with or without colons, in any case.  @returns 64 digits in lower case; null if it is none */
export function parseFingerprint(text: string): string | null {
  if (!/^(?:[0-9a-f]{64}|[0-9a-f]{2}(?::[0-9a-f]{2}){31})$/i.test(text)) return null;
  return text.replaceAll(':', '').toLowerCase();
}

/** A client's certificate that can be judged; null for bytes that are none. */
export function parseCertificate(der: Uint8Array): X509Certificate | null {
  try {
    return new X509Certificate(der);
  } catch {
    return null;
  }
}

/** The one common name of the subject; null if there is none or several. */
export function commonName(certificate: X509Certificate): string | null {
  const { CN } = certificate.toLegacyObject().subject as { readonly CN?: string | readonly string[] };
  return typeof CN === 'string' ? CN : null;
}

export function isWithinValidity(certificate: X509Certificate, nowMs: number): boolean {
  return nowMs >= Date.parse(certificate.validFrom) && nowMs < Date.parse(certificate.validTo);
}

/** Whether the authority itself issued the certificate, for a client, and both are valid now. */
export function isIssuedBy(certificate: X509Certificate, authorityPem: string, nowMs: number): boolean {
  if (!isWithinValidity(certificate, nowMs)) return false;
  const usages = certificate.keyUsage as readonly string[] | undefined;
  if (usages !== undefined && !usages.includes(CLIENT_AUTHENTICATION) && !usages.includes(ANY_USAGE)) return false;
  try {
    const authority = new X509Certificate(authorityPem);
    return (
      authority.ca &&
      isWithinValidity(authority, nowMs) &&
      certificate.checkIssued(authority) &&
      certificate.verify(authority.publicKey)
    );
  } catch {
    return false;
  }
}
