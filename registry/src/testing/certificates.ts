// The generator of certificates wants it before all else.
import 'reflect-metadata';
import { createHash, webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

export { ExtendedKeyUsage };

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;

export interface Issued {
  readonly pem: string;
  readonly der: Uint8Array;
  /** SHA-256, hex. */
  readonly fingerprint: string;
}
export interface IssueOptions {
  readonly name?: string;
  readonly fromMs?: number;
  readonly untilMs?: number;
  readonly usages?: readonly ExtendedKeyUsage[];
}

/** An authority of a test's own. */
export class TestAuthority {
  readonly #keys: webcrypto.CryptoKeyPair;
  readonly #certificate: X509Certificate;

  private constructor(keys: webcrypto.CryptoKeyPair, certificate: X509Certificate) {
    this.#keys = keys;
    this.#certificate = certificate;
  }

  /** @param ca whether its certificate says that it is one */
  static async create(
    name: string,
    { ca = true, ...validity }: { ca?: boolean; fromMs?: number; untilMs?: number } = {},
  ): Promise<TestAuthority> {
    const keys = await newKeys();
    const certificate = await X509CertificateGenerator.createSelfSigned({
      name: `CN=${name}`,
      keys,
      signingAlgorithm: ALGORITHM,
      ...dates(validity),
      extensions: ca
        ? [
            new BasicConstraintsExtension(true, undefined, true),
            new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
          ]
        : [],
    });
    return new TestAuthority(keys, certificate);
  }

  get own(): Issued {
    return issued(this.#certificate);
  }

  async issue(commonName: string, { name, usages, ...validity }: IssueOptions = {}): Promise<Issued> {
    const keys = await newKeys();
    const certificate = await X509CertificateGenerator.create({
      subject: name ?? `CN=${commonName}`,
      issuer: this.#certificate.subject,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: ALGORITHM,
      ...dates(validity),
      extensions: usages === undefined ? [] : [new ExtendedKeyUsageExtension([...usages])],
    });
    return issued(certificate);
  }
}

const newKeys = (): Promise<webcrypto.CryptoKeyPair> =>
  webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);

const dates = ({ fromMs = Date.now() - DAY_MS, untilMs = Date.now() + DAY_MS }: IssueOptions) => ({
  notBefore: new Date(fromMs),
  notAfter: new Date(untilMs),
});

function issued(certificate: X509Certificate): Issued {
  const der = new Uint8Array(certificate.rawData);
  return { pem: certificate.toString('pem'), der, fingerprint: createHash('sha256').update(der).digest('hex') };
}
