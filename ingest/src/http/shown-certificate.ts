import { createHash, X509Certificate } from 'node:crypto';
import type { Credential } from '@millrace/core';
import type { Head } from './head.ts';

export type CertificateCredential = Extract<Credential, { kind: 'certificate' }>;

const known = new WeakMap<Head, CertificateCredential | null>();

/** The certificate that a client has shown to the proxy in front, as the proxy tells it; null if it tells of none, or
 *  of nothing that is a certificate. Only to be asked of a connection of a trusted proxy: anybody can write the fields.
 *  @source RFC 9440 (`Client-Cert`, base64 of DER between colons); nginx `$ssl_client_escaped_cert` (PEM,
 *          percent-encoded), by custom in `X-Client-Cert` */
export function shownCertificate(head: Head): CertificateCredential | null {
  const memo = known.get(head);
  if (memo !== undefined) return memo;
  const certificate = read(head.header('client-cert'), head.header('x-client-cert'));
  known.set(head, certificate);
  return certificate;
}

function read(field: string | undefined, escaped: string | undefined): CertificateCredential | null {
  try {
    const [, base64] = /^:([A-Za-z0-9+/=]+):$/.exec(field ?? '') ?? [];
    if (base64 !== undefined) return credentialOf(new X509Certificate(Buffer.from(base64, 'base64')));
    const pem = escaped === undefined || escaped === '' ? '' : decodeURIComponent(escaped);
    // One certificate, not a chain whose first could be anybody's.
    if (!/^\s*-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\s*$/.test(pem)) return null;
    return credentialOf(new X509Certificate(pem));
  } catch {
    return null;
  }
}

function credentialOf({ raw }: X509Certificate): CertificateCredential {
  return { kind: 'certificate', fingerprint: createHash('sha256').update(raw).digest('hex'), certificate: raw };
}
