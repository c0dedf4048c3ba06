import { port } from '@millrace/core';
import { z } from 'zod';
import { isProxies } from '../http/proxies.ts';

const count = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const MIB = 1_048_576;

/** What the MQTT ingress is configured with. */
export const MqttIngestConfig = z.object({
  MILLRACE_MQTT_PORT: port.default(1883).describe('MQTT port; 0 picks a free one, off leaves the listener out.'),
  MILLRACE_MQTTS_PORT: port
    .optional()
    .describe(
      'Port of MQTT over TLS; 0 picks a free one, off leaves it out. 8883 once a certificate is configured, else off.',
    ),
  MILLRACE_MQTT_TLS_CERT: z.string().default('').describe('File of the certificate chain (PEM) for MQTT over TLS.'),
  MILLRACE_MQTT_TLS_KEY: z.string().default('').describe('File of its private key (PEM).'),
  MILLRACE_MQTT_TLS_CLIENT_CERTIFICATES: z
    .enum(['off', 'optional', 'required'])
    .default('optional')
    .describe(
      'Whether clients are asked for a certificate. One that a thing carries (PUT /things/<id>/certificates) stands for its password; required: on this port there is no other way.',
    ),
  MILLRACE_MQTT_PROXY_PROTOCOL: z
    .string()
    .default('')
    .refine(isProxies, 'must be addresses and networks, separated by commas, as 10.0.0.0/8,::1')
    .describe(
      'Proxies (addresses and networks, comma-separated) that begin each connection to MQTT (TCP or TLS) with a PROXY protocol header, version 1 or 2: conditions of policies and the audit are about the client that it names. They must send it; from others none is taken.',
    ),
  MILLRACE_MQTT_PROXY_TLS: z
    .enum(['off', 'on'])
    .default('off')
    .describe('Whether clients of those proxies come by TLS where the header does not say so (version 1 never does).'),
  MILLRACE_MQTT_CONNECTIONS_MAX: count(1, 1_000_000)
    .default(16_384)
    .describe('Open MQTT connections of this node; further ones are closed.'),
  MILLRACE_MQTT_PACKET_BYTES_MAX: count(1_024, 256 * MIB)
    .default(MIB)
    .describe('Largest packet in bytes; a client that announces a larger one is disconnected.'),
  MILLRACE_MQTT_CONNECT_MS_MAX: count(100, 600_000)
    .default(10_000)
    .describe('CONNECT must be there within this time of the connection (and the TLS handshake be done).'),
  MILLRACE_MQTT_PUBLISHES_IN_FLIGHT_MAX: count(1, 65_535)
    .default(128)
    .describe('Publishes of one connection that may wait for the log at once; then its socket is not read.'),
  MILLRACE_MQTT_IN_FLIGHT_MESSAGES_MAX: count(1, 10_000_000)
    .default(65_536)
    .describe('Publishes of all connections that may wait for the log at once; then no publisher is read.'),
  MILLRACE_MQTT_IN_FLIGHT_BYTES_MAX: count(65_536, 64 * 1_024 * MIB)
    .default(256 * MIB)
    .describe('Bytes of publishes that may wait for the log at once; then no publisher is read.'),
  MILLRACE_MQTT_LOG_AWAY_MS_MAX: count(1_000, 3_600_000)
    .default(30_000)
    .describe('A publisher whose messages the log (or the registry, if retained) refuses for so long is disconnected.'),
  MILLRACE_MQTT_SLOW_MS_MAX: count(1_000, 3_600_000)
    .default(60_000)
    .describe('A client that takes nothing of what was written to it for so long is disconnected.'),
  MILLRACE_MQTT_RATE_PER_SECOND: z.coerce
    .number()
    .min(0)
    .default(0)
    .describe(
      'Messages a second that one client may publish on this node; beyond it its socket is not read. 0: no limit.',
    ),
  MILLRACE_MQTT_RATE_BURST: count(1, 1_000_000)
    .default(1_000)
    .describe('Messages that a client may publish at once before MILLRACE_MQTT_RATE_PER_SECOND counts.'),
  MILLRACE_MQTT_CLIENT_ID_BYTES_MAX: count(23, 65_535).default(256).describe('Longest client id, in bytes.'),
  MILLRACE_MQTT_IN_FLIGHT_MAX: count(1, 32_767)
    .default(100)
    .describe('Messages of QoS 1 and 2 that one client may have unacknowledged; the others wait in the log.'),
  MILLRACE_MQTT_UNSENT_BYTES_MAX: count(4_096, 64 * MIB)
    .default(262_144)
    .describe(
      'Bytes that a client has not taken; beyond them messages wait in the log, and QoS 0 is dropped after a second.',
    ),
  MILLRACE_MQTT_SUBSCRIPTIONS_MAX: count(1, 100_000).default(256).describe('Subscriptions of one session.'),
  MILLRACE_MQTT_RECEIVED_MAX: count(1, 65_535)
    .default(1_000)
    .describe('Publishes of QoS 2 that one session may leave without PUBREL; beyond it the client is disconnected.'),
  MILLRACE_MQTT_RETAINED_MAX: count(1, 1_000_000)
    .default(10_000)
    .describe('Retained messages that one subscription is given.'),
  MILLRACE_MQTT_SESSION_EXPIRY_S: count(1, 10 * 365 * 86_400)
    .default(7 * 86_400)
    .describe('A session is kept for so long after its client left.'),
  MILLRACE_MQTT_SAVE_MS: count(10, 60_000)
    .default(500)
    .describe('How often changed sessions are written to the registry.'),
  MILLRACE_MQTT_SAVE_ROWS_MAX: count(1, 10_000).default(1_000).describe('Sessions written in one statement.'),
  MILLRACE_MQTT_UNSAVED_SESSIONS_MAX: count(1, 10_000_000)
    .default(100_000)
    .describe(
      'Sessions of clients that left which may wait to be written; beyond it the oldest is forgotten, and an earlier state of it is found.',
    ),
});
export type MqttIngestConfig = Readonly<z.infer<typeof MqttIngestConfig>>;
