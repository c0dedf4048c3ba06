import { onOff, port } from '@millrace/core';
import { z } from 'zod';
import type { DtlsLimits } from './contract.ts';

const count = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const MIB = 1_048_576;
const DAY_S = 86_400;

/** What CoAP over DTLS is configured with. */
export const CoapsIngestConfig = z.object({
  MILLRACE_COAPS: onOff
    .default(false)
    .describe(
      'CoAP over DTLS 1.2 in this process. Off unless it is asked for: the implementation is our own and unaudited (docs/coaps.md tells of the alternative).',
    ),
  MILLRACE_COAPS_PORT: port
    .optional()
    .describe(
      'CoAPS port (UDP); 0 picks a free one, off leaves it out. 5684 with MILLRACE_COAPS=on; a port turns it on.',
    ),
  MILLRACE_COAPS_PSK: onOff
    .default(true)
    .describe("Whether devices may use a pre-shared key: identity = the thing's id, key = the thing's key."),
  MILLRACE_COAPS_CERT: z
    .string()
    .default('')
    .describe('File of the certificate chain (PEM, EC P-256) for devices that use certificates.'),
  MILLRACE_COAPS_KEY: z.string().default('').describe('File of its private key (PEM).'),
  MILLRACE_COAPS_CLIENT_CERTIFICATES: z
    .enum(['off', 'optional', 'required'])
    .default('optional')
    .describe(
      'Whether devices that use certificates are asked for one of their own. Who shows none where it is optional says who it is in its requests (?auth=).',
    ),
  MILLRACE_COAPS_CONNECTION_ID_BYTES: count(0, 20)
    .default(8)
    .describe(
      'Length of connection ids (RFC 9146), which keep a session while addresses change; 0: none are given out.',
    ),
  MILLRACE_COAPS_HANDSHAKES_MAX: count(1, 1_000_000)
    .default(10_000)
    .describe('Handshakes under way at once; further ones wait for the client to ask again.'),
  MILLRACE_COAPS_ADDRESS_HANDSHAKES_MAX: count(1, 1_000_000)
    .default(2_000)
    .describe('The same of one address (IPv6: a /64).'),
  MILLRACE_COAPS_ADDRESS_HANDSHAKES_PER_SECOND: count(0, 1_000_000)
    .default(1_000)
    .describe(
      'Handshakes, and with them look-ups of keys, that one address may begin a second, ten seconds of them at once. 0: no limit.',
    ),
  MILLRACE_COAPS_ADDRESS_FAILURES_PER_SECOND: count(0, 1_000_000)
    .default(10)
    .describe(
      'Wrong keys and unknown identities a second, ten seconds of them at once, beyond which no handshake from this address begins. 0: no limit.',
    ),
  MILLRACE_COAPS_HANDSHAKE_S_MAX: count(1, 600).default(30).describe('A handshake must be done within this time.'),
  MILLRACE_COAPS_SESSIONS_MAX: count(1, 10_000_000)
    .default(100_000)
    .describe('Sessions; beyond them the one that was silent for longest ends. Each takes some 4 KiB.'),
  MILLRACE_COAPS_IDENTITY_SESSIONS_MAX: count(1, 1_000_000)
    .default(64)
    .describe('Sessions of one thing; beyond them its oldest ends.'),
  MILLRACE_COAPS_IDLE_S: count(10, 365 * DAY_S)
    .default(DAY_S)
    .describe('A session without a connection id ends when it was silent for so long.'),
  MILLRACE_COAPS_CONNECTION_ID_IDLE_S: count(10, 365 * DAY_S)
    .default(30 * DAY_S)
    .describe('The same with a connection id.'),
  MILLRACE_COAPS_HANDSHAKE_DATAGRAM_BYTES_MAX: count(256, 1_452)
    .default(1_200)
    .describe('Largest datagram of a handshake; what is larger, as a chain of certificates, goes in several.'),
  MILLRACE_COAPS_RECEIVE_BUFFER_BYTES: count(65_536, 256 * MIB)
    .default(4 * MIB)
    .describe('Receive buffer of the socket; the kernel gives no more than net.core.rmem_max.'),
  MILLRACE_COAPS_SEND_QUEUE_BYTES_MAX: count(65_536, 1_024 * MIB)
    .default(8 * MIB)
    .describe('Bytes of datagrams that wait for the kernel to take them; further ones are dropped and counted.'),
  MILLRACE_COAP_TERMINATOR: z
    .string()
    .default('off')
    .describe(
      'Unix socket (0600) where a DTLS terminator on this host asks for keys and tells whose datagrams it sends: a path; on: dtls.sock beside ready.json; off: none.',
    ),
});
export type CoapsIngestConfig = Readonly<z.infer<typeof CoapsIngestConfig>>;

export const dtlsLimits = (config: CoapsIngestConfig): DtlsLimits => ({
  connectionIdBytes: config.MILLRACE_COAPS_CONNECTION_ID_BYTES,
  datagramBytesMax: config.MILLRACE_COAPS_HANDSHAKE_DATAGRAM_BYTES_MAX,
  handshakesMax: config.MILLRACE_COAPS_HANDSHAKES_MAX,
  handshakesPerAddressMax: config.MILLRACE_COAPS_ADDRESS_HANDSHAKES_MAX,
  handshakesPerAddressPerSecond: config.MILLRACE_COAPS_ADDRESS_HANDSHAKES_PER_SECOND,
  failuresPerAddressPerSecond: config.MILLRACE_COAPS_ADDRESS_FAILURES_PER_SECOND,
  handshakeMsMax: config.MILLRACE_COAPS_HANDSHAKE_S_MAX * 1_000,
  sessionsMax: config.MILLRACE_COAPS_SESSIONS_MAX,
  sessionsPerIdentityMax: config.MILLRACE_COAPS_IDENTITY_SESSIONS_MAX,
  idleMsMax: config.MILLRACE_COAPS_IDLE_S * 1_000,
  idleWithIdMsMax: config.MILLRACE_COAPS_CONNECTION_ID_IDLE_S * 1_000,
});

/** Which port to open; off: none. */
export function coapsPort(config: CoapsIngestConfig): number | 'off' {
  const { MILLRACE_COAPS: on, MILLRACE_COAPS_PORT: asked } = config;
  return asked ?? (on ? 5684 : 'off');
}
