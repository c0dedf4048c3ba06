import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { missingProgram, runToEnd } from './program.ts';

const NOTHING = Buffer.alloc(0);
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** Why no certificates can be made here, or null. */
export const missingOpenssl: string | null = missingProgram('openssl', 'version');

/** A certificate and its key, as files and as text. */
export interface KeyPair {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
  /** SHA-256, hex. */
  readonly fingerprint: string;
}

/** Makes certificates in a directory, with OpenSSL's own program. */
export class CertificateMaker {
  readonly #directory: string;
  #made = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** One that signed itself, and may issue others. */
  async authority(commonName: string): Promise<KeyPair> {
    const { certFile, keyFile } = this.#files();
    const subject = ['-subj', `/CN=${commonName}`, '-days', '2'];
    await openssl('req', '-x509', ...NEW_KEY, '-keyout', keyFile, '-out', certFile, ...subject);
    return read(certFile, keyFile);
  }

  async issue(authority: KeyPair, commonName: string, alternativeName?: string): Promise<KeyPair> {
    const { certFile, keyFile, requestFile, extensionsFile } = this.#files();
    writeFileSync(extensionsFile, alternativeName === undefined ? '' : `subjectAltName=${alternativeName}\n`);
    await openssl('req', '-new', ...NEW_KEY, '-keyout', keyFile, '-out', requestFile, '-subj', `/CN=${commonName}`);
    const issuer = ['-CA', authority.certFile, '-CAkey', authority.keyFile, '-set_serial', String(this.#made)];
    const asked = ['-in', requestFile, '-extfile', extensionsFile, '-days', '2'];
    await openssl('x509', '-req', ...asked, ...issuer, '-out', certFile);
    return read(certFile, keyFile);
  }

  /** Writes down what somebody else has made. */
  keep(cert: string, key: string): KeyPair {
    const { certFile, keyFile } = this.#files();
    writeFileSync(certFile, cert);
    writeFileSync(keyFile, key, { mode: 0o600 });
    return read(certFile, keyFile);
  }

  #files(): { certFile: string; keyFile: string; requestFile: string; extensionsFile: string } {
    const path = join(this.#directory, String(++this.#made));
    return {
      certFile: `${path}.crt`,
      keyFile: `${path}.key`,
      requestFile: `${path}.csr`,
      extensionsFile: `${path}.ext`,
    };
  }
}

const openssl = (...words: readonly string[]): Promise<string> => runToEnd(['openssl', ...words], NOTHING);

function read(certFile: string, keyFile: string): KeyPair {
  const cert = readFileSync(certFile, 'utf8');
  const fingerprint = createHash('sha256').update(new X509Certificate(cert).raw).digest('hex');
  return { certFile, keyFile, cert, key: readFileSync(keyFile, 'utf8'), fingerprint };
}
