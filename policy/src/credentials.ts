import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  type JsonWebKey,
  randomBytes,
} from 'node:crypto';
import type { Credentials } from '@millrace/core';
import { PolicyError } from './errors.ts';
import { deriveKey } from './keyring.ts';
import { createPasswords } from './passwords.ts';
import { createTokens, type Tokens } from './tokens.ts';

const CIPHER = 'aes-256-gcm';
const NONCE_SIZE = 12;
const TAG_SIZE = 16;
const VERSION = 'v1.';

export interface CredentialsOptions {
  /** The cluster's secret, 32 bytes. */
  readonly secret: Uint8Array;
  /** Private P-256 JWKs: the first signs, all verify. May be imported later. */
  readonly signingKeys?: readonly JsonWebKey[];
  /** Password hashes at a time. */
  readonly hashesMax?: number;
  readonly now?: () => number;
}

export type SigningCredentials = Credentials & Pick<Tokens, 'importSigningKeys'>;

/** Makes and checks secrets and tokens.
 *  Each purpose has a key of its own, derived from the cluster's secret. No error names what was secret.
 *  @throws PolicyError SECRET_INVALID, SIGNING_KEY_INVALID */
export function createCredentials(options: CredentialsOptions): SigningCredentials {
  const digestKey = createSecretKey(deriveKey(options.secret, 'secret-digest', 32));
  const cipherKey = createSecretKey(deriveKey(options.secret, 'text-encryption', 32));
  const tokens = createTokens(options.signingKeys ?? [], options.now ?? Date.now);
  return {
    ...createPasswords(options.hashesMax ?? 2),
    ...tokens,
    newKey: () => randomBytes(32).toString('base64url'),
    digest: (secret) => createHmac('sha256', digestKey).update(secret).digest('hex'),
    encrypt(plain, about) {
      // A random nonce: 2^32 texts under one secret keep the chance of a repetition below 2^-32 (NIST SP 800-38D §8.3).
      const nonce = randomBytes(NONCE_SIZE);
      const cipher = createCipheriv(CIPHER, cipherKey, nonce);
      cipher.setAAD(Buffer.from(about));
      const text = Buffer.concat([nonce, cipher.update(plain, 'utf8'), cipher.final(), cipher.getAuthTag()]);
      return VERSION + text.toString('base64url');
    },
    decrypt(sealed, about) {
      const bytes = Buffer.from(sealed.slice(VERSION.length), 'base64url');
      if (!sealed.startsWith(VERSION) || bytes.length < NONCE_SIZE + TAG_SIZE) {
        throw new PolicyError('SEALED_TEXT_INVALID', 'never');
      }
      const end = bytes.length - TAG_SIZE;
      const decipher = createDecipheriv(CIPHER, cipherKey, bytes.subarray(0, NONCE_SIZE), { authTagLength: TAG_SIZE });
      decipher.setAAD(Buffer.from(about));
      decipher.setAuthTag(bytes.subarray(end));
      const plain = decipher.update(bytes.subarray(NONCE_SIZE, end));
      try {
        return Buffer.concat([plain, decipher.final()]).toString('utf8');
      } catch {
        throw new PolicyError('SEALED_TEXT_INVALID', 'never');
      }
    },
  };
}
