import type { CipherSuite } from '../cipher-suites.ts';
import { prf } from '../prf.ts';
import type { DirectionKeys } from '../record.ts';
import { vector16 } from '../wire.ts';
import { FINISHED_BYTES } from './message.ts';

const MASTER_BYTES = 48;
const KEY_BYTES = 16;
const SALT_BYTES = 4;

/** What both sides derive from a premaster secret. */
export interface Secrets {
  readonly master: Buffer;
  readonly client: DirectionKeys;
  readonly server: DirectionKeys;
}
export interface Randoms {
  readonly client: Buffer;
  readonly server: Buffer;
}

/** @param sessionHash of the transcript up to ClientKeyExchange with the extended master secret; null without
 *  @holds premaster is overwritten
 *  @source RFC 5246 §8.1 and §6.3, RFC 7627 §4 */
export function deriveSecrets(
  suite: CipherSuite,
  premaster: Buffer,
  randoms: Randoms,
  sessionHash: Buffer | null,
): Secrets {
  const master =
    sessionHash === null
      ? prf(premaster, 'master secret', Buffer.concat([randoms.client, randoms.server]), MASTER_BYTES)
      : prf(premaster, 'extended master secret', sessionHash, MASTER_BYTES);
  premaster.fill(0);
  const block = prf(
    master,
    'key expansion',
    Buffer.concat([randoms.server, randoms.client]),
    2 * (KEY_BYTES + SALT_BYTES),
  );
  const salts = 2 * KEY_BYTES;
  return {
    master,
    client: { suite, key: block.subarray(0, KEY_BYTES), salt: block.subarray(salts, salts + SALT_BYTES) },
    server: { suite, key: block.subarray(KEY_BYTES, salts), salt: block.subarray(salts + SALT_BYTES) },
  };
}

/** Without a key exchange: zeros in the place of its secret.  @source RFC 4279 §2 */
export const pskPremaster = (key: Buffer): Buffer => Buffer.concat([vector16(Buffer.alloc(key.length)), vector16(key)]);
/** @source RFC 5489 §2 */
export const ecdhePskPremaster = (shared: Buffer, key: Buffer): Buffer =>
  Buffer.concat([vector16(shared), vector16(key)]);

/** @source RFC 5246 §7.4.9 */
export const verifyData = (master: Buffer, side: 'client' | 'server', transcriptHash: Buffer): Buffer =>
  prf(master, `${side} finished`, transcriptHash, FINISHED_BYTES);
