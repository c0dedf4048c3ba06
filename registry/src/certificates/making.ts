import { createHash, randomBytes, webcrypto } from 'node:crypto';
import type { Extension } from '@peculiar/x509';
import type { PublicKey } from './keys.ts';
import { x509 } from './x509.ts';

/** The platform's certificates: a root, an authority for each organisation, and what it gives the things.
 *  @source RFC 5280 */

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
/** The clocks of small things are often a little late. */
export const BACKDATED_MS = 300_000;
const SERIAL_SIZE = 16;

export interface Validity {
  readonly notBefore: Date;
  readonly notAfter: Date;
}
export interface MadeAuthority {
  readonly pem: string;
  readonly serial: string;
  /** PKCS #8, base64. */
  readonly secret: string;
  readonly ocspNames: readonly string[];
}
/** An authority that can sign. */
export interface Signer {
  readonly pem: string;
  readonly secret: string;
}
/** Where those who check a certificate find more. */
export interface Whereabouts {
  readonly crl: string;
  readonly ocsp: string;
  readonly issuer: string;
}
export interface MadeLeaf {
  readonly pem: string;
  readonly serial: string;
  /** SHA-256 of the DER, hex. */
  readonly fingerprint: string;
}

/** From a little ago, in whole seconds, as certificates tell time. */
export function validity(nowMs: number, ms: number): Validity {
  const second = (at: number): Date => new Date(Math.floor(at / 1_000) * 1_000);
  return { notBefore: second(nowMs - BACKDATED_MS), notAfter: second(nowMs + ms) };
}

/** Positive, and of one length however it is written. */
export function newSerial(): string {
  const bytes = randomBytes(SERIAL_SIZE);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString('hex');
}

/** @param parent null: it signs itself */
export async function makeAuthority(
  unit: string,
  when: Validity,
  parent: Signer | null,
  where: Whereabouts | null,
): Promise<MadeAuthority> {
  const library = await x509();
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const issuer = parent === null ? null : new library.X509Certificate(parent.pem);
  const serial = newSerial();
  // The number keeps the names of two authorities apart; paths are built by name.
  const subject = [{ O: ['Millrace'] }, { OU: [unit] }, { CN: [`Millrace ${unit} ${serial.slice(0, 12)}`] }];
  const { keyCertSign, cRLSign, digitalSignature } = library.KeyUsageFlags;
  const certificate = await library.X509CertificateGenerator.create({
    serialNumber: serial,
    subject,
    issuer: issuer?.subjectName ?? subject,
    ...when,
    publicKey: keys.publicKey,
    signingKey: parent === null ? keys.privateKey : await signingKey(parent.secret),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new library.BasicConstraintsExtension(true, parent === null ? 1 : 0, true),
      new library.KeyUsagesExtension(keyCertSign | cRLSign | digitalSignature, true),
      await library.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await library.AuthorityKeyIdentifierExtension.create(issuer?.publicKey ?? keys.publicKey),
      ...(await placesOf(where)),
    ],
  });
  const name = certificate.subjectName.toArrayBuffer();
  const secret = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  const { asn1, AsnParser } = library;
  const key = AsnParser.parse(certificate.publicKey.rawData, asn1.SubjectPublicKeyInfo).subjectPublicKey;
  const ocspNames = ['sha1', 'sha256'].map((algorithm) => {
    const hash = (data: ArrayBuffer): string => createHash(algorithm).update(Buffer.from(data)).digest('hex');
    return `${algorithm}:${hash(name)}:${hash(key)}`;
  });
  return { pem: certificate.toString('pem').trim(), serial, secret, ocspNames };
}

/** A certificate that lets one thing in, by any of our listeners.
 *  @param thing its id: CN, and SAN as urn:uuid */
export async function makeLeaf(
  thing: string,
  { spki, name }: PublicKey,
  when: Validity,
  signer: Signer,
  where: Whereabouts | null,
): Promise<MadeLeaf> {
  const library = await x509();
  const issuer = new library.X509Certificate(signer.pem);
  const serial = newSerial();
  const { digitalSignature, keyEncipherment } = library.KeyUsageFlags;
  const certificate = await library.X509CertificateGenerator.create({
    serialNumber: serial,
    subject: [{ CN: [thing] }],
    issuer: issuer.subjectName,
    ...when,
    publicKey: spki,
    signingKey: await signingKey(signer.secret),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new library.BasicConstraintsExtension(false, undefined, true),
      new library.KeyUsagesExtension(
        name.startsWith('rsa') ? digitalSignature | keyEncipherment : digitalSignature,
        true,
      ),
      new library.ExtendedKeyUsageExtension([library.ExtendedKeyUsage.clientAuth]),
      new library.SubjectAlternativeNameExtension([{ type: 'url', value: `urn:uuid:${thing}` }]),
      await library.SubjectKeyIdentifierExtension.create(spki),
      await library.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      ...(await placesOf(where)),
    ],
  });
  const fingerprint = createHash('sha256').update(Buffer.from(certificate.rawData)).digest('hex');
  return { pem: certificate.toString('pem').trim(), serial, fingerprint };
}

const signingKey = (secret: string): Promise<webcrypto.CryptoKey> =>
  webcrypto.subtle.importKey('pkcs8', Buffer.from(secret, 'base64'), ALGORITHM, false, ['sign']);

async function placesOf(where: Whereabouts | null): Promise<Extension[]> {
  if (where === null) return [];
  const { AuthorityInfoAccessExtension, CRLDistributionPointsExtension } = await x509();
  return [
    new CRLDistributionPointsExtension([where.crl]),
    new AuthorityInfoAccessExtension({ ocsp: [where.ocsp], caIssuers: [where.issuer] }),
  ];
}
