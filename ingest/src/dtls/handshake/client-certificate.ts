import { createHash, type KeyObject, verify, X509Certificate } from 'node:crypto';
import type { PeerIdentity } from '../../coap/contract.ts';
import { Alert } from '../alert.ts';
import { ownCopy, WireReader } from '../wire.ts';
import { ECDSA_SECP256R1_SHA256 } from './client-hello.ts';
import { allowsSignatures } from './key-usage.ts';

const CHAIN_MAX = 5;
/** id-kp-clientAuth, anyExtendedKeyUsage */
const CLIENT_USES = ['1.3.6.1.5.5.7.3.2', '2.5.29.37.0'];

export interface ClientCertificate {
  readonly identity: Extract<PeerIdentity, { readonly kind: 'certificate' }>;
  readonly publicKey: KeyObject;
}
export type ReadCertificate =
  | { readonly kind: 'none' }
  | { readonly kind: 'shown'; readonly certificate: ClientCertificate }
  | { readonly kind: 'refused'; readonly alert: Alert };

/** Reads the client's Certificate message. Whom it stands for, and whether its issuer is trusted, the gate says; here is
 *  judged only whether it may be used for this at all.
 *  @throws MalformedError  @source RFC 5246 §7.4.6, RFC 5280 §4.2.1.3 and §4.2.1.12 */
export function readClientCertificate(body: Buffer, nowMs: number): ReadCertificate {
  const reader = new WireReader(body);
  const list = new WireReader(reader.vector24());
  reader.end();
  if (list.left === 0) return { kind: 'none' };
  const raw = ownCopy(list.vector24());
  for (let count = 1; list.left > 0; count++) {
    list.vector24();
    if (count >= CHAIN_MAX) return { kind: 'refused', alert: Alert.badCertificate };
  }
  let certificate: X509Certificate;
  let publicKey: KeyObject;
  try {
    certificate = new X509Certificate(raw);
    publicKey = certificate.publicKey;
  } catch {
    return { kind: 'refused', alert: Alert.badCertificate };
  }
  if (publicKey.asymmetricKeyType !== 'ec' || publicKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    return { kind: 'refused', alert: Alert.unsupportedCertificate };
  if (!(Date.parse(certificate.validFrom) <= nowMs && nowMs < Date.parse(certificate.validTo)))
    return { kind: 'refused', alert: Alert.certificateExpired };
  const uses: readonly string[] | undefined = certificate.keyUsage;
  if (uses !== undefined && !uses.some((use) => CLIENT_USES.includes(use)))
    return { kind: 'refused', alert: Alert.unsupportedCertificate };
  if (!allowsSignatures(raw)) return { kind: 'refused', alert: Alert.unsupportedCertificate };
  const fingerprint = createHash('sha256').update(raw).digest('hex');
  return {
    kind: 'shown',
    certificate: { identity: { kind: 'certificate', fingerprint, certificate: raw }, publicKey },
  };
}

/** Whether a CertificateVerify is its key's.  @param transcript all messages before it  @throws MalformedError */
export function provesPossession({ publicKey }: ClientCertificate, body: Buffer, transcript: Buffer): boolean {
  const reader = new WireReader(body);
  const algorithm = reader.u16();
  const signature = reader.vector16();
  reader.end();
  return algorithm === ECDSA_SECP256R1_SHA256 && verify('sha256', transcript, publicKey, signature);
}
