import { hkdfSync } from 'node:crypto';
import { PolicyError } from './errors.ts';

/** What a derived key is for. Each purpose has a key of its own, so that none says anything about another. */
export type KeyPurpose = 'secret-digest' | 'text-encryption' | 'admission-mac';

/** A key for one purpose out of the cluster's secret, by HKDF-SHA-256.
 *  @throws PolicyError SECRET_INVALID  @source RFC 5869 */
export function deriveKey(secret: Uint8Array, purpose: KeyPurpose, size: number): Buffer {
  if (secret.length !== 32) throw new PolicyError('SECRET_INVALID', 'never', { size: secret.length, sizeWanted: 32 });
  return Buffer.from(hkdfSync('sha256', secret, 'millrace', purpose, size));
}
