// The generator of certificates wants it before all else.
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { BasicConstraintsExtension, X509CertificateGenerator } from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;

/** An authority that an organisation brings along. */
export interface Authority {
  readonly certificate: string;
  /** What shows that its key is at hand: a certificate to CN = the code of the platform. */
  proof(code: string): Promise<string>;
}

export async function newAuthority(name: string): Promise<Authority> {
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=${name}`,
      keys,
      signingAlgorithm: ALGORITHM,
      ...validity(),
      extensions: [new BasicConstraintsExtension(true, undefined, true)],
    },
    webcrypto,
  );
  return {
    certificate: certificate.toString('pem'),
    async proof(code) {
      const { publicKey } = await newKeys();
      const issued = await X509CertificateGenerator.create(
        {
          subject: `CN=${code}`,
          issuer: certificate.subject,
          publicKey,
          signingKey: keys.privateKey,
          signingAlgorithm: ALGORITHM,
          ...validity(),
        },
        webcrypto,
      );
      return issued.toString('pem');
    },
  };
}

const newKeys = () => webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
const validity = () => ({ notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS) });
