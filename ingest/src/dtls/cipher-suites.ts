import type { CipherGCMTypes } from 'node:crypto';

export type KeyExchange = 'psk' | 'ecdhe_psk' | 'ecdhe_ecdsa';

/** @units tagBytes as appended to each record  @source RFC 5487, 6655, 7251, 8442, 5289 */
export interface CipherSuite {
  readonly id: number;
  readonly name: string;
  readonly keyExchange: KeyExchange;
  readonly cipher: CipherGCMTypes;
  readonly tagBytes: 8 | 16;
}

// Node declares the calls of CCM apart from those of GCM; all that we use of them is the same.
const CCM = 'aes-128-ccm' as CipherGCMTypes;
const GCM: CipherGCMTypes = 'aes-128-gcm';
const suite = (
  id: number,
  name: string,
  keyExchange: KeyExchange,
  cipher: CipherGCMTypes,
  tagBytes: 8 | 16,
): CipherSuite => ({ id, name, keyExchange, cipher, tagBytes });

/** All that are spoken: AEAD with SHA-256, nothing else. */
export const CIPHER_SUITES: ReadonlyMap<number, CipherSuite> = new Map(
  [
    suite(0xc0a8, 'TLS_PSK_WITH_AES_128_CCM_8', 'psk', CCM, 8),
    suite(0xc0a4, 'TLS_PSK_WITH_AES_128_CCM', 'psk', CCM, 16),
    suite(0x00a8, 'TLS_PSK_WITH_AES_128_GCM_SHA256', 'psk', GCM, 16),
    suite(0xd003, 'TLS_ECDHE_PSK_WITH_AES_128_CCM_8_SHA256', 'ecdhe_psk', CCM, 8),
    suite(0xd005, 'TLS_ECDHE_PSK_WITH_AES_128_CCM_SHA256', 'ecdhe_psk', CCM, 16),
    suite(0xd001, 'TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256', 'ecdhe_psk', GCM, 16),
    suite(0xc0ae, 'TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8', 'ecdhe_ecdsa', CCM, 8),
    suite(0xc0ac, 'TLS_ECDHE_ECDSA_WITH_AES_128_CCM', 'ecdhe_ecdsa', CCM, 16),
    suite(0xc02b, 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256', 'ecdhe_ecdsa', GCM, 16),
  ].map((each) => [each.id, each]),
);

/** A client that has no cipher suite for a renegotiation puts this one among its own.  @source RFC 5746 §3.3 */
export const RENEGOTIATION_SCSV = 0x00ff;
