import { createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { x509 } from './x509.ts';

export const keyTypes = ['ec', 'ed25519', 'rsa'] as const;
/** What key to make.  @units bits: of an EC key 256 or 384, of an RSA key 2048 or 3072 */
export interface KeyChoice {
  readonly type: (typeof keyTypes)[number];
  readonly bits?: number | undefined;
}
export interface PublicKey {
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** For people: `ec-256`, `rsa-2048`, `ed25519`. */
  readonly name: string;
}
export interface NewKey extends PublicKey {
  /** PKCS #8, PEM. */
  readonly secret: string;
}
export type JudgedKey = ({ readonly kind: 'ok' } & PublicKey) | { readonly kind: 'refused'; readonly problem: string };

/** As the library tells it. */
interface SignatureAlgorithm {
  readonly name?: string;
  readonly hash?: { readonly name?: string };
}

const RSA_BITS_MIN = 2_048;
const RSA_BITS_MAX = 4_096;
const RSA_EXPONENT_MIN = 65_537n;
const CURVES: Readonly<Record<string, string>> = { prime256v1: 'ec-256', secp384r1: 'ec-384' };
const HASHES: ReadonlySet<string> = new Set(['SHA-256', 'SHA-384', 'SHA-512']);
const SIGNATURES: ReadonlySet<string> = new Set(['ECDSA', 'RSASSA-PKCS1-v1_5', 'RSA-PSS']);
const REQUEST_CHARACTERS_MAX = 16_384;

const generate = promisify(generateKeyPair);

export async function newKey({ type, bits }: KeyChoice): Promise<NewKey> {
  const { publicKey, privateKey } =
    type === 'ec'
      ? await generate('ec', { namedCurve: bits === 384 ? 'secp384r1' : 'prime256v1' })
      : type === 'rsa'
        ? await generate('rsa', { modulusLength: bits ?? RSA_BITS_MIN })
        : await generate('ed25519', undefined);
  const judged = judgeKey(publicKey);
  if (judged.kind === 'refused') throw new TypeError(`a key of our own is weak: ${judged.problem}`);
  return { ...judged, secret: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

/** Whether a public key is strong enough to be certified, and cheap enough to be checked. */
export function judgeKey(key: KeyObject): JudgedKey {
  const refused = (problem: string): JudgedKey => ({ kind: 'refused', problem });
  const { modulusLength = 0, publicExponent = 0n, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  let name: string | undefined;
  switch (key.asymmetricKeyType) {
    case 'ec':
      name = CURVES[namedCurve];
      if (name === undefined) return refused('has a key of another curve than P-256 and P-384');
      break;
    case 'ed25519':
      name = 'ed25519';
      break;
    case 'rsa':
      if (modulusLength < RSA_BITS_MIN || modulusLength > RSA_BITS_MAX)
        return refused(`has an RSA key of ${modulusLength} bits: ${RSA_BITS_MIN} to ${RSA_BITS_MAX} are taken`);
      if (publicExponent < RSA_EXPONENT_MIN) return refused('has an RSA key with a small exponent: 65537 is usual');
      name = `rsa-${modulusLength}`;
      break;
    default:
      return refused('has a key that is none of P-256, P-384, Ed25519 and RSA');
  }
  return { kind: 'ok', name, spki: new Uint8Array(key.export({ type: 'spki', format: 'der' })) };
}

/** The key that a certification request asks for. Its subject and extensions count for nothing.
 *  @throws never: hostile bytes are refused  @source RFC 2986 */
export async function readRequest(pem: string): Promise<JudgedKey> {
  const refused = (problem: string): JudgedKey => ({ kind: 'refused', problem });
  if (pem.length > REQUEST_CHARACTERS_MAX) return refused(`is longer than ${REQUEST_CHARACTERS_MAX} characters`);
  if (pem.includes('PRIVATE KEY')) return refused('holds a private key: keep it to yourself, give the request only');
  const [, body, ...more] = pem.split(/-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----/);
  if (body === undefined || more.length > 0 || !/-----END (?:NEW )?CERTIFICATE REQUEST-----\s*$/.test(body))
    return refused('must hold exactly one certification request (PKCS #10) in PEM');
  try {
    const { Pkcs10CertificateRequest } = await x509();
    const der = Buffer.from(body.slice(0, body.indexOf('-----END')), 'base64');
    const request = new Pkcs10CertificateRequest(der);
    const judged = judgeKey(
      createPublicKey({ key: Buffer.from(request.publicKey.rawData), format: 'der', type: 'spki' }),
    );
    if (judged.kind === 'refused') return judged;
    if (!isStrongSignature(request.signatureAlgorithm)) return refused('is signed by an algorithm that is not taken');
    return (await request.verify()) ? judged : refused('has a signature that is not of its key');
  } catch {
    return refused('is no certification request (PKCS #10) in PEM');
  }
}

/** Neither MD5 nor SHA-1, nor what we do not know. */
export function isStrongSignature({ name = '', hash }: SignatureAlgorithm): boolean {
  if (name === 'Ed25519' || name === 'EdDSA') return true;
  return SIGNATURES.has(name) && HASHES.has(hash?.name ?? '');
}
